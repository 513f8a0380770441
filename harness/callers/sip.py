"""One SIP call: INVITE, early media, answer, BYE; the agent's offers answered; keys pressed and holds asked for.

INVITE ─► 1xx ─► 2xx (ACK by the user agent) ─► conversation ─► BYE of either side ─► its answer, waited for 4 s
   └─► 3xx: the next Contact · 401, 407: answered by the user agent · 503: silence as it asks for · other: SetupFailure
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

from harness.callers import sip_causes
from harness.callers.conduct import Conduct
from harness.callers.event_socket import EVENTS_HEADER, EventSocket
from harness.callers.exchange import CallEvent, Disconnected
from harness.callers.setup_failure import SetupFailure
from harness.callers.setup_queue import Turn
from harness.callers.sip_begun import Begun
from harness.callers.sip_ear import SipEar
from harness.callers.sip_hop import UDP, Hop, first_hop, hop_of, read_uri
from harness.callers.sip_host import SipHost
from harness.callers.sip_identity import account_of, invitation
from harness.callers.sip_log import SipLog
from harness.callers.sip_media import SipMedia
from harness.callers.sip_redirects import Redirects
from harness.callers.sip_silence import silent_answer, silent_offer
from harness.callers.source_ports import SourcePorts
from harness.media.codecs import Codec
from harness.media.events import MediaFailed
from harness.media.loop import MediaLoop
from harness.media.recorder import Recorder
from harness.media.timers import Timers
from harness.model.clock import NS_PER_MS, NS_PER_S, monotonic_ns, ms_between
from harness.model.codec import to_json
from harness.model.errors import CallquakeError, LocalProtocolError, RemoteProtocolError
from harness.model.plan import PROPER, CallPlan, SipSpec
from harness.model.records import Cause, SetupTimes
from harness.model.sip_facts import SipFacts
from harness.protocols.sip import events, handles
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.uri import Uri

if TYPE_CHECKING:
    from harness.media.media_call import MediaCall

T = TypeVar("T")

# With T1 = 500 ms a BYE has left four times by then; the user agent goes on with it until its Timer F.
BYE_WAIT_S = 4.0
_logger = logging.getLogger(__name__)


class SipCaller:
    """One call over SIP; harness/callers/caller.py says what its methods promise."""

    def __init__(
        self,
        plan: CallPlan,
        host: SipHost,
        timers: Timers,
        media_loop: MediaLoop,
        ports: SourcePorts,
        http: aiohttp.ClientSession,
        post: Callable[[CallEvent], None],
        conduct: Conduct | None = None,
    ) -> None:
        if plan.target.sip is None:
            raise LocalProtocolError(f"call {plan.call_id}: a call over SIP without what SIP needs")
        self._plan = plan
        self._conduct = conduct or Conduct(plan.misconduct or PROPER, plan.call_id)
        self._spec: SipSpec = plan.target.sip
        self._host = host
        self._timers = timers
        self._post = post
        self._log = SipLog(self._spec.transport, media=self._spec.media)
        self._ear = SipEar(self._log, post)
        # None: signalling only.
        self._media = SipMedia(plan, media_loop, ports, self._ear.hear) if self._spec.media else None
        self._side = EventSocket(http, post)
        self._call: handles.Call | None = None
        self._begun: Begun | None = None
        self._hop: Hop | None = None
        self._deadline_ns = 0
        # A BYE of ours that left before the call was taken over.
        self._left_at_ns: int | None = None
        # The media agreed on cannot be told from another call's on the port that both share.
        self._is_confused = False
        # The connection it went over is gone: no BYE can reach anybody.
        self._is_lost = False
        # How the INVITE under way ends.
        self._answer: asyncio.Future[events.Answered | events.Failed] | None = None
        # Of the last INVITE's dialog: nothing more is to come.
        self._is_over = True
        self._over: asyncio.Future[None] | None = None
        # Set while a re-INVITE of ours for it is under way, or waits for one of the agent's.
        self._hold_wanted: bool | None = None
        self._is_offering = False
        self.setup = SetupTimes()
        self.candidate_types: tuple[str, str] | None = None

    @property
    def media(self) -> "MediaCall | None":
        """The call's media, None before any answer and where it has none."""
        return None if self._media is None else self._media.call

    @property
    def recorder(self) -> Recorder | None:
        """What keeps the call's audio, None where nothing does."""
        return None if self._media is None else self._media.recorder

    @property
    def codec(self) -> Codec | None:
        """The codec agreed on."""
        return None if self._media is None else self._media.codec

    @property
    def details(self) -> dict[str, Any]:
        """What a traced call asked, was answered and negotiated, for JSON."""
        return {"sip": to_json(self._log.facts()), **({} if self._media is None else self._media.details)}

    def facts(self) -> SipFacts:
        """Return what the signalling went through so far."""
        return self._log.facts()

    # --- setting up ------------------------------------------------------------------------------------------------

    def take_over(self, begun: Begun) -> None:
        """Go on with a call that somebody else has begun; before `connect`."""
        self._begun, self._call, self._left_at_ns = begun, begun.call, begun.left_at_ns
        self._hop = first_hop(read_uri(self._plan.target.url, "target.url").for_request(), self._spec)
        self._answer, self._is_over = asyncio.get_running_loop().create_future(), False
        begun.go_on(self, self._log)

    async def connect(self, turn: Turn) -> int:
        """Set the call up; return the monotonic ns at which it was answered. Raises SetupFailure, GeneratorError."""
        begun = self._begun
        started = monotonic_ns() if begun is None else begun.started_at_ns
        self._deadline_ns = started + int(self._plan.limits.connect_timeout_ms * NS_PER_MS)
        limit = self._timers.at(self._deadline_ns, self._out_of_time)
        try:
            answered = await self._place(turn)
        finally:
            limit.cancel()
        self.setup = SetupTimes(
            queue_ms=turn.waited_ns / 1e6 if begun is None else 0.0,
            signalling_ms=ms_between(started, answered.at_ns),
            total_ms=ms_between(turn.due_at_ns, answered.at_ns),
        )
        return answered.at_ns

    async def _place(self, turn: Turn) -> events.Answered:
        uri = read_uri(self._plan.target.url, "target.url").for_request()
        flow = await self._flow(turn, first_hop(uri, self._spec))
        if self._spec.register:
            register = self._host.registered(account_of(self._spec, uri), flow, self._spec)
            await self._in_time(turn.away(register), "no answer to REGISTER")
        redirects = Redirects(uri)
        while True:
            outcome = await self._invite(turn, uri, flow)
            if isinstance(outcome, events.Answered):
                return outcome
            onward = redirects.after(outcome)
            if onward is None:
                has_account = self._spec.username is not None
                raise sip_causes.failure_of(outcome, str(self._hop), self._log.challenges, has_account=has_account)
            uri, self._log.redirects = onward, redirects.followed
            if self._spec.proxy is None:
                flow = await self._flow(turn, hop_of(uri, self._spec.transport))

    async def _flow(self, turn: Turn, hop: Hop) -> Flow:
        self._hop, self._log.transport = hop, hop.transport
        if self._begun is None:
            self._keep_silence(hop)
        opening = self._host.flow(hop, self._spec)
        # A datagram's flow is there at once, if its host's name is.
        return await (opening if hop.transport == UDP else self._in_time(turn.away(opening), f"no connection to {hop}"))

    async def _in_time(self, work: Awaitable[T], what: str) -> T:
        limit_s = self._plan.limits.connect_timeout_ms / 1000
        try:
            async with asyncio.timeout((self._deadline_ns - monotonic_ns()) / NS_PER_S):
                return await work
        except TimeoutError as error:
            raise SetupFailure(Cause.SIGNALLING_TIMEOUT, f"{what} within {limit_s:g} s") from error

    def _keep_silence(self, hop: Hop) -> None:
        left_s = self._host.silence_left_s(hop) if self._spec.honour_retry_after else 0.0
        if left_s:
            self._log.held_back = not self._log.call_id
            raise SetupFailure(
                Cause.SIP_OVERLOADED, f"not sent: {hop} asked by 503 and Retry-After for {left_s:.1f} s more of silence"
            )

    async def _invite(self, turn: Turn, uri: Uri, flow: Flow) -> events.Answered | events.Failed:
        """Place the call from a port that may be shared; again from its own where it cannot be told from others."""
        outcome = await self._offer_and_wait(turn, uri, flow, alone=False)
        if self._media is None or not self._is_confused:
            return outcome
        # The agent has two calls on one address with one SSRC, or does not say which: known from here on.
        if not self._media.note_own_port_needed(str(self._hop)):
            raise self._media.cannot_share()
        await self._hang_up()
        await self._media.close()
        self._is_confused = False
        outcome = await self._offer_and_wait(turn, uri, flow, alone=True)
        if self._is_confused:
            raise self._media.cannot_share()
        return outcome

    async def _offer_and_wait(
        self, turn: Turn, uri: Uri, flow: Flow, *, alone: bool
    ) -> events.Answered | events.Failed:
        begun, self._begun = self._begun, None
        if begun is not None and self._answer is not None:
            turn.leave()
            return await self._answer
        local = flow.local[0]
        body = silent_offer(local) if self._media is None else self._media.open(local, str(self._hop), alone=alone)
        self._answer = asyncio.get_running_loop().create_future()
        self._is_over = False
        self._call = self._host.agent.invite(
            str(uri),
            flow,
            monotonic_ns(),
            **invitation(self._spec, self._plan.target, uri, flow, self._plan.call_id, body),
            auth=self._host.credentials(self._spec),
            owner=self,
        )
        self._host.ride(flow, self)
        self._host.mind(self._call.id, self._conduct)
        self._log.invited(self._call.id, monotonic_ns())
        self._host.flush()
        turn.leave()
        return await self._answer

    def _out_of_time(self) -> None:
        if self._answer is not None and not self._answer.done():
            last = self._log.last_provisional
            heard = "not even a 100" if last is None else f"the last word was {last}"
            limit_s = self._plan.limits.connect_timeout_ms / 1000
            detail = f"no final response from {self._hop} within {limit_s:g} s; {heard}"
            self._answer.set_exception(SetupFailure(Cause.SIP_TIMEOUT, detail))

    # --- what the agent says ---------------------------------------------------------------------------------------

    def on_sip(self, event: events.Event) -> None:
        """Take an event of the call; an error ends this call alone."""
        if isinstance(event, events.CallEvent) and event.call is not self._call:
            return
        handler = _HANDLERS.get(type(event))
        if handler is None:
            return
        try:
            handler(self, event)
        except CallquakeError as error:
            self._fail(error)
        except Exception as error:
            _logger.exception("call %s: a SIP event could not be taken", self._plan.call_id)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        else:
            self._post(MediaFailed(repr(error)))

    def _on_provisional(self, event: events.Provisional) -> None:
        self._log.provisional(event)
        if event.body and self._media is not None and self._answer is not None and not self._answer.done():
            self._log.early_media = True
            try:
                self._media.accept(event.body)
            except (RemoteProtocolError, SetupFailure):
                # The final answer may be better; if it is not, that one tells.
                _logger.debug("call %s: SDP of a %d is unusable", self._plan.call_id, event.status)
            self._side.follow(event.response.get(EVENTS_HEADER))

    def _on_answered(self, event: events.Answered) -> None:
        self._log.answered(event)
        # At once, whoever has the next turn to set up: the agent may greet in the next packet.
        if self._media is not None:
            self._take_answer(self._media, event)
        self._settle(event)
        self._side.follow(event.response.get(EVENTS_HEADER))

    def _on_failed(self, event: events.Failed) -> None:
        self._log.failed(event)
        if event.status == 503 and event.retry_after_s and self._hop is not None and self._spec.honour_retry_after:
            self._host.ask_silence(self._hop, event.retry_after_s)
        self._end()
        self._settle(event)

    def _take_answer(self, media: SipMedia, event: events.Answered) -> None:
        try:
            # A 2xx may leave out what a reliable 1xx has answered.
            if event.body or media.call is None:
                self._is_confused = not media.accept(event.body)
        except RemoteProtocolError as error:
            detail = f"{self._plan.target.url}: the SDP answer is unusable: {error}"
            raise SetupFailure(Cause.SIGNALLING_REFUSED, detail) from error
        if not self._is_confused and media.call is not None:
            media.connected()
            self._ear.answered(event.at_ns, media.call.hear_anew)

    def _settle(self, outcome: events.Answered | events.Failed) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(outcome)

    def _on_ended(self, event: events.Ended) -> None:
        self._log.ended(event)
        self._end()
        if event.cause != "local":
            cause, detail = sip_causes.end_of(event.cause, event.reason, event.reason_header)
            self._post(Disconnected(detail, cause))

    def _end(self) -> None:
        self._is_over = True
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def on_lost(self, why: str) -> None:
        """Learn that the connection is gone that carried the call: whoever it was to is taken to be gone, too."""
        if self._call is not None and self._call.state == handles.UP:
            self._is_lost = True
            self._post(Disconnected(f"the signalling connection was cut: {why}", Cause.SIP_TRANSPORT_LOST))

    def _on_offered(self, event: events.Offered) -> None:
        call, now = event.call, monotonic_ns()
        self._log.changes += 1
        try:
            answered = (
                silent_answer(event.body, call.flow.local[0]) if self._media is None else self._media.answer(event.body)
            )
        except (RemoteProtocolError, SetupFailure) as error:
            _logger.info("call %s: an offer of the agent's is refused: %s", self._plan.call_id, error)
            call.refuse_offer(488, now)
            return
        call.answer_offer(answered, now)
        self._offer_hold()

    def _on_answer_received(self, event: events.AnswerReceived) -> None:
        if self._media is not None:
            self._media.accept(event.body)
        self._offer_hold()

    # --- what the caller does --------------------------------------------------------------------------------------

    def press(self, digits: str) -> None:
        """Press keys; an agent that takes none (RFC 4733) hears none, and the record counts none."""
        call = self.media
        if call is not None and call.spec.events_out is not None:
            call.send_dtmf(digits)

    def hold(self, on: bool) -> None:
        """Put the agent on hold, or take the call up again, by re-INVITE."""
        self._hold_wanted = on
        self._offer_hold()

    def _offer_hold(self) -> None:
        call, wanted = self._call, self._hold_wanted
        if wanted is None or call is None or self._media is None or self._is_offering:
            return
        if call.state == handles.UP and call.can_offer:
            self._hold_wanted, self._is_offering = None, True
            self._log.holds += wanted
            call.reinvite(self._media.reoffer(hold=wanted), monotonic_ns())
            self._host.flush()

    def _on_offer_answered(self, event: events.OfferAnswered) -> None:
        self._is_offering = False
        if self._media is not None:
            self._media.accept(event.body)
        self._offer_hold()

    def _on_offer_refused(self, _event: events.OfferRefused) -> None:
        self._is_offering = False
        self._log.holds_refused += 1
        if self._media is not None:
            self._media.withdraw()
        self._offer_hold()

    def vanish(self) -> None:
        """Send nothing any more, whatever comes; `close` says no goodbye."""
        self._conduct.is_gone = True
        if self._call is not None:
            self._host.mind(self._call.id, self._conduct)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Hang up and release everything; safe to call at any point of the call."""
        try:
            if self._media is None:
                await self._hang_up()
            else:
                await asyncio.gather(self._hang_up(), self._media.close())
        finally:
            self._ear.let_go()
            # What is left of them knows us.
            self._call = self._answer = self._over = None
            self._log.registrations = self._host.take_registrations()
            await self._side.aclose()

    async def _hang_up(self) -> None:
        """End the last dialog, if it is not over."""
        call = self._call
        if call is None:
            return
        self._host.alight(call.flow, self)
        if not self._is_over:
            await self._say_goodbye(call)
        self._host.endpoint.forget(call.id)
        # Its transactions live on for a while, and have nothing more to tell.
        call.owner = None

    async def _say_goodbye(self, call: handles.Call) -> None:
        """CANCEL or BYE, and wait for what comes of it; an agent that says nothing any more is left."""
        has_answered = self._log.last_provisional is not None or call.state != handles.INVITING
        was_up = call.state == handles.UP
        call.hang_up(monotonic_ns())
        if was_up and not self._is_lost and not self._conduct.is_gone:
            self._log.hung_up(monotonic_ns())
        self._host.flush()
        if has_answered and not self._is_over and not self._conduct.is_gone:
            self._over = asyncio.get_running_loop().create_future()
            since_ns = self._left_at_ns or monotonic_ns()
            limit = self._timers.at(since_ns + int(BYE_WAIT_S * NS_PER_S), self._end_waiting)
            try:
                await self._over
            finally:
                limit.cancel()

    def _end_waiting(self) -> None:
        self._log.gave_up(monotonic_ns(), self._call)
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


_HANDLERS: Mapping[type[events.Event], Callable[[SipCaller, Any], None]] = {
    events.Provisional: SipCaller._on_provisional,  # noqa: SLF001 - the table of this class's own methods
    events.Answered: SipCaller._on_answered,  # noqa: SLF001
    events.Failed: SipCaller._on_failed,  # noqa: SLF001
    events.Ended: SipCaller._on_ended,  # noqa: SLF001
    events.Offered: SipCaller._on_offered,  # noqa: SLF001
    events.OfferAnswered: SipCaller._on_offer_answered,  # noqa: SLF001
    events.OfferRefused: SipCaller._on_offer_refused,  # noqa: SLF001
    events.AnswerReceived: SipCaller._on_answer_received,  # noqa: SLF001
}
