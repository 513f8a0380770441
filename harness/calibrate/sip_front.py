"""A SIP front of the reference responder: INVITEs answered at once by the agents of the desk, over RTP like its others.

INVITE ─► port, SDP answer ─► 200 ─► ACK: the call's media begin, greeting first ─► BYE of the caller
                                     re-INVITE: hold, resume, another address

A call that asks for no audio (`a=inactive`) gets none: no port, no row of the media loop, only its signalling.
"""

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.calibrate.desk import Desk, Line
from harness.calibrate.rtp_calls import SignalledRtpCalls, format_of
from harness.media.agreed import with_agreed
from harness.media.codecs import CODECS, codec_named
from harness.media.port import MediaPort
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.model.clock import monotonic_ns
from harness.model.errors import GeneratorError, RemoteProtocolError
from harness.protocols.audio_session import SRTP_OPTIONAL, AudioSession, Ours
from harness.protocols.offer_answer import Agreed
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.events import (
    AnswerReceived,
    Confirmed,
    Ended,
    Event,
    Failed,
    Incoming,
    Offered,
    RequestReceived,
)
from harness.protocols.sip.flow import host_port
from harness.protocols.sip.handles import Call
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import SipEndpoint

_FORMATS = [format_of(codec) for codec in CODECS]
# RFC 863; nobody sends to a stream that is inactive.
_DISCARD_PORT = 9
# After RTCP's BYE the caller's own BYE is on its way; one that does not come within this is ours to send.
_GRACE_S = 1.0
_GOODBYE_S = 2.0


@dataclass(slots=True, eq=False)
class _Answered:
    """One call; `port` is None where it has no audio."""

    leg: Call
    name: str
    audio: AudioSession
    ssrc: int
    port: MediaPort | None
    is_shared: bool
    is_begun: bool = False
    is_over: bool = False


class SipFront:
    """Takes SIP calls for a desk, by UDP and TCP; `about` is the body of its answers to OPTIONS."""

    def __init__(self, desk: Desk, rtp: SignalledRtpCalls, about: Mapping[str, Any]) -> None:
        self._desk = desk
        self._about = json.dumps(about).encode()
        self._rtp = rtp
        self._agent = UserAgent(
            AgentConfig(
                user_agent="callquake-responder", server="callquake-responder", requests=frozenset({"OPTIONS"})
            ),
            seed=int.from_bytes(os.urandom(8)),
        )
        self._endpoint = SipEndpoint(self._agent, self._on_event)
        self._calls: set[_Answered] = set()
        self._all_over: asyncio.Event | None = None

    async def start(self, host: str, port: int) -> str:
        """Listen; return the agent's URI. OSError when the port is taken."""
        return f"sip:responder@{host_port(await self._endpoint.listen(host, port))}"

    async def aclose(self) -> None:
        """Say BYE to every caller, then stop listening; the media end with their desk."""
        for call in self._calls:
            call.leg.hang_up(monotonic_ns())
        if self._calls:
            self._all_over = asyncio.Event()
            self._endpoint.flush()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_over.wait(), _GOODBYE_S)
        await self._endpoint.aclose()

    def _on_event(self, event: Event) -> None:
        match event:
            case Incoming():
                self._invited(event)
            case Confirmed(call=leg) if isinstance(leg.owner, _Answered):
                self._confirmed(leg.owner, event.body)
            case AnswerReceived(call=leg) if isinstance(leg.owner, _Answered):
                self._confirmed(leg.owner, event.body)
            case Offered(call=leg) if isinstance(leg.owner, _Answered):
                self._renegotiate(leg.owner, event.body)
            case RequestReceived(request=request):
                request.respond(200, monotonic_ns(), body=self._about, content_type="application/json")
            case Ended(call=leg) | Failed(call=leg) if isinstance(leg.owner, _Answered):
                self._over(leg.owner)

    # --- set-up ----------------------------------------------------------------------------------------------------

    def _invited(self, event: Incoming) -> None:
        leg = event.call
        try:
            call, sdp = self._answered(event)
        except (RemoteProtocolError, UnicodeDecodeError):
            leg.reject(488, monotonic_ns())
            return
        except GeneratorError:
            leg.reject(503, monotonic_ns(), headers=(("Retry-After", "5"),))
            return
        leg.owner = call
        self._calls.add(call)
        leg.accept(sdp.encode(), monotonic_ns(), headers=(("X-Call-Id", call.name),))

    def _answered(self, event: Incoming) -> tuple[_Answered, str]:
        """Return the call and what its 200 carries: our answer, or our offer to an INVITE without one."""
        address, ssrc = event.call.flow.local[0], secrets.randbits(32)
        is_silent = b"a=inactive" in event.body
        # Only who announces its SSRC can be told from the others on a shared port.
        is_shared = not is_silent and self._rtp.shares_ports and b"a=ssrc:" in event.body
        port = None if is_silent else self._rtp.take_port(address, is_shared=is_shared)
        audio = AudioSession(
            Ours(
                host=address,
                port=_DISCARD_PORT if port is None else port.address[1],
                formats=_FORMATS,
                srtp=SRTP_OPTIONAL,
                new_material=lambda suite: secrets.token_bytes(suite.material_bytes),
                ssrc=ssrc,
                cname="responder",
                session_id=secrets.randbits(62),
                events=False,
            )
        )
        try:
            sdp = audio.answer(event.body.decode())[0] if event.body else audio.offer()
        except Exception:
            if port is not None and not is_shared:
                port.close()
            raise
        wanted = event.request.get("x-call-id") or event.call.id
        return _Answered(event.call, self._desk.name(wanted), audio, ssrc, port, is_shared), sdp

    def _confirmed(self, call: _Answered, body: bytes) -> None:
        """Begin: the caller has our answer."""
        try:
            agreed = call.audio.accept(body.decode()) if body else call.audio.agreed
            if agreed is not None and not call.is_begun and call.port is not None:
                self._begin(call, agreed, call.port)
        except (RemoteProtocolError, UnicodeDecodeError, GeneratorError):
            agreed = None
        if agreed is None:
            call.leg.hang_up(monotonic_ns())

    def _begin(self, call: _Answered, agreed: Agreed, port: MediaPort) -> None:
        line = Line(
            port=port,
            remote=(agreed.host, agreed.port),
            codec=codec_named(agreed.form.name),
            payload_type=agreed.form.payload_type,
            ssrc=call.ssrc,
            remote_ssrc=agreed.ssrc,
            by_ssrc=call.is_shared,
            any_source=not call.is_shared,
            outgoing=None if agreed.outgoing is None else outgoing_session(agreed.outgoing),
            incoming=None if agreed.incoming is None else incoming_session(agreed.incoming),
        )
        self._desk.take(call.name, line, release=lambda: self._released(call))
        call.is_begun = True

    def _renegotiate(self, call: _Answered, body: bytes) -> None:
        """Answer a hold, a resume, a move."""
        before = call.audio.agreed
        media = self._desk.media(call.name)
        try:
            sdp = call.audio.answer(body.decode())[0] if body else call.audio.offer()
        except (RemoteProtocolError, UnicodeDecodeError):
            call.leg.refuse_offer(488, monotonic_ns())
            return
        agreed = call.audio.agreed
        if media is not None and agreed is not None and agreed != before:
            spec = with_agreed(media.spec, agreed, (agreed.host, agreed.port), before)
            if spec != media.spec:
                media.redirect(spec)
            media.set_direction(sends=agreed.sends, hears=agreed.hears)
        call.leg.answer_offer(sdp.encode(), monotonic_ns())

    # --- the end ---------------------------------------------------------------------------------------------------

    def _over(self, call: _Answered) -> None:
        """Let go of a call whose dialog has ended."""
        call.is_over = True
        call.leg.owner = None
        self._calls.discard(call)
        if call.is_begun:
            self._desk.hang_up(call.name)
        else:
            self._close_port(call)
        if not self._calls and self._all_over is not None:
            self._all_over.set()

    def _released(self, call: _Answered) -> None:
        """Take note that the call's media have ended: with its dialog, by RTCP's BYE, or for want of packets."""
        self._close_port(call)
        if not call.is_over:
            asyncio.get_running_loop().call_later(_GRACE_S, self._hang_up, call)

    def _hang_up(self, call: _Answered) -> None:
        if not call.is_over:
            call.leg.hang_up(monotonic_ns())
            self._endpoint.flush()

    def _close_port(self, call: _Answered) -> None:
        if call.port is not None and not call.is_shared:
            call.port.close()
