"""One engine process and its wire, for a driver that must cost little: what comes is kept as bytes until asked for."""

import contextlib
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.failure import BenchmarkError
from benchmarks.processes import READY_LIMIT_S, started_on
from harness.engine import wire
from harness.model.codec import to_json
from harness.model.needs import Needs

_END_LIMIT_S = 20.0
_CALL_ENDED = b'"t":"call"'


class EngineLink:
    """Starts the product's engine on `core`, with the corpus in `folder`; leaving the `with` block ends it."""

    def __init__(self, folder: Path, core: int | None, needs: Needs | None = None) -> None:
        self._log = folder / "engine.log"
        self._decoder = wire.Decoder()
        self._heard: list[bytes] = []
        self._tail = b""
        # Calls whose records have come since `take`.
        self.ended = 0
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "harness.engine", "--fd", str(theirs.fileno())]
        with self._log.open("ab") as log, started_on(core), theirs:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[theirs.fileno()]
            )
        try:
            self._begin(folder, needs)
        except BaseException:
            self.close()
            raise

    def _begin(self, folder: Path, needs: Needs | None) -> None:
        places = {"run_dir": str(folder), "corpus": str(folder / "corpus")}
        self.send(
            wire.encode("hello", protocol=wire.PROTOCOL_VERSION, worker="benchmark", needs=to_json(needs), **places)
        )
        deadline = time.monotonic() + READY_LIMIT_S
        while not any(message["t"] == "ready" for message in self.take()):
            self.listen(0.05)
            if time.monotonic() > deadline:
                raise BenchmarkError(f"the engine was not ready within {READY_LIMIT_S:g} s: {self._last_words()}")

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, frames: bytes) -> None:
        """Send messages as wire.encode made them."""
        try:
            self._socket.sendall(frames)
        except OSError as error:
            raise BenchmarkError(f"the engine is gone: {self._last_words()}") from error

    def listen(self, seconds: float) -> None:
        """Keep what comes within `seconds`. BenchmarkError when the engine ends."""
        deadline = time.monotonic() + seconds
        while (left_s := deadline - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left_s)[0]:
                return
            data = self._socket.recv(1 << 20)
            if not data:
                raise BenchmarkError(f"the engine ended: {self._last_words()}")
            self._heard.append(data)
            # A mark that is cut in two by the pieces it comes in is found with the second one.
            seen = self._tail + data
            self.ended += seen.count(_CALL_ENDED)
            self._tail = seen[1 - len(_CALL_ENDED) :]
            # Woken less often, a driver costs less.
            time.sleep(min(0.01, max(0.0, deadline - time.monotonic())))

    def take(self) -> list[wire.Message]:
        """Return the messages kept so far, read now."""
        heard, self._heard, self.ended = self._heard, [], 0
        return [message for data in heard for message in self._decoder.feed(data)]

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace").strip()[-600:] or "it said nothing"
        return "it left no log"

    def close(self) -> None:
        """End the engine: it leaves when its wire is cut."""
        self._socket.close()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_LIMIT_S)
                break
