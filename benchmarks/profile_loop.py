"""Where each µs of a packet goes in our own callers: `perf` samples, sorted by what the code was doing.

`--kind webrtc` calls the Pion echo server, `--kind rtp` SIPp's. The shares are those of the callers' whole process; a
packet's µs are its share of the CPU time over the packets sent and received. What the kernel does to deliver a packet
on loopback, as far as the receiver's socket, happens inside the sender's system call and is told apart from it.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bench, machine, ours
from benchmarks.accounting import read_cpu
from benchmarks.comparison import write_json
from benchmarks.failure import BenchmarkError
from benchmarks.network import enter_own_namespace
from benchmarks.peers import apt, pion, sipp
from benchmarks.processes import Callers
from benchmarks.turns import add_talk_option

_FREQUENCY_HZ = 1999
_PERF_LIMIT_S = 120.0
_DELIVERY = ("__netif_receive_skb", "net_rx_action", "__local_bh_enable_ip", "handle_softirqs")
# A system call's own function, by any of the names that compilers leave on the stack.
_SYSTEM_CALL = re.compile(r"^(?:__(?:x64|arm64|do|se)_|_{0,3})?sys_(\w+)")
_SYSTEM_CALLS = {
    "sendmmsg": "send (system call)",
    "sendmsg": "send (system call)",
    "sendto": "send (system call)",
    "recvmmsg": "receive (system call)",
    "recvmsg": "receive (system call)",
    "recvfrom": "receive (system call)",
    "epoll_wait": "epoll_wait",
    "epoll_pwait": "epoll_wait",
    "nanosleep": "sleep and wake-up",
    "futex": "locks (futex)",
}
_LIBRARIES = {
    "pylibsrtp": "SRTP (libsrtp)",
    "libsrtp": "SRTP (libsrtp)",
    "libcrypto": "SRTP (OpenSSL's ciphers)",
    "libopus": "Opus decoding",
    "libc.so": "C library",
    "libm.so": "C library",
    "[vdso]": "clock reads",
    "[JIT]": "compiled loop",
    "perf-": "compiled loop",
    "//anon": "compiled loop",
    "[unknown]": "compiled loop",
}
_OTHER_KERNEL = "other kernel work"
# Buffers freed for the other core, packets that came meanwhile.
_INTERRUPTS = "network work in interrupts"
_PYTHON = "Python"


@dataclass(frozen=True, slots=True)
class Stack:
    """One sample: the thread, and (symbol, library) from the leaf outward."""

    thread: int
    frames: tuple[tuple[str, str], ...]


def stacks(lines: Iterable[str]) -> Iterator[Stack]:
    """Parse what `perf script -F tid,ip,sym,dso` prints."""
    thread: int | None = None
    frames: list[tuple[str, str]] = []
    for line in lines:
        words = line.split()
        if not words:
            if thread is not None:
                yield Stack(thread, tuple(frames))
            thread, frames = None, []
        elif thread is None:
            thread = int(words[-1])
        else:
            library = words[-1].strip("()")
            frames.append((" ".join(words[1:-1]), library))
    if thread is not None:
        yield Stack(thread, tuple(frames))


def kind_of(stack: Stack) -> str:
    """Return what a sample was doing."""
    if not stack.frames:
        return "unknown"
    if "kernel" in stack.frames[0][1]:
        return _kernel_kind([symbol for symbol, _library in stack.frames])
    library = stack.frames[0][1]
    for part, kind in _LIBRARIES.items():
        if part in library:
            return kind
    return _PYTHON if "python" in library else Path(library).name


def _kernel_kind(symbols: list[str]) -> str:
    is_delivery = any(symbol.startswith(_DELIVERY) for symbol in symbols)
    for symbol in symbols:
        found = _SYSTEM_CALL.match(symbol)
        kind = _kind_of_call(found[1]) if found else None
        if kind is not None:
            return "delivery to the receiver (in send)" if is_delivery and kind.startswith("send") else kind
    return _INTERRUPTS if is_delivery else _OTHER_KERNEL


def _kind_of_call(name: str) -> str | None:
    return next((kind for call, kind in _SYSTEM_CALLS.items() if call in name), None)


def shares(samples: Iterable[Stack], main_thread: int) -> dict[str, float]:
    """Return each kind's share of all samples, the largest first; the event loop's thread is kept apart."""
    counts: dict[str, int] = {}
    for sample in samples:
        where = "event loop: " if sample.thread == main_thread else ""
        kind = where + kind_of(sample)
        counts[kind] = counts.get(kind, 0) + 1
    total = sum(counts.values())
    return {kind: n / total for kind, n in sorted(counts.items(), key=lambda item: -item[1])}


def _record(pid: int, seconds: float, folder: Path) -> list[str]:
    data = folder / "perf.data"
    record = ["perf", "record", "-F", str(_FREQUENCY_HZ), "-g", "-p", str(pid), "-o", str(data)]
    done = subprocess.run(
        [*record, "--", "sleep", str(seconds)],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + _PERF_LIMIT_S,
    )
    if not data.exists():
        raise BenchmarkError(f"perf could not record (kernel.perf_event_paranoid?): {done.stderr.strip()[-300:]}")
    script = ["perf", "script", "-i", str(data), "-F", "tid,ip,sym,dso"]
    told = subprocess.run(script, capture_output=True, text=True, check=True, timeout=_PERF_LIMIT_S)
    return told.stdout.splitlines()


def _profile(callers: Callers, options: argparse.Namespace, folder: Path) -> dict[str, object]:
    callers.add(options.calls)
    time.sleep(options.settle)
    before, cpu, began = callers.count(), read_cpu(callers.pid), time.monotonic()
    lines = _record(callers.pid, options.seconds, folder)
    after, cpu_ns = callers.count(), read_cpu(callers.pid).since(cpu)
    packets = (after.sent or 0) - (before.sent or 0) + (after.received or 0) - (before.received or 0)
    if packets <= 0:
        raise BenchmarkError("no packet was sent or received while perf watched")
    us = cpu_ns / 1000 / packets
    found = shares(stacks(lines), callers.pid)
    return {
        "calls": after.calls,
        "packets": packets,
        "seconds": time.monotonic() - began,
        "us_per_packet": us,
        "parts": {kind: {"ratio": share, "us_per_packet": share * us} for kind, share in found.items()},
    }


def _print(profile: dict[str, object]) -> None:
    parts = profile["parts"]
    assert isinstance(parts, dict)
    print(f"{profile['calls']} calls, {profile['us_per_packet']:.2f} µs per packet sent or received")
    for kind, part in parts.items():
        print(f"  {part['us_per_packet']:6.2f} µs {part['ratio']:6.1%}  {kind}")


def run() -> None:
    """Profile."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_loop", description=__doc__)
    bench.add_window_options(parser, calls=400)
    parser.add_argument("--kind", choices=["webrtc", "rtp"], default="webrtc", help="transport (%(default)s)")
    parser.add_argument("--cache", type=Path, default=bench.default_cache(), help="folder of built peers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the profile and the machine's facts")
    add_talk_option(parser)
    options = parser.parse_args()
    apt.need("perf", ["linux-perf"], lambda: shutil.which("perf") is not None)
    echo_of = _echo(options)
    facts = machine.facts()
    is_own = enter_own_namespace()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callquake-profile-")))
        ground = bench.Ground(*bench.two_cores(), folder, is_own)
        url = echo_of(ground, stack)
        callers = stack.enter_context(closing(ours.callers(options.talk, url, ground)))
        profile = _profile(callers, options, folder)
    _print(profile)
    if options.json is not None:
        write_json(options.json, {"benchmark": f"profile_loop_{options.kind}", **profile, "machine": facts})


def _echo(options: argparse.Namespace) -> Callable[[bench.Ground, ExitStack], str]:
    """Return what starts the answering side and tells its address."""
    if options.kind == "rtp":
        sipp.need()
        return lambda ground, stack: stack.enter_context(sipp.Echo(ground)).rtp_url
    binary = pion.build(options.cache)
    return lambda ground, stack: stack.enter_context(pion.EchoServer(binary, ground)).url


if __name__ == "__main__":
    sys.exit(bench.main(run))
