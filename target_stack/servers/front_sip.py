"""The front's SIP face: the sockets of all media servers. Each call's messages go to its server, by Call-ID.

    caller ─► socket, connection ─► SwitchAgent ─┬─ a call of a server's ─► its line          nothing is changed in it
    caller ◄─ socket, connection ◄───────────────┤◄─ what the server sends
                                                 └─ refusals, OPTIONS, REGISTER: the front's own user agent

To a caller all of it is one user agent at one address: no redirect to follow, no Record-Route, and a caller behind NAT
is answered from where it called. Audio goes straight between the caller and the server's ports.
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable
from typing import Any

from harness.model.clock import monotonic_ns
from harness.protocols.sip.compose import cancel_of
from harness.protocols.sip.config import ALLOW, EXTENSIONS, AgentConfig
from harness.protocols.sip.digest import Verifier
from harness.protocols.sip.events import Event, Incoming, RequestReceived
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.grammar import BadMessage
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import SipEndpoint
from target_stack.edge.rtvi_channel import library_name
from target_stack.edge.sip_bodies import SDP_TYPE
from target_stack.edge.sip_edge import REALM
from target_stack.edge.sip_listening import SipAddresses, listen
from target_stack.edge.sip_options import DIGESTS, SipOptions
from target_stack.edge.sip_registrar import Registrar
from target_stack.servers.counts import FrontCounts
from target_stack.servers.link import Frame
from target_stack.servers.link_endpoint import flow_from
from target_stack.servers.routing import Desk
from target_stack.servers.sip_routes import LOCAL, Heading, SipRoutes, heading

_log = logging.getLogger(__name__)
_JSON_TYPE = "application/json"
KIND = "sip"


class SwitchAgent(UserAgent):
    """A user agent that keeps only what nobody takes from it."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        steer: Callable[[Heading, bytes, Flow, int], bool],
        on_lost: Callable[[Flow, str], None],
    ) -> None:
        super().__init__(config, seed=int.from_bytes(os.urandom(8)))
        self._steer = steer
        self._on_lost = on_lost
        self._relayed: list[tuple[Flow, bytes]] = []

    def receive(self, data: bytes, flow: Flow, now_ns: int) -> None:
        """Take one message, or leave it to a server."""
        head = heading(data)
        if head is None or not self._steer(head, data, flow, now_ns):
            super().receive(data, flow, now_ns)

    def flow_failed(self, flow: Flow, now_ns: int, reason: str) -> None:
        """Hear that a connection closed; the servers hear it, too."""
        self._on_lost(flow, reason)
        super().flow_failed(flow, now_ns, reason)

    def relay(self, flow: Flow, data: bytes) -> None:
        """Queue what a server says."""
        self._relayed.append((flow, data))

    def take_outputs(self) -> list[tuple[Flow, bytes]]:
        """Return what is to be sent, whoever says it."""
        relayed, self._relayed = self._relayed, []
        return [*super().take_outputs(), *relayed]


class FrontSip:
    """Listens between `start` and `aclose`. `health` is what an OPTIONS that accepts JSON is told."""

    def __init__(
        self, options: SipOptions, desk: Desk, counts: FrontCounts, health: Callable[[], dict[str, Any]]
    ) -> None:
        self._options = options
        self._desk = desk
        self._counts = counts
        self._health = health
        self._routes = SipRoutes()
        self._registrar = Registrar()
        self._agent = SwitchAgent(_config(options), steer=self._steer, on_lost=self._flow_lost)
        self._endpoint = SipEndpoint(self._agent, self._on_event)

    async def start(self) -> SipAddresses:
        """Listen; return where. OSError when an address cannot be bound, ScenarioError for a certificate."""
        return await listen(self._endpoint, self._options)

    async def aclose(self) -> None:
        """Stop listening; the servers have said their goodbyes."""
        await self._endpoint.aclose()

    # --- to the servers ---

    def _steer(self, head: Heading, data: bytes, flow: Flow, now_ns: int) -> bool:
        """Give a message to its call's server; False where it is for the front itself."""
        server = self._routes.server_of(head.call_id, now_ns)
        if server is not None and head.begins_a_call and self._may_move(head.call_id, server):
            self._call_off(server, data, flow, now_ns)
            server = None
        if server is None:
            return head.begins_a_call and self._begin(head, data, flow, now_ns)
        if server == LOCAL:
            return False
        if not self._desk.send(server, "sip", data, flow=flow, at_ns=now_ns, is_given=False):
            _log.info("a SIP message found no way to media server %s", server)
        return True

    def _may_move(self, call_id: str, server: str) -> bool:
        """Tell whether another server is to have a call whose caller asks again, as this one has not said a word."""
        return self._desk.is_lost(server) and not self._routes.is_answered(call_id)

    def _call_off(self, server: str, invite: bytes, flow: Flow, now_ns: int) -> None:
        """Have a server that comes to read an INVITE too late find its CANCEL behind it; its answers go nowhere."""
        # One that cannot be read is no call there either.
        with contextlib.suppress(BadMessage, IndexError):
            self._desk.send(server, "sip", cancel_of(invite, ""), flow=flow, at_ns=now_ns, is_given=False)

    def _begin(self, head: Heading, data: bytes, flow: Flow, now_ns: int) -> bool:
        def handed(server: str) -> bool:
            return self._desk.send(server, "sip", data, flow=flow, at_ns=now_ns, is_given=True)

        server = self._desk.assign(KIND, handed)
        self._routes.take(head.call_id, LOCAL if server is None else server, now_ns)
        return server is not None

    def _flow_lost(self, flow: Flow, why: str) -> None:
        for server in self._desk.names():
            self._desk.send(server, "sip_lost", flow=flow, why=why)

    # --- from the servers ---

    def frame_arrived(self, server: str, frame: Frame) -> None:
        """Take what a server has to send, or says of its calls."""
        is_message = frame.kind == "sip"
        head = heading(frame.payload) if is_message else None
        call_id = frame.fields.get("call_id") if head is None else head.call_id
        if call_id is not None and self._routes.server_of(call_id, monotonic_ns()) not in (server, None):
            # It was silent for too long, and another one has its call: the caller must not hear two.
            _log.info("media server %s speaks of a call that is another's by now", server)
        elif is_message:
            if call_id is not None:
                self._routes.answered(call_id)
            self._agent.relay(flow_from(frame.fields["flow"]), frame.payload)
            self._endpoint.flush()
        elif frame.fields["is_over"]:
            self._routes.over(frame.fields["call_id"], monotonic_ns())
        else:
            self._routes.pin(frame.fields["call_id"])

    def server_gone(self, server: str) -> None:
        """Take note that a server and its calls are no more."""
        self._routes.gone(server, monotonic_ns())

    # --- the front's own ---

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Incoming):
            self._counts.refused[KIND] += 1
            event.call.reject(503, monotonic_ns(), headers=(("Retry-After", str(self._options.retry_after_s)),))
        elif isinstance(event, RequestReceived):
            if event.request.message.method == "REGISTER":
                status, headers = self._registrar.answer(event.request.message, monotonic_ns())
                event.request.respond(status, monotonic_ns(), headers=headers)
            else:
                self._answer_options(event)

    def _answer_options(self, event: RequestReceived) -> None:
        """Answer as one agent would: a trunk's keep-alive, and how full we are, before anybody is refused."""
        why = self._desk.why_not(KIND)
        active, limit = self._desk.use(KIND)
        use = [
            ("X-Callquake-Trunk", f"active={active};limit={limit}"),
            ("X-Callquake-Load", str(self._desk.overall())),
        ]
        can = [
            ("Allow", ", ".join((*ALLOW, "REGISTER"))),
            ("Accept", SDP_TYPE),
            ("Supported", ", ".join(sorted(EXTENSIONS))),
        ]
        headers = [*use, ("Retry-After", str(self._options.retry_after_s))] if why else [*use, *can]
        body = b""
        if _JSON_TYPE in event.request.message.tokens("accept"):
            body = json.dumps(self._health()).encode()
        event.request.respond(
            503 if why else 200, monotonic_ns(), headers=tuple(headers), body=body, content_type=_JSON_TYPE
        )


def _config(options: SipOptions) -> AgentConfig:
    verifier = None
    if options.users:
        algorithms = DIGESTS[options.digest]
        verifier = Verifier(REALM, dict(options.users), algorithms=algorithms, secret=os.urandom(16))
    return AgentConfig(
        user_agent=library_name(),
        server=library_name(),
        verifier=verifier,
        requests=frozenset({"OPTIONS", "REGISTER"}),
    )
