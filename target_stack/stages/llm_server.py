"""The small local language model: llama.cpp's OpenAI server (xllamacpp) in a process of its own.

`python -m target_stack.stages.llm_server --model FILE` is that process; `LocalLlmServer` starts and stops it.
A process of its own keeps its threads off the event loop's priority and lets a crash be a crash of the model alone.
"""

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import IO

from harness.model.clock import monotonic_ns
from harness.model.errors import CallquakeError
from target_stack.stages.worker import MODEL_NICENESS

PR_SET_PDEATHSIG = 1
CONTEXT_TOKENS = 1024
LOG_LIMIT_BYTES = 5_000_000


class LlmServerError(CallquakeError):
    """The local language model did not start; names its log."""


def serve(model: Path, threads: int, slots: int, context_tokens: int, *, port: int, parent: int) -> int:
    """Be the server process: print the address as one JSON line, then serve until SIGTERM."""
    die_with_parent(parent)
    os.setpriority(os.PRIO_PROCESS, 0, MODEL_NICENESS)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    import xllamacpp  # noqa: PLC0415 - after the priority, which its threads inherit; from the cpu extra

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = context_tokens * slots
    # A prompt that is too long is refused, not cut: what is left out is decided in target_stack/context.
    params.ctx_shift = False
    params.n_parallel = slots
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    # One thread spinning for another that a busy machine has suspended turns 50 ms into seconds.
    params.cpuparams.poll = 0
    params.cpuparams_batch.poll = 0
    params.ui = False
    params.verbosity = 2
    server = xllamacpp.Server(params)
    print(json.dumps({"url": server.listening_address}), flush=True)
    # Nobody reads the pipe from here on; whatever the library still prints belongs in the log.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # SIGINT reaches the whole foreground group; the parent decides when this process stops.
    signal.sigwait({signal.SIGTERM})
    return 0


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when `parent` ends, however it ends. Linux only; elsewhere it does nothing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # It died before the request took hold.
        raise SystemExit(1)


class LocalLlmServer:
    """Starts the server process, waits until it answers, and ends it. Its output goes to `log`."""

    def __init__(
        self,
        model: Path,
        log: Path,
        *,
        threads: int = 2,
        slots: int = 2,
        context_tokens: int = 0,
        start_timeout_s: float = 60.0,
    ) -> None:
        self._model = model
        self._log = log
        self._threads = threads
        self._slots = slots
        self._context_tokens = context_tokens
        self._start_timeout_s = start_timeout_s
        self._process: Process | None = None
        self.url = ""
        # Of the first start; a later one takes it again.
        self._port = 0
        # When the process was started, for the cold start; 0 before.
        self.began_ns = 0

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

    async def start(self) -> str:
        """Return the base URL once the model is loaded; the same one at every start. Raises LlmServerError."""
        self.began_ns = monotonic_ns()
        command = [sys.executable, "-m", __name__, "--model", str(self._model), "--parent", str(os.getpid())]
        command += ["--threads", str(self._threads), "--slots", str(self._slots)]
        command += ["--context-tokens", str(self._context_tokens or CONTEXT_TOKENS), "--port", str(self._port)]
        with open_log(self._log) as log:
            self._process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=log)
        try:
            async with asyncio.timeout(self._start_timeout_s):
                self.url = await self._read_address(self._process)
        except TimeoutError:
            await self.aclose()
            raise LlmServerError(f"not ready after {self._start_timeout_s:g} s; see {self._log}") from None
        self._port = int(self.url.rpartition(":")[2])
        return self.url

    async def _read_address(self, process: Process) -> str:
        """Return the URL from the first JSON line; other lines are the library's own chatter."""
        assert process.stdout is not None
        async for line in process.stdout:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return str(json.loads(line)["url"])
        code = await process.wait()
        raise LlmServerError(f"the language model's process ended with code {code} while starting; see {self._log}")

    async def kill(self) -> None:
        """End the process as a crash would, with whatever it was writing."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """End the process: SIGTERM, then SIGKILL after `timeout_s`."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def open_log(path: Path) -> IO[bytes]:
    """Append, starting over once the log has grown large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_large = path.exists() and path.stat().st_size > LOG_LIMIT_BYTES
    return path.open("wb" if is_large else "ab")


def main() -> int:
    """Parse the child's own command line."""
    parser = argparse.ArgumentParser(prog="python -m target_stack.stages.llm_server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--slots", type=int, default=2, help="replies written at the same time")
    parser.add_argument("--context-tokens", type=int, default=CONTEXT_TOKENS, help="of prompt and reply, each slot")
    parser.add_argument("--port", type=int, default=0, help="on loopback, 0 for any free one")
    parser.add_argument("--parent", type=int, required=True, help="end when this process ends")
    options = parser.parse_args()
    return serve(
        options.model,
        options.threads,
        options.slots,
        options.context_tokens,
        port=options.port,
        parent=options.parent,
    )


if __name__ == "__main__":
    sys.exit(main())
