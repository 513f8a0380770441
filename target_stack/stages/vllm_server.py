"""vLLM's OpenAI server in a process of its own: started, waited for, ended.

`python -m target_stack.stages.vllm_server --parent PID -- COMMAND ...` becomes that command once the kernel has
promised to end it with its parent. vLLM itself may live in another environment: only its command is needed.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path

from harness.model.clock import monotonic_ns
from target_stack.stages.llm_facts import LlmServerDesk
from target_stack.stages.llm_server import LlmServerError, die_with_parent, open_log
from target_stack.stages.vllm_launch import VllmLaunch

ASK_EVERY_S = 0.5
# Of the log, told where it ended by itself.
TOLD_LINES = 400


class VllmServer:
    """One server process and its children. Its output goes to `log`."""

    def __init__(self, launch: VllmLaunch, log: Path) -> None:
        self._launch = launch
        self._log = log
        self._process: Process | None = None
        self.url = ""
        # Of the first start; a later one takes it again.
        self._port = 0
        # When the process was started, for the cold start; 0 before.
        self.began_ns = 0

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> str:
        """Return the base URL once /health answers. Raises LlmServerError."""
        executable = shutil.which(self._launch.command)
        if executable is None:
            raise LlmServerError(
                f"vLLM: no command {self._launch.command}; install vllm here (extra gpu), name it with --vllm-command "
                "PATH (it may live in an environment of its own), or name a running server with --llm-url"
            )
        self._port = self._port or _free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        command = [sys.executable, "-m", __name__, "--parent", str(os.getpid()), "--"]
        command += self._launch.argv(executable, self._port)
        self.began_ns = monotonic_ns()
        with open_log(self._log) as log:
            # A group of its own: Ctrl-C is for us, and what it started ends with it.
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            async with asyncio.timeout(self._launch.start_timeout_s):
                await self._healthy(self._process)
        except TimeoutError:
            await self.aclose()
            raise LlmServerError(f"vLLM: not ready after {self._launch.start_timeout_s:g} s; see {self._log}") from None
        except BaseException:
            await self.aclose()
            raise
        return self.url

    async def _healthy(self, process: Process) -> None:
        desk = LlmServerDesk(self.url)
        try:
            while not await desk.is_healthy():
                if process.returncode is not None:
                    said = await asyncio.to_thread(_last_words, self._log)
                    raise LlmServerError(
                        f"vLLM ended with code {process.returncode} while starting{said}; see {self._log}"
                    )
                await asyncio.sleep(ASK_EVERY_S)
        finally:
            await desk.aclose()

    async def kill(self) -> None:
        """End it and its children as a crash would."""
        if self._process is not None:
            _signal_group(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def aclose(self, timeout_s: float = 10.0) -> None:
        """End it and its children: SIGTERM, then SIGKILL after `timeout_s`."""
        process = self._process
        if process is None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await process.wait()
        # Its engine may outlive the server that was to end it.
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_words(log: Path) -> str:
    """Return the last line of the log that names an error, with a colon before it; "" for none."""
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TOLD_LINES:]
        told = [line.strip() for line in lines if "Error" in line or "error:" in line]
        return f": {told[-1][:300]}" if told else ""
    return ""


def main() -> int:
    """Become the command."""
    parser = argparse.ArgumentParser(prog="python -m target_stack.stages.vllm_server", description=__doc__)
    parser.add_argument("--parent", type=int, required=True, help="end when this process ends")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    die_with_parent(options.parent)
    os.execv(options.command[0], options.command)  # noqa: S606 - our own argument list; a shell would be worse


if __name__ == "__main__":
    sys.exit(main())
