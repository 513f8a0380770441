"""The processes of the media servers: begun, watched, begun anew where they die, ended with the front.

Each name has one task, which has at most one process. A process that ends unasked is noticed at once, by the end of its
line; the next one comes after a while that doubles with each death in a row (restarts.py).
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.model.clock import monotonic_ns
from harness.model.errors import TargetError
from target_stack.servers.link import Frame, Link, pair
from target_stack.servers.member_config import MemberConfig
from target_stack.servers.restarts import Restarts

_log = logging.getLogger(__name__)
# From the order to stop to SIGKILL: goodbyes, answers to them, and threads that finish a job.
_STOP_S = 15.0
# What is run is what the front runs, installed or not.
_ROOT = str(Path(__file__).resolve().parents[2])
_OTHER_PATHS = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


class ServerStartError(TargetError):
    """A media server's process cannot start; the message is its own."""


@dataclass(slots=True)
class Child:
    """One name's process, if it has one."""

    name: str
    restarts: Restarts = field(default_factory=Restarts)
    process: Process | None = None
    link: Link | None = None
    # What it said when it could not start.
    failure: str = ""
    # It is to end, or not to be begun again.
    is_wanted: bool = True
    has_been_ready: bool = False
    # It was told to: its end is no death.
    is_stopping: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self.process.pid if self.process is not None and self.process.returncode is None else None


class Children:
    """All of them, between `start` and `aclose`. The callbacks come on the event loop, with the server's name first.

    `on_begun(name, link)`, `on_frame(name, frame)`, `on_gone(name, was_asked)`.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        config_of: Callable[[str], MemberConfig],
        *,
        on_begun: Callable[[str, Link], None],
        on_frame: Callable[[str, Frame], None],
        on_gone: Callable[[str, bool], None],
    ) -> None:
        self._children = {name: Child(name) for name in names}
        self._config_of = config_of
        self._on_begun = on_begun
        self._on_frame = on_frame
        self._on_gone = on_gone
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin a process for each name."""
        self._tasks = [asyncio.create_task(self._keep(c), name=f"server {c.name}") for c in self._children.values()]

    def __getitem__(self, name: str) -> Child:
        """Return a name's child."""
        return self._children[name]

    def stop(self, name: str) -> None:
        """Order a process to end; it is not begun again until `want`."""
        child = self._children[name]
        child.is_wanted = False
        self.replace(name)

    def replace(self, name: str) -> None:
        """Order a process to end and begin another one at once."""
        child = self._children[name]
        child.is_stopping = True
        if child.link is not None:
            child.link.send("stop")

    def want(self, name: str) -> None:
        """Begin a process where there is none."""
        child = self._children[name]
        child.is_wanted = True
        child.woken.set()

    def kill(self, name: str) -> None:
        """End a process that says nothing."""
        child = self._children[name]
        if child.process is not None and child.process.returncode is None:
            _kill(child.process)

    def crash(self, name: str, *, stays_down: bool) -> None:
        """End a process without a word; `stays_down`: it is not begun again until `want`."""
        if stays_down:
            self._children[name].is_wanted = False
        self.kill(name)

    async def aclose(self) -> None:
        """Order all to end, insist after a while, wait for all."""
        for child in self._children.values():
            self.stop(child.name)
            child.woken.set()
        alive = [c.process for c in self._children.values() if c.process is not None and c.process.returncode is None]
        if alive:
            _done, late = await asyncio.wait([asyncio.create_task(p.wait()) for p in alive], timeout=_STOP_S)
            for process in alive if late else ():
                if process.returncode is None:
                    _log.warning("the media server with pid %d did not stop in %.0f s: killed", process.pid, _STOP_S)
                    _kill(process)
            if late:
                await asyncio.wait(late)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- one name ---

    async def _keep(self, child: Child) -> None:
        while True:
            child.woken.clear()
            if not child.is_wanted:
                await child.woken.wait()
                continue
            child.restarts.begun(monotonic_ns())
            code = await self._run_one(child)
            if child.is_wanted and not child.is_stopping:
                wait_s = child.restarts.died(monotonic_ns())
                _log.warning(
                    "media server %s ended with %s%s; the next one begins in %.1f s",
                    child.name,
                    _in_words(code),
                    f": {child.failure}" if child.failure else "",
                    wait_s,
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(child.woken.wait(), wait_s)

    async def _run_one(self, child: Child) -> int:
        """Run a process from beginning to end; return its exit status, -N where signal N ended it."""
        ours, theirs = pair()
        link = Link(ours, lambda frame: self._frame_arrived(child, frame), lambda: self._line_ended(child))
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "target_stack.servers.member",
                str(theirs.fileno()),
                str(os.getpid()),
                stdin=DEVNULL,
                pass_fds=[theirs.fileno()],
                # Ctrl-C is for the front, which lets the calls end first.
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([_ROOT, *_OTHER_PATHS])},
            )
        child.process, child.link, child.failure, child.is_stopping = process, link, "", False
        self._on_begun(child.name, link)
        link.send("config", self._config_of(child.name).pickled())
        code = await process.wait()
        if code and not child.has_been_ready:
            child.failure = child.failure or f"its process ended with {_in_words(code)} before it was ready"
        # Its last words may not have been read yet.
        await asyncio.sleep(0)
        link.close()
        child.link = None
        self._on_gone(child.name, child.is_stopping)
        return code

    def _frame_arrived(self, child: Child, frame: Frame) -> None:
        if frame.kind == "failed":
            child.failure = str(frame.fields["message"])
            return
        if frame.kind == "load" and frame.fields["is_ready"]:
            child.has_been_ready = True
        self._on_frame(child.name, frame)

    def _line_ended(self, child: Child) -> None:
        """Take note that the process has ended, or as good as: without its line it serves nobody."""
        self._on_gone(child.name, child.is_stopping)
        if not child.is_stopping:
            self.kill(child.name)

    @property
    def failures(self) -> dict[str, str]:
        """Why those that never were ready could not start, by name."""
        return {c.name: c.failure for c in self._children.values() if c.failure and not c.has_been_ready}


def _kill(process: Process) -> None:
    """Kill at once. Not by Process.kill: that looks whether it has ended, and takes its exit status from asyncio."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


def _in_words(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"status {code}"
