"""One SIP call: its dialog on one side, the agent behind it on the other, RTP between.

INVITE ─► pick_up: ports, SDP ─► [183, early media] ─► 200 ─► ACK ─► session, audio both ways ─► BYE of either side
           │ 488, 415, 503          CANCEL ─┤             │ no ACK
           └────────────────────────────────┴─────────────┴─► released
"""

import asyncio
import ipaddress
import logging
import secrets
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from harness.media.codecs import G722, OPUS, PCMA, PCMU, Codec
from harness.model.clock import monotonic_ns
from harness.model.errors import RemoteProtocolError
from harness.protocols.audio_sdp import Format
from harness.protocols.audio_session import AudioSession, Ours
from harness.protocols.sip.events import (
    AnswerReceived,
    CallEvent,
    Confirmed,
    Ended,
    Failed,
    InfoReceived,
    Offered,
)
from harness.protocols.sip.handles import Call
from target_stack.edge.agent_call import AgentCall, EndReason
from target_stack.edge.counts import SipCounts
from target_stack.edge.event_streams import EVENTS_HEADER
from target_stack.edge.rtp.digits import Digit
from target_stack.edge.rtp.line import RtpLine
from target_stack.edge.rtp.sockets import Address
from target_stack.edge.rtp.ticker import Ticker
from target_stack.edge.sip_bodies import relayed_digit
from target_stack.edge.sip_options import SipOptions

_log = logging.getLogger(__name__)

CALL_HEADER = "X-Call-Id"
# Wide band first where the caller leaves us the choice: an offer of ours, to an INVITE without one.
_CODECS = (OPUS, G722, PCMU, PCMA)

# Why the call is over, by the cause that the dialog tells.
_REASONS = {
    "remote": EndReason.PEER_LEFT,
    "no_ack": EndReason.NO_ACK,
    "session_expired": EndReason.SESSION_EXPIRED,
    "transport": EndReason.SIGNALLING_LOST,
    "gone": EndReason.SIGNALLING_LOST,
    "cancelled": EndReason.CANCELLED,
    "timeout": EndReason.SIGNALLING_LOST,
    "rejected": EndReason.REFUSED,
}
# What a BYE of ours says about why (RFC 3326).
_BYE_REASONS = {
    EndReason.MEDIA_LOST: 'SIP;cause=408;text="no RTP from the caller"',
    EndReason.STAGE_FAILED: 'SIP;cause=500;text="the agent failed"',
    EndReason.EDGE_FAILED: 'SIP;cause=500;text="the agent failed"',
    EndReason.SHUTDOWN: 'SIP;cause=503;text="the agent is shutting down"',
    EndReason.CONSENT_MISSING: 'SIP;cause=603;text="no consent to go on"',
}


@dataclass(frozen=True, slots=True)
class SipContext:
    """What every call of the edge shares."""

    options: SipOptions
    ticker: Ticker
    counts: SipCounts
    # Sends what the user agent has to say.
    flush: Callable[[], None]


class SipCall:
    """`run` serves the call; `take` tells it what its dialog tells. The leg's `owner`."""

    def __init__(self, leg: Call, body: bytes, call: AgentCall, events_url: str, context: SipContext) -> None:
        self.leg = leg
        self._body = body
        self._call = call
        self._context = context
        self._line = RtpLine(call, context.ticker, self._digit_pressed)
        self._headers = ((CALL_HEADER, call.call_id), (EVENTS_HEADER, events_url))
        self._audio: AudioSession | None = None
        self._is_over = False
        self._is_answered = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def call_id(self) -> str:
        """What the call is named in events and logs."""
        return self._call.call_id

    def hang_up(self, reason: EndReason = EndReason.HUNG_UP) -> None:
        """End the call; `run` returns when everything is released."""
        self._call.hang_up(reason)

    async def run(self) -> EndReason:
        """Answer the call, serve it to its end, release everything; return why it ended."""
        self._spawn(self._pick_up())
        return await self._call.run(self._release)

    # --- what the dialog tells -------------------------------------------------------------------------------------

    def take(self, event: CallEvent) -> None:
        """Take one event of this call's dialog."""
        match event:
            case Confirmed():
                self._confirmed(event.body)
            case Offered():
                self._spawn(self._renegotiate(event.body))
            case AnswerReceived():
                self._spawn(self._take_answer(event.body))
            case InfoReceived():
                digit = relayed_digit(event.content_type, event.body)
                if digit is not None:
                    self._digit_pressed(digit)
            case Ended() | Failed():
                self._is_over = True
                self._call.hang_up(_REASONS.get(event.cause, EndReason.HUNG_UP))

    def _confirmed(self, body: bytes) -> None:
        if body:
            self._spawn(self._take_answer(body))
        elif self._audio is not None and self._audio.agreed is None:
            # Our 200 asked for an answer, its ACK has none.
            self._call.hang_up(EndReason.REFUSED)
            return
        self._call.connected()

    def _digit_pressed(self, digit: Digit) -> None:
        self._context.counts.digits += 1
        self._call.press(digit.digit, digit.duration_ms)

    def _spawn(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(step))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except Exception:  # noqa: BLE001 -- whatever failed, the caller must get an answer or a BYE
            _log.exception("call %s: the edge failed", self.call_id)
            self._call.hang_up(EndReason.EDGE_FAILED)

    # --- set-up ----------------------------------------------------------------------------------------------------

    async def _pick_up(self) -> None:
        try:
            answer = await self._describe()
        except RemoteProtocolError as error:
            _log.info("call %s refused: %s", self.call_id, error)
            self._refuse(488, (("Warning", f'399 callquake "{_quotable(str(error))}"'),))
            return
        except OSError as error:
            _log.warning("call %s refused: %s", self.call_id, error)
            self._refuse(503, (("Retry-After", str(self._context.options.retry_after_s)),))
            return
        if self._context.options.early_media != "none" and self._audio is not None and self._audio.agreed is not None:
            await self._ring(answer)
        if not self._is_over:
            self._is_answered = True
            self.leg.accept(answer.encode(), monotonic_ns(), headers=self._headers)
            self._context.counts.answers[200] += 1
            self._context.flush()
            self._line.speak()

    async def _describe(self) -> str:
        """Open ports and return our answer, or our offer where the INVITE had none."""
        address = await self._line.open(self.leg.flow.local[0], self._context.options.rtp_ports)
        self._audio = AudioSession(_ours(address, self._line.ssrc, self._context.options.srtp))
        if not self._body:
            return self._audio.offer()
        answer, _ = self._audio.answer(_text(self._body))
        await self._apply()
        return answer

    async def _ring(self, answer: str) -> None:
        """Let the caller hear something before the 200."""
        options = self._context.options
        self.leg.ring(monotonic_ns(), 183, body=answer.encode(), headers=self._headers)
        self._context.flush()
        is_greeting = options.early_media == "greeting"
        self._line.is_ringing = not is_greeting
        self._line.speak()
        if is_greeting:
            self._call.connected()
            await self._call.greeted.wait()
        else:
            await asyncio.sleep(options.ring_s)
        self._line.is_ringing = False

    def _refuse(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        if not self._is_over:
            self.leg.reject(status, monotonic_ns(), headers=headers)
            self._context.counts.answers[status] += 1
            self._context.flush()
        self._call.hang_up(EndReason.REFUSED)

    async def _apply(self) -> None:
        """Let the line follow what SDP has settled on."""
        assert self._audio is not None
        agreed = self._audio.agreed
        if agreed is not None:
            self._line.agree(agreed, (await _numeric(agreed.host), agreed.port))

    async def _renegotiate(self, body: bytes) -> None:
        """Answer a re-INVITE or UPDATE: hold, resume, another address or codec."""
        assert self._audio is not None
        try:
            answer = self._audio.answer(_text(body))[0] if body else self._audio.offer()
            await self._apply()
        except RemoteProtocolError as error:
            _log.info("call %s: offer refused: %s", self.call_id, error)
            if not self._is_over:
                self.leg.refuse_offer(488, monotonic_ns())
        else:
            self._context.counts.renegotiations += 1
            if not self._is_over:
                self.leg.answer_offer(answer.encode(), monotonic_ns())
        self._context.flush()

    async def _take_answer(self, body: bytes) -> None:
        """Take the answer to an offer of ours, from an ACK or PRACK."""
        assert self._audio is not None
        try:
            self._audio.accept(_text(body))
            await self._apply()
        except RemoteProtocolError as error:
            _log.info("call %s: answer refused: %s", self.call_id, error)
            self._call.hang_up(EndReason.REFUSED)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _release(self, reason: EndReason) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self._is_over:
            self._hang_up_leg(reason)
        self._context.counts.lines.add(await self._line.close())

    def _hang_up_leg(self, reason: EndReason) -> None:
        if self._is_answered:
            text = _BYE_REASONS.get(reason)
            self.leg.hang_up(monotonic_ns(), headers=(("Reason", text),) if text else ())
        else:
            self._context.counts.answers[503] += 1
            retry = (("Retry-After", str(self._context.options.retry_after_s)),)
            self.leg.reject(503, monotonic_ns(), headers=retry)
        self._context.flush()


def _ours(address: Address, ssrc: int, srtp: str) -> Ours:
    return Ours(
        host=address[0],
        port=address[1],
        formats=[_format(codec) for codec in _CODECS],
        srtp=srtp,
        new_material=lambda suite: secrets.token_bytes(suite.material_bytes),
        ssrc=ssrc,
        cname="agent",
        session_id=secrets.randbits(62),
    )


def _format(codec: Codec) -> Format:
    # RFC 7587 4.1: Opus is always announced with two channels.
    return Format(codec.payload_type, codec.name, codec.clock_rate, 2 if codec is OPUS else 1)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(f"the SDP is not UTF-8: {error}") from error


async def _numeric(host: str) -> str:
    """Return an address of `host`; RemoteProtocolError when it has none."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise RemoteProtocolError(f"the SDP's address {host[:80]} cannot be resolved: {error}") from error
    return str(found[0][4][0])


def _quotable(text: str) -> str:
    """Return `text` as it may stand between quotes in a header: its line ends and quotes replaced, not too long."""
    return "".join(c if c.isprintable() and c not in '"\\' else "'" for c in text)[:200]
