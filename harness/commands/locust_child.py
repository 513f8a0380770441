"""Locust as a child process: started, followed once a second, told to stop, and never left behind."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

# Options of the locustfile that this process passes itself; a variable must not override them unseen.
_OWN_VARIABLES = (
    "SCENARIO",
    "TARGET",
    "ONLY_TARGETS",
    "SEED",
    "RUN_DIR",
    "CALLS",
    "MINUTES",
    "RUNBOOK",
    "RUN_ID",
    "PROGRESS_FD",
    "NO_REPORT",
)
_POLL_S = 0.5
_LOG_INTERVAL_S = 5.0


class LocustChild:
    """One Locust process. SIGINT and SIGTERM to us become one SIGINT to it; the second kills its whole group."""

    def __init__(self, words: list[str], log: Path | None, *, signals_group: bool = False) -> None:
        """`words` are Locust's arguments; its output goes to `log`, or to ours where that is None.

        `signals_group`: the first signal goes to all of its processes; otherwise to the one that leads the others.
        """
        self._words, self._log, self._signals_group = words, log, signals_group
        self._process: subprocess.Popen[bytes] | None = None
        self._signals = 0
        self._partial = b""
        self._last: dict[str, Any] = {}
        self._warned: list[str] = []
        self._next_line_s = 0.0

    @property
    def was_interrupted(self) -> bool:
        """True when somebody asked us to stop."""
        return self._signals > 0

    @property
    def calls_active(self) -> int:
        """Calls in progress when Locust was last heard of."""
        return int(self._last.get("active", 0))

    def follow(self) -> int:
        """Run Locust to its end, printing progress; return its exit status, negative for a signal."""
        reading, writing = os.pipe()
        before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._start(writing)
            os.close(writing)
            while self._process is not None and self._process.poll() is None:
                self._read_progress(reading)
        finally:
            self._end_group()
            os.close(reading)
            self._finish_line()
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._process.returncode if self._process is not None else 1

    def _start(self, writing: int) -> None:
        command = [sys.executable, "-m", "locust", *self._words]
        if self._log is not None:
            command += ["--progress-fd", str(writing)]
        environment = {k: v for k, v in os.environ.items() if k not in {f"CALLQUAKE_{n}" for n in _OWN_VARIABLES}}
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self._log.open("wb")) if self._log is not None else None
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output is not None else None,
                pass_fds=[writing],
                start_new_session=True,
                env=environment,
            )
        if self._signals:
            self._interrupt()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._process is None or self._process.poll() is not None:
            return
        if self._signals == 1:
            self._interrupt()
        else:
            self._end_group()

    def _interrupt(self) -> None:
        if self._process is None:
            return
        if self._signals_group:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGINT)
        else:
            self._process.send_signal(signal.SIGINT)

    def _end_group(self) -> None:
        """Kill whatever is left of the child's process group: Locust, its workers, their engines."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _read_progress(self, reading: int) -> None:
        readable, _, _ = select.select([reading], [], [], _POLL_S)
        if not readable:
            return
        data = os.read(reading, 65_536)
        if not data:
            # Its end of the pipe is closed, so it is about to exit.
            time.sleep(_POLL_S / 5)
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        if lines:
            self._last = json.loads(lines[-1])
            self._warn(self._last.get("warnings", []))
            self._show(progress_line(self._last, self.was_interrupted))

    def _warn(self, warnings: list[str]) -> None:
        """Print what is new of the warnings."""
        for text in warnings:
            if text not in self._warned:
                self._warned.append(text)
                print(f"WARNING: {text}", file=sys.stderr, flush=True)

    def _show(self, line: str) -> None:
        if sys.stdout.isatty():
            print(f"\r\x1b[K{line}", end="", flush=True)
        elif time.monotonic() >= self._next_line_s:
            # A log keeps every line: a soak run must not fill it.
            self._next_line_s = time.monotonic() + _LOG_INTERVAL_S
            print(line, flush=True)

    def _finish_line(self) -> None:
        if self._last:
            print("" if sys.stdout.isatty() else progress_line(self._last, self.was_interrupted), flush=True)


def progress_line(progress: dict[str, Any], is_stopping: bool = False) -> str:
    """Word one progress message."""
    if not progress["is_ready"]:
        return "starting the engine"
    of = f" of {progress['planned']}" if progress["planned"] is not None else ""
    parts = [
        f"calls: {progress['placed']}{of} placed, {progress['active']} active, {progress['completed']} completed",
    ]
    if progress["ended"] > progress["completed"]:
        parts.append(f"{progress['ended'] - progress['completed']} ended otherwise")
    parts.append(f"turns: {progress['turns']}")
    if progress["last_ttfb_ms"] is not None:
        parts.append(f"last TTFB {progress['last_ttfb_ms']:.0f} ms")
    end = progress["arrivals_end_s"]
    elapsed = progress["elapsed_s"]
    parts.append(f"{elapsed:.0f} s")
    if end is not None:
        # Arrivals end before the last call does; past that the time says nothing about how much is left.
        parts.append(f"arrivals {'end at' if elapsed < end else 'ended at'} {end:.0f} s")
    if progress.get("workers") is not None:
        gone = f" ({progress['workers_gone']} gone)" if progress["workers_gone"] else ""
        parts.append(f"{progress['workers']} workers{gone}")
    doing = "stopping; " if is_stopping or progress["is_ending"] else ""
    return doing + ", ".join(parts)
