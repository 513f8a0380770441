"""The calibration's child processes: the responder, and one engine a step; gone on every way out.

Each has a session of its own, so that Ctrl-C reaches only the calibration, which then ends them; and each is told by
the kernel when the calibration itself dies.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engine import wire
from harness.model.errors import GeneratorError

# A machine that has never run the media loop compiles it first.
START_LIMIT_S = 300.0
STOP_LIMIT_S = 20.0
_STATS_LIMIT_S = 10.0
_LOG_TAIL = 600
# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _end_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _spawn(
    module: str, words: Sequence[str], cpus: set[int], log: Path, **pipes: Any
) -> asyncio.subprocess.Process:
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=out,
            start_new_session=True,
            preexec_fn=_end_with_parent,
            **{"stdout": out, **pipes},
        )
    # Before its threads begin: they inherit it.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(process.pid, cpus)
    return process


async def _end(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Ask with `number`, then insist."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, user and system; 0 when it is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return 0.0


def memory_kib(pid: int) -> int | None:
    """Return the resident memory of a process."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return None


def descriptors(pid: int) -> int | None:
    """Return how many descriptors a process has open."""
    with contextlib.suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return None


class ResponderProcess:
    """The reference responder."""

    def __init__(self, words: Sequence[str], cpus: set[int], folder: Path) -> None:
        self._words, self._cpus = words, cpus
        self._log = folder / "responder.log"
        self._process: asyncio.subprocess.Process | None = None
        # The offer endpoint, the fixed port for RTP without signalling, and the SIP URI where that was asked for.
        self.url, self.rtp_url, self.sip_url = "", "", ""

    @property
    def pid(self) -> int:
        """Its process id; 0 before the start."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start it and wait for its address; raises GeneratorError with its own last words."""
        self._process = process = await _spawn(
            "harness.calibrate.responder", self._words, self._cpus, self._log, stdout=asyncio.subprocess.PIPE
        )
        lines = [b""] * (3 if "--sip-port" in self._words else 2)
        if process.stdout is not None:
            with contextlib.suppress(TimeoutError):
                lines = [await asyncio.wait_for(process.stdout.readline(), START_LIMIT_S) for _ in lines]
        told = [line.decode().strip() for line in lines]
        self.url, self.rtp_url, self.sip_url = (*told, "")[:3]
        if not told[-1]:
            raise GeneratorError(f"the reference responder did not start: {_tail(self._log)}")

    def address(self, transport: str) -> str:
        """Return where calls of `transport` are placed."""
        return self.sip_url if transport == "sip" else self.url

    async def stats(self) -> dict[str, Any]:
        """Return its own counts; raises GeneratorError when it does not answer."""
        try:
            return await asyncio.to_thread(_get_json, self.url.rsplit("/api/", 1)[0] + "/stats")
        except (OSError, ValueError) as error:
            raise GeneratorError(f"the reference responder does not answer: {error}: {_tail(self._log)}") from error

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            await _end(self._process, signal.SIGTERM)


def _get_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=_STATS_LIMIT_S) as response:  # noqa: S310 - http, our own responder
        content = json.loads(response.read())
    if not isinstance(content, dict):
        raise ValueError(f"{url} is no object")  # noqa: TRY004 - told like any other unusable answer
    return content


class EngineProcess:
    """One engine, spoken to over its wire as a Locust worker does; records go to `on_message(kind, message)`.

    `environment` is its own; None = ours.
    """

    def __init__(
        self,
        folder: Path,
        corpus: Path,
        cpus: set[int],
        on_message: Callable[[str, Any], None],
        worker: str = "calibration",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._worker = worker
        self._environment = environment
        self._folder, self._corpus, self._cpus = folder, corpus, cpus
        self._on_message = on_message
        self._log = folder / "engine.log"
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready, self._gone = asyncio.Event(), asyncio.Event()
        self._error = ""
        self.media_loop = "unknown"

    @property
    def pid(self) -> int:
        """Its process id; 0 before the start."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start it and wait until it is ready; raises GeneratorError."""
        ours, theirs = socket.socketpair()
        words = ["--fd", str(theirs.fileno())]
        try:
            self._process = await _spawn(
                "harness.engine",
                words,
                self._cpus,
                self._log,
                pass_fds=[theirs.fileno()],
                env=self._environment,
            )
        finally:
            theirs.close()
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._reading = asyncio.create_task(self._read(reader))
        self.send(
            "hello",
            protocol=wire.PROTOCOL_VERSION,
            worker=self._worker,
            run_dir=str(self._folder),
            corpus=str(self._corpus),
        )
        await self.wait(self._ready, START_LIMIT_S, "was not ready")

    def send(self, kind: str, **fields: Any) -> None:
        """Send one message."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(wire.encode(kind, **fields))

    async def wait(self, event: asyncio.Event, limit_s: float, what: str) -> None:
        """Wait for `event`; raises GeneratorError when the engine goes before it, or `limit_s` does."""
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._gone.wait())]
        try:
            await asyncio.wait(waits, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if event.is_set():
            return
        if self._gone.is_set():
            raise GeneratorError(f"the engine died: {self._error or _tail(self._log)}")
        raise GeneratorError(f"the engine {what} within {limit_s:.0f} s: {_tail(self._log)}")

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self._gone.is_set()

    async def stop(self) -> None:
        """End it, with its calls."""
        self.send("stop")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), STOP_LIMIT_S)
        await self.kill()

    def log_text(self) -> str:
        """Return what it logged so far."""
        with contextlib.suppress(OSError):
            return self._log.read_text(encoding="utf-8", errors="replace")
        return ""

    async def kill(self) -> None:
        """End it at once, if it has not ended by itself."""
        if self._process is not None:
            if self._process.returncode is None and not self._gone.is_set():
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = wire.Decoder()
        try:
            while data := await reader.read(262_144):
                for message in decoder.feed(data):
                    self._take(message)
        except OSError as error:
            self._error = str(error)
        finally:
            self._gone.set()

    def _take(self, message: wire.Message) -> None:
        kind = message["t"]
        if kind == "ready":
            self.media_loop = str(message["media_loop"])
            self._ready.set()
        elif kind == "error":
            self._error = str(message["message"])
        else:
            self._on_message(kind, message)


def _tail(log: Path) -> str:
    try:
        text = log.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "it left no log"
    return text[-_LOG_TAIL:] or "it said nothing"
