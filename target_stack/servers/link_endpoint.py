"""The shell of a media server's SIP user agent: what SipEndpoint is over sockets, over the line to the front.

Flows are the front's: `local` is the address that callers reached, so that Via, Contact and the SDP name it.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable

from harness.model.clock import NS_PER_S, monotonic_ns
from harness.protocols.sip.events import CallEvent, Ended, Event, Failed, Incoming
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import EndpointCounts
from target_stack.servers.link import Frame, Link

_log = logging.getLogger(__name__)
Address = tuple[str, int]


class LinkEndpoint:
    """Give it the agent and, when there is a line, `frame_arrived` every "sip" and "sip_lost" frame."""

    def __init__(self, agent: UserAgent, on_event: Callable[[Event], None], link: Link) -> None:
        self.agent = agent
        self.counts = EndpointCounts()
        self._on_event = on_event
        self._link = link
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns: int | None = None
        self._is_flushing = False
        self._is_closed = False

    # --- what an edge asks of an endpoint ---

    async def listen(self, host: str, port: int = 0) -> Address:
        """Take no address: the front listens."""
        return host, port

    async def listen_tcp(self, host: str, port: int = 0, tls: ssl.SSLContext | None = None) -> Address:
        """Take no address: the front listens."""
        del tls
        return host, port

    def take_counts(self) -> EndpointCounts:
        """Return the counts; sockets and what they drop are the front's."""
        return self.counts

    def flush(self) -> None:
        """Send what the agent has to say, hand out what happened, set the timer; call it after every call into it."""
        if self._is_flushing:
            return
        self._is_flushing = True
        try:
            while self._send_outputs() | self._hand_out_events():
                pass
        finally:
            self._is_flushing = False
        self._set_timer()

    async def aclose(self) -> None:
        """Send what is left; nothing comes after it."""
        self.flush()
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    # --- what the front says ---

    def frame_arrived(self, frame: Frame) -> None:
        """Take a message of a caller's, or the news that its connection is gone."""
        if self._is_closed:
            return
        flow = flow_from(frame.fields["flow"])
        if frame.kind == "sip":
            self.counts.received += 1
            self.agent.receive(frame.payload, flow, int(frame.fields["at_ns"]))
        else:
            self.agent.flow_failed(flow, monotonic_ns(), str(frame.fields["why"]))
        self.flush()

    # --- within ---

    def _send_outputs(self) -> bool:
        outputs = self.agent.take_outputs()
        for flow, data in outputs:
            if self._link.send("sip", data, flow=flow):
                self.counts.sent += 1
            else:
                self.counts.unsent += 1
        return bool(outputs)

    def _hand_out_events(self) -> bool:
        events = self.agent.take_events()
        for event in events:
            self._note(event)
            try:
                self._on_event(event)
            except Exception:  # noqa: BLE001 -- one call's fault is no other's
                _log.exception("%s could not be handled", type(event).__name__)
        return bool(events)

    def _note(self, event: Event) -> None:
        """Tell the front which calls last: it finds us by their Call-IDs."""
        if isinstance(event, Incoming):
            self._link.send("sip_call", call_id=event.request.call_id, is_over=False)
        elif isinstance(event, CallEvent) and isinstance(event, Ended | Failed):
            self._link.send("sip_call", call_id=event.call.id, is_over=True)

    def _set_timer(self) -> None:
        at_ns = self.agent.next_timer_ns()
        if at_ns is None or self._is_closed or (self._timer_at_ns is not None and self._timer_at_ns <= at_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ns = at_ns
        wait_s = max(0, at_ns - monotonic_ns()) / NS_PER_S
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._timer_due)

    def _timer_due(self) -> None:
        self._timer = self._timer_at_ns = None
        self.agent.handle_timers(monotonic_ns())
        self.flush()


def flow_from(fields: list[object]) -> Flow:
    """Return the flow that a frame names; its JSON is the tuple itself."""
    transport, local, remote, connection = fields
    return Flow(str(transport), _address(local), _address(remote), int(str(connection)))


def _address(pair: object) -> Address:
    assert isinstance(pair, list)
    return str(pair[0]), int(pair[1])
