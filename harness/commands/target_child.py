"""The bundled agent as a child process, and runs as children beside it: none of them outlives this process."""

import contextlib
import ctypes
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STOP_LIMIT_S = 10.0
# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_READY = re.compile(r"ready on (http://\S+)(.*)")
_SIP = re.compile(r"\bsip:(\S+?)(?:;\S*)?(?:\s|$)")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a target that is ready is reached; `sip` is HOST:PORT, "" where it takes no SIP."""

    origin: str
    sip: str = ""


def addresses_in(line: str) -> Addresses | None:
    """Return the addresses that the target's line about being ready names, None of any other line."""
    match = _READY.search(line)
    if match is None:
        return None
    sip = _SIP.search(match[2])
    return Addresses(match[1], sip[1] if sip else "")


def typed(words: Sequence[str]) -> str:
    """Return the command as a person would type it."""
    return shlex.join(["callquake", "up", *words])


def end_with_parent() -> None:
    """In a child: be told by SIGTERM when the parent dies, even by kill -9 (Linux; elsewhere nothing)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def interrupt_on_sigterm() -> None:
    """Have SIGTERM, by which CI jobs are cancelled, tidy up what Ctrl-C does.

    Not by way of SIGINT: a shell has a job in its background ignore that one.
    """
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def run_to_the_end(command: Sequence[str], say: Say, on_line: Say | None = None) -> int:
    """Run a child to its end and return its code; Ctrl-C is passed on, and what it still reports waited for.

    `on_line`: given each line of its output, stderr included; without it, the output is ours.
    """
    child = subprocess.Popen(
        list(command),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=None if on_line is None else subprocess.PIPE,
        stderr=None if on_line is None else subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=end_with_parent,  # noqa: PLW1509 - it takes no lock, and only one prctl
    )
    reader = threading.Thread(target=_pass_on, args=(child, on_line), daemon=True)
    reader.start()
    while True:
        try:
            code = child.wait()
            reader.join(STOP_LIMIT_S)
        except KeyboardInterrupt:
            say("stopping; the calls so far are being reported")
            child.send_signal(signal.SIGINT)
        else:
            return code


def _pass_on(child: "subprocess.Popen[str]", on_line: Say | None) -> None:
    with contextlib.suppress(ValueError):
        for line in child.stdout or ():
            if on_line is not None:
                on_line(line.rstrip("\n"))


@contextlib.contextmanager
def target_stack(
    words: Sequence[str],
    say: Say,
    *,
    ready_within_s: float,
    on_line: Say = print,
    gives_way: bool = True,
    on_end: Callable[[int | None], None] = lambda _code: None,
) -> Iterator[Addresses | None]:
    """Start `callquake up`, yield its addresses once it is ready (None when it failed), stop it on every way out.

    `gives_way`: it leads a session, whose weight it lowers; without, it has as much of the cores as this one.
    `on_end`: given its exit code just before it is stopped, None where it still runs, as it should.
    """
    # A group of its own either way: Ctrl-C must reach the run first, and the stack only after it.
    stack = subprocess.Popen(
        [sys.executable, "-m", "target_stack", "up", *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=gives_way,
        process_group=None if gives_way else 0,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - it takes no lock, and only one prctl
    )
    try:
        yield _await_ready(stack, say, ready_within_s, on_line)
    finally:
        on_end(stack.poll())
        stop(stack)


def stop(process: "subprocess.Popen[str]") -> None:
    """End a process by SIGINT, after a while by SIGKILL, and wait for it; of one that is over, nothing."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except KeyboardInterrupt:
        process.kill()
        process.wait()
        raise


def _await_ready(stack: "subprocess.Popen[str]", say: Say, limit_s: float, on_line: Say) -> Addresses | None:
    found: list[Addresses] = []
    ready = threading.Event()

    def relay() -> None:
        for line in stack.stderr or ():
            on_line(f"  {line.rstrip()}")
            addresses = addresses_in(line)
            if addresses is not None:
                found.append(addresses)
                ready.set()
        ready.set()

    threading.Thread(target=relay, daemon=True).start()
    ready.wait(limit_s)
    if not found:
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Its messages end a moment before it does.
            stack.wait(1)
        ended = stack.poll()
        how = f"was not ready within {limit_s:.0f} s" if ended is None else f"ended with exit code {ended}"
        say(f"the target stack {how}; its messages are above")
        return None
    return found[0]
