"""A media server: a whole agent, edge and pipeline, in a process of its own.

`python -m target_stack.servers.member DESCRIPTOR PARENT`, begun by the front and reached by the socket of that number:
configuration, connections, SIP and orders come in by it, load and SIP go out. When the line ends, the front has died,
and this process ends as well.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.media.event_loop import ClosingLoop
from harness.model.errors import CallquakeError
from harness.protocols.sip.events import Event
from harness.protocols.sip.user_agent import UserAgent
from target_stack.edge.behind import Behind
from target_stack.edge.health import health_of
from target_stack.priority import yield_to_other_sessions
from target_stack.servers.handover import TICKET_HEADER
from target_stack.servers.link import Frame, Link
from target_stack.servers.link_endpoint import LinkEndpoint
from target_stack.servers.member_config import HEARTBEAT_S, MemberConfig, unpickled
from target_stack.settled_heap import settle_heap
from target_stack.stages.llm_server import die_with_parent

if TYPE_CHECKING:
    from target_stack.app import Stack

_log = logging.getLogger(__name__)
# A handed-over request that was never answered, because its caller left, holds its place no longer than this.
_TICKET_S = 10.0
_START_FAILED = 1


class Member:
    """Runs from its configuration to the order to stop."""

    def __init__(self, sock: socket.socket) -> None:
        self._stopped = asyncio.Event()
        self._configured: asyncio.Future[MemberConfig] = asyncio.get_running_loop().create_future()
        self._link = Link(sock, self._frame_arrived, self.stop)
        self._sip: LinkEndpoint | None = None
        self._stack: Stack | None = None
        self._settled = 0
        # Handed-over sessions that are not decided on: ticket -> until when to wait for it.
        self._tickets: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_report_due = False

    async def run(self) -> int:
        """Serve; return the exit status."""
        stopping = asyncio.create_task(self._stopped.wait())
        either: set[asyncio.Future[Any]] = {self._configured, stopping}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._configured.done():
            return 0
        config = self._configured.result()
        logging.basicConfig(
            level=config.log_level, format=f"%(asctime)s %(levelname)s {config.name} %(name)s: %(message)s"
        )
        try:
            return await self._serve(config, stopping)
        except (CallquakeError, OSError, ImportError) as error:
            self._link.send("failed", message=str(error))
            return _START_FAILED
        finally:
            stopping.cancel()
            self._link.close()

    async def _serve(self, config: MemberConfig, stopping: "asyncio.Task[bool]") -> int:
        # Heavy, and not needed to say that there is nothing to do.
        from target_stack.app import Stack  # noqa: PLC0415

        behind = Behind(config.name, config.front_host, config.front_port, self._new_endpoint, self._answered)
        self._stack = stack = Stack(config.stack, behind)
        beating: asyncio.Task[None] | None = None
        try:
            port = await stack.start()
            await stack.start_sip()
            about = health_of(stack.readiness(), active_calls=0, max_calls=config.stack.max_calls)
            self._link.send("registered", pid=os.getpid(), http_port=port, about=about)
            beating = asyncio.create_task(self._beat())
            loading = asyncio.create_task(stack.load())
            await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done():
                loading.cancel()
                await asyncio.wait({loading})
                return 0
            loading.result()
            settle_heap()
            self._report()
            await stopping
            return 0
        finally:
            if beating is not None:
                beating.cancel()
            await stack.aclose()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _new_endpoint(self, agent: UserAgent, on_event: Callable[[Event], None]) -> LinkEndpoint:
        self._sip = LinkEndpoint(agent, on_event, self._link)
        return self._sip

    # --- what the front says ---

    def _frame_arrived(self, frame: Frame) -> None:
        match frame.kind:
            case "config":
                self._configured.set_result(unpickled(frame.payload))
            case "http":
                self._spawn_adoption(frame)
            case "sip" | "sip_lost":
                if self._sip is not None:
                    self._sip.frame_arrived(frame)
                if frame.fields.get("is_given"):
                    self._settle()
            case "stop":
                self.stop()

    def _spawn_adoption(self, frame: Frame) -> None:
        assert frame.descriptor is not None
        sock = socket.socket(fileno=frame.descriptor)
        ticket = frame.fields["ticket"]
        if ticket is not None:
            self._tickets[str(ticket)] = time.monotonic() + _TICKET_S
        if self._stack is None:
            sock.close()
            return
        task = asyncio.create_task(self._adopt(self._stack, sock, frame.payload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _adopt(self, stack: "Stack", sock: socket.socket, data: bytes) -> None:
        try:
            await stack.edge.adopt(sock, data)
        except OSError as error:
            # Its caller left.
            _log.info("a connection could not be taken over: %s", error)
            sock.close()

    # --- what the front is told ---

    def stop(self) -> None:
        """Begin to end."""
        self._stopped.set()

    def _answered(self, request: web.BaseRequest) -> None:
        """Take note that an answer is about to leave: whether the session was let in is decided."""
        ticket = request.headers.get(TICKET_HEADER)
        if ticket is not None and self._tickets.pop(ticket, None) is not None:
            self._settle()

    def _settle(self) -> None:
        self._settled += 1
        if not self._is_report_due:
            # One report for what one round of the loop has brought.
            self._is_report_due = True
            asyncio.get_running_loop().call_soon(self._report)

    async def _beat(self) -> None:
        while True:
            now = time.monotonic()
            for ticket in [ticket for ticket, until in self._tickets.items() if until < now]:
                del self._tickets[ticket]
                self._settled += 1
            self._report()
            await asyncio.sleep(HEARTBEAT_S)

    def _report(self) -> None:
        self._is_report_due = False
        if self._stack is not None:
            self._link.send(
                "load",
                calls=self._stack.calls_by_kind(),
                settled=self._settled,
                is_ready=self._stack.readiness().ready,
                # CPU time so far, user and system: what a call costs is read from it.
                cpu_s=time.process_time(),
                processes=self._stack.processes(),
            )


async def _run(descriptor: int) -> int:
    member = Member(socket.socket(fileno=descriptor))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, member.stop)
    # The front, which has the terminal, says when.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    return await member.run()


def main(arguments: list[str]) -> int:
    """Run on the descriptor that the front names, as long as the front lives."""
    descriptor, parent = int(arguments[0]), int(arguments[1])
    die_with_parent(parent)
    yield_to_other_sessions()
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=ClosingLoop) as runner:
        return runner.run(_run(descriptor))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
