"""The shell of a media server's SIP user agent: what SipEndpoint is over sockets, over the line to the front.

Flows are the front's: `local` is the address that callers reached, so that Via, Contact and the SDP name it.
"""

import ssl
from collections.abc import Callable

from harness.protocols.sip.events import CallEvent, Ended, Event, Failed, Incoming
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.agent_pump import AgentPump
from harness.signalling.sip_endpoint import EndpointCounts
from target_stack.servers.link import Frame, Link

Address = tuple[str, int]


class LinkEndpoint(AgentPump):
    """Give it the agent and, when there is a line, `frame_arrived` every "sip" and "sip_lost" frame."""

    def __init__(self, agent: UserAgent, on_event: Callable[[Event], None], link: Link) -> None:
        super().__init__(agent, self._tell)
        self.counts = EndpointCounts()
        self._tell_edge = on_event
        self._link = link

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

    async def aclose(self) -> None:
        """Send what is left; nothing comes after it."""
        self._stop()

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
            self.agent.flow_failed(flow, self.now_ns(), str(frame.fields["why"]))
        self.flush()

    # --- within ---

    def _send(self, flow: Flow, data: bytes) -> None:
        if self._link.send("sip", data, flow=flow):
            self.counts.sent += 1
        else:
            self.counts.unsent += 1

    def _tell(self, event: Event) -> None:
        """Tell the front, too, which calls last: it finds us by their Call-IDs."""
        if isinstance(event, Incoming):
            self._link.send("sip_call", call_id=event.request.call_id, is_over=False)
        elif isinstance(event, CallEvent) and isinstance(event, Ended | Failed):
            self._link.send("sip_call", call_id=event.call.id, is_over=True)
        self._tell_edge(event)


def flow_from(fields: list[object]) -> Flow:
    """Return the flow that a frame names; its JSON is the tuple itself."""
    transport, local, remote, connection = fields
    return Flow(str(transport), _address(local), _address(remote), int(str(connection)))


def _address(pair: object) -> Address:
    assert isinstance(pair, list)
    return str(pair[0]), int(pair[1])
