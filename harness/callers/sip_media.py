"""The audio of one SIP call: what its offers and answers settle on, and the media loop told of each change."""

import re
import secrets
from collections.abc import Callable
from typing import Any

from harness.callers import sabotage
from harness.callers.addresses import as_literal
from harness.callers.audio_leg import AudioLeg, MediaPeer, format_of
from harness.callers.exchange import CallEvent
from harness.callers.source_ports import SourcePorts
from harness.media.agreed import with_agreed
from harness.media.codecs import Codec, codec_named
from harness.media.loop import MediaLoop
from harness.media.media_call import MediaCall
from harness.media.recorder import Recorder
from harness.media.spec import Address
from harness.model.clock import monotonic_ns
from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.model.plan import CallPlan, TargetSpec
from harness.protocols.audio_session import SRTP_OFF, SRTP_OPTIONAL, SRTP_REQUIRED, AudioSession, Ours
from harness.protocols.offer_answer import Agreed
from harness.protocols.sdes import SUITES, Suite, suite_named

_SRTP = {"off": SRTP_OFF, "offered": SRTP_OPTIONAL, "required": SRTP_REQUIRED}


def codecs_of(target: TargetSpec) -> tuple[Codec, ...]:
    """Return the codecs that a call offers, the best first; none where it carries no audio."""
    if target.sip is None or not target.sip.media:
        return ()
    return tuple(codec_named(name) for name in (target.sip.codecs or (target.codec,)))


class SipMedia:
    """One call's audio. `open`, `offer`, `accept` each answer; `answer` the agent's offers; `close` at any point."""

    def __init__(
        self, plan: CallPlan, media_loop: MediaLoop, ports: SourcePorts, post: Callable[[CallEvent], None]
    ) -> None:
        self._plan = plan
        self._leg = AudioLeg(plan, media_loop, ports, post)
        self._leg.codecs = codecs_of(plan.target)
        self._session: AudioSession | None = None
        # What the media loop was told last.
        self._told: Agreed | None = None
        self._direction = "sendrecv"
        self.is_up = False
        self._said = self._heard = ""

    @property
    def call(self) -> MediaCall | None:
        """The call in the media loop, None before any answer."""
        return self._leg.media

    @property
    def recorder(self) -> Recorder | None:
        """What keeps the call's audio, None where nothing does."""
        return self._leg.recorder

    @property
    def codec(self) -> Codec:
        """The codec agreed on, or the first offered before that."""
        return self._leg.codecs[0] if self._leg.media is None else self._leg.media.spec.codec

    @property
    def details(self) -> dict[str, Any]:
        """The last offer and answer of each side, for a traced call; keys are left out."""
        return {"offered": _without_keys(self._said), "answered": _without_keys(self._heard)}

    def open(self, local: str, agent: str, *, alone: bool = False) -> bytes:
        """Take a port on the local address and return the first offer; `alone`: a port of the call's own."""
        source = self._leg.open(local, shared=not alone and self._leg.may_share(agent))
        target, address = self._plan.target, source.port.address
        self._session = AudioSession(
            Ours(
                host=address[0],
                port=address[1],
                formats=tuple(format_of(codec) for codec in self._leg.codecs),
                srtp=_SRTP[target.srtp],
                suites=[s for s in map(suite_named, target.srtp_suites) if s is not None] or SUITES,
                new_material=_new_material,
                ssrc=self._leg.ssrc,
                cname=self._plan.call_id,
                session_id=secrets.randbits(62),
            )
        )
        self._told = None
        self._said = sabotage.offered(self._session.offer(self._direction), self._plan.sabotage)
        return self._said.encode()

    # --- what the agent says ---------------------------------------------------------------------------------------

    def accept(self, body: bytes) -> bool:
        """Take an answer to our last offer, early or final; False where our shared port has another call by its mark.

        Raises RemoteProtocolError where it cannot be used.
        """
        self._heard = _text(body)
        return self._follow(self._held().accept(self._heard))

    def answer(self, body: bytes) -> bytes:
        """Answer an offer of the agent's; b"" asks for ours. Raises RemoteProtocolError where it cannot be taken."""
        if not body:
            return self._held().offer(self._direction).encode()
        answered, agreed = self._held().answer(_text(body), self._direction)
        if not self._follow(agreed):
            raise RemoteProtocolError("the media would move to where another call of the same port has its own")
        return answered.encode()

    def reoffer(self, *, hold: bool) -> bytes:
        """Return an offer that puts the agent on hold, or takes the call up again."""
        self._direction = "sendonly" if hold else "sendrecv"
        return self._held().offer(self._direction).encode()

    def withdraw(self) -> None:
        """Forget the last offer, which was refused."""
        self._held().withdraw()
        self._direction = "sendrecv" if self._told is None or self._told.hears else "sendonly"

    def connected(self) -> None:
        """From here on the call is answered: what was heard before is forgotten, silence counts."""
        self.is_up = True
        if self.call is not None and self._told is not None:
            self.call.hear_anew()
            self.call.set_direction(sends=self._told.sends, hears=self._told.hears)

    # --- the media loop --------------------------------------------------------------------------------------------

    def _follow(self, agreed: Agreed) -> bool:
        """Have the media loop do what is agreed; False where the port cannot tell the call from another."""
        if agreed == self._told:
            return True
        remote = self._remote(agreed)
        if not self._claim(agreed, remote):
            return False
        call = self._leg.media
        if call is None:
            source = self._leg.source
            by_ssrc = source is not None and source.is_shared and agreed.ssrc is not None
            codec = codec_named(agreed.form.name)
            peer = MediaPeer(remote, codec, by_ssrc, agreed.ssrc if by_ssrc else None)
            call = self._leg.start(with_agreed(self._leg.spec(peer, monotonic_ns()), agreed, remote))
        else:
            call.redirect(with_agreed(call.spec, agreed, remote, self._told))
        self._told = agreed
        # While it rings, an agent may be silent for as long as it likes.
        call.set_direction(sends=agreed.sends, hears=agreed.hears and self.is_up)
        return True

    def _claim(self, agreed: Agreed, remote: Address) -> bool:
        source = self._leg.source
        if source is None:
            raise LocalProtocolError("media without a port")
        mark = agreed.ssrc if source.is_shared and agreed.ssrc is not None else remote
        return source.mine == mark or source.reclaim(mark)

    def _remote(self, agreed: Agreed) -> Address:
        literal = as_literal(agreed.host)
        if literal is None:
            raise RemoteProtocolError(f"the audio's address {agreed.host!r} is a name; legal here: a numeric address")
        self._leg.check_reachable(literal, agreed.port)
        return literal, agreed.port

    def note_own_port_needed(self, agent: str) -> bool:
        """Remember that calls to this agent cannot share a port; False where the scenario forbids any other."""
        return self._leg.note_own_port_needed(agent)

    def cannot_share(self) -> Exception:
        """Return the error for an agent whose calls cannot be told apart on a shared port."""
        return self._leg.cannot_share()

    def _held(self) -> AudioSession:
        if self._session is None:
            raise LocalProtocolError("the audio of a SIP call was used before its offer")
        return self._session

    async def close(self) -> None:
        """Leave the media loop and let go of the port; safe to call at any point."""
        await self._leg.close()


def _new_material(suite: Suite) -> bytes:
    return secrets.token_bytes(suite.material_bytes)


def _without_keys(sdp: str) -> str:
    return re.sub(r"^(a=crypto:\S+ \S+) .*?(\r?)$", r"\1 inline:(hidden)\2", sdp, flags=re.MULTILINE)


def _text(body: bytes) -> str:
    return body.decode(errors="replace")
