"""The agent on a SIP trunk: who is let in, which event belongs to which call, and that all are released.

Call N+1 is refused with 503 and Retry-After at once, so that a caller may try elsewhere; the N are not touched. When
the agent shuts down, new calls are refused the same way, and all others get a BYE. OPTIONS is answered with 200 and how
much of the trunk is in use, or with 503 while no call would be taken; REGISTER as by a registrar (sip_registrar.py).
"""

import asyncio
import contextlib
import json
import logging
import os
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.model.clock import monotonic_ns
from harness.protocols.sip.config import ALLOW, EXTENSIONS, AgentConfig
from harness.protocols.sip.digest import Verifier
from harness.protocols.sip.events import CallEvent, Ended, Event, Failed, Incoming, RequestReceived
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import SipEndpoint
from target_stack.edge.agent_call import AgentCall, CallLimits, EndReason
from target_stack.edge.behind import NewSipSockets
from target_stack.edge.call_facts import facts_from_headers
from target_stack.edge.call_names import CALL_NAME, CallNames
from target_stack.edge.counts import SipCounts
from target_stack.edge.event_streams import EventStreams
from target_stack.edge.health import health_of
from target_stack.edge.rtp.ticker import Ticker
from target_stack.edge.rtvi_channel import library_name
from target_stack.edge.sip_bodies import SDP_TYPE, sdp_of
from target_stack.edge.sip_call import CALL_HEADER, SipCall, SipContext
from target_stack.edge.sip_listening import SipAddresses, listen
from target_stack.edge.sip_options import DIGESTS, SipOptions
from target_stack.edge.sip_registrar import Registrar
from target_stack.frames import SessionFactory
from target_stack.readiness import Readiness

if TYPE_CHECKING:
    from harness.protocols.sip.handles import Call

_log = logging.getLogger(__name__)

REALM = "callquake"
# How long a shutdown waits for the answers to its BYEs.
_GOODBYE_S = 2.0
_LONGEST_NAME = 128
_JSON_TYPE = "application/json"


class SipEdge:
    """Takes calls between `start` and `aclose`. `events_base(our host)` is the address of `streams`, up to its path.

    `new_sockets`: what messages come and go by, where it is not sockets of our own.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        options: SipOptions,
        *,
        readiness: Callable[[], Readiness],
        names: CallNames,
        streams: EventStreams,
        events_base: Callable[[str], str],
        limits: CallLimits = CallLimits(),  # noqa: B008 -- frozen
        new_sockets: NewSipSockets = SipEndpoint,
    ) -> None:
        self.counts = SipCounts(trunk_calls=options.trunk_calls)
        self._sessions = sessions
        self._options = options
        self._readiness = readiness
        self._names = names
        self._streams = streams
        self._events_base = events_base
        self._limits = limits
        self._ticker = Ticker()
        self._registrar = Registrar()
        self._agent = UserAgent(_config(options), seed=int.from_bytes(os.urandom(8)))
        self._endpoint = new_sockets(self._agent, self._on_event)
        self._context = SipContext(options, self._ticker, self.counts, self._endpoint.flush)
        self._calls: dict[SipCall, asyncio.Task[None]] = {}
        # Dialogs that are not over, a little longer than their calls.
        self._legs: set[Call] = set()
        self._last_leg_ended: asyncio.Event | None = None
        self._is_closing = False
        # What TLS is accepted with, once it is listened on.
        self.tls: ssl.SSLContext | None = None

    async def start(self) -> SipAddresses:
        """Listen; return where. OSError when an address cannot be bound, ScenarioError for a certificate."""
        return await listen(self._endpoint, self._options, self._keep_tls)

    def _keep_tls(self, context: ssl.SSLContext) -> None:
        self.tls = context

    async def aclose(self) -> None:
        """Refuse new calls, say BYE to the others, wait until all is released; then stop listening."""
        self._is_closing = True
        for call in self._calls:
            call.hang_up(EndReason.SHUTDOWN)
        if self._calls:
            await asyncio.wait(self._calls.values())
        if self._legs:
            self._last_leg_ended = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._last_leg_ended.wait(), _GOODBYE_S)
        if self._legs:
            _log.warning("%d SIP callers did not answer our goodbye", len(self._legs))
        await self._endpoint.aclose()
        await self._ticker.aclose()

    def hang_up(self, call_id: str, reason: EndReason = EndReason.HUNG_UP) -> bool:
        """End the call named `call_id`; tell whether there was one."""
        call = next((c for c in self._calls if c.call_id == call_id), None)
        if call is not None:
            call.hang_up(reason)
        return call is not None

    def take_counts(self) -> SipCounts:
        """Return the counts as they are now."""
        agent = self._agent.counts
        self.counts.messages, self.counts.malformed, self.counts.resent = agent.received, agent.malformed, agent.resent
        sockets = self._endpoint.take_counts()
        self.counts.connections, self.counts.dropped = sockets.connections, sockets.dropped
        self.counts.skipped_ticks = self._ticker.skipped
        return self.counts

    # --- what the user agent tells ---------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        match event:
            case Incoming():
                self._invited(event)
            case CallEvent():
                self._on_call_event(event)
            case RequestReceived():
                self._answer_request(event)

    def _on_call_event(self, event: CallEvent) -> None:
        if isinstance(event, Ended | Failed):
            self._legs.discard(event.call)
            if not self._legs and self._last_leg_ended is not None:
                self._last_leg_ended.set()
        if isinstance(event.call.owner, SipCall):
            event.call.owner.take(event)

    def _invited(self, event: Incoming) -> None:
        why = self._why_not()
        sdp = sdp_of(event.request)
        if why:
            _log.info("SIP call refused: %s", why)
            self._reject(event, 503, (("Retry-After", str(self._options.retry_after_s)),))
        elif sdp is None:
            self._reject(event, 415, (("Accept", SDP_TYPE),))
        else:
            self._admit(event, sdp)

    def _why_not(self) -> str:
        """Say why no call can be taken now; "" when one can."""
        if self._is_closing:
            return "the agent is shutting down"
        if len(self._calls) >= self._options.trunk_calls:
            return f"{len(self._calls)} calls are active, which is the trunk's limit"
        return "" if self._readiness().ready else "the agent is not ready"

    def _reject(self, event: Incoming, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        self.counts.answers[status] += 1
        event.call.reject(status, monotonic_ns(), headers=headers)

    def _admit(self, event: Incoming, sdp: bytes) -> None:
        call_id = self._names.take(_wanted_name(event))
        facts = facts_from_headers(event.request.get, event.request.from_.uri.user or "")
        agent_call = AgentCall(call_id, self._sessions, self._limits, facts=facts)
        path = self._streams.open(agent_call.channel)
        url = self._events_base(event.call.flow.local[0]) + path
        call = SipCall(event.call, sdp, agent_call, url, self._context)
        event.call.owner = call
        self._legs.add(event.call)
        # Taken at once: two INVITEs in one batch must not share the last place.
        self._calls[call] = asyncio.create_task(self._serve(call, path), name=f"SIP call {call_id}")
        self.counts.active_calls = len(self._calls)

    async def _serve(self, call: SipCall, path: str) -> None:
        try:
            reason = await call.run()
            self.counts.calls_ended[reason.value] += 1
        finally:
            self._streams.close(path)
            self._names.release(call.call_id)
            # Each holds the other.
            call.leg.owner = None
            del self._calls[call]
            self.counts.active_calls = len(self._calls)

    def _answer_request(self, event: RequestReceived) -> None:
        if event.request.message.method == "REGISTER":
            status, headers = self._registrar.answer(event.request.message, monotonic_ns())
            event.request.respond(status, monotonic_ns(), headers=headers)
        else:
            self._answer_options(event)

    def _answer_options(self, event: RequestReceived) -> None:
        """Answer OPTIONS: a trunk's keep-alive, whether it would take a call, and who is there to who asks for JSON."""
        why = self._why_not()
        status = 503 if why else 200
        self.counts.options[status] += 1
        use = ("X-Callquake-Trunk", f"active={len(self._calls)};limit={self._options.trunk_calls}")
        can = [
            ("Allow", ", ".join((*ALLOW, "REGISTER"))),
            ("Accept", SDP_TYPE),
            ("Supported", ", ".join(sorted(EXTENSIONS))),
        ]
        headers = [use, ("Retry-After", str(self._options.retry_after_s))] if why else [use, *can]
        body = b""
        if _JSON_TYPE in event.request.message.tokens("accept"):
            limit = self._options.trunk_calls
            health = health_of(self._readiness(), active_calls=len(self._calls), max_calls=limit)
            body = json.dumps(health).encode()
        event.request.respond(status, monotonic_ns(), headers=headers, body=body, content_type=_JSON_TYPE)


def _config(options: SipOptions) -> AgentConfig:
    verifier = None
    if options.users:
        algorithms = DIGESTS[options.digest]
        verifier = Verifier(REALM, dict(options.users), algorithms=algorithms, secret=os.urandom(16))
    return AgentConfig(
        user_agent=library_name(),
        server=library_name(),
        session_expires_s=options.session_expires_s,
        verifier=verifier,
        requests=frozenset({"OPTIONS", "REGISTER"}),
    )


def _wanted_name(event: Incoming) -> str:
    """Return what the call is to be named: its caller's own name for it, else its Call-ID."""
    named = event.request.get(CALL_HEADER)
    if named is not None and CALL_NAME.fullmatch(named.strip()):
        return named.strip()
    return event.request.call_id[:_LONGEST_NAME]
