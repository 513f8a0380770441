"""The audio of one dialog: its offers and answers one after the other (RFC 3264 section 8, RFC 6337).

A re-offer repeats what holds, under the same numbers and with the same keys, its version counted up when it changes
anything; an m= line once offered stays. What fails changes nothing. Descriptions come and go as text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols import audio_sdp, dtmf, sdes
from harness.protocols.audio_sdp import COMFORT_NOISE, AudioSdp, Format
from harness.protocols.offer_answer import (
    PACKET_MS,
    Agreed,
    Answerer,
    answer,
    as_answerer,
    as_offerer,
    events_beside,
    is_unspecified,
)

SRTP_OFF, SRTP_OPTIONAL, SRTP_REQUIRED = "off", "optional", "required"
_SRTP = (SRTP_OFF, SRTP_OPTIONAL, SRTP_REQUIRED)
# Our numbers of telephone events, by clock rate: 101 is what everybody writes.
_EVENT_TYPES = {8000: 101, 16_000: 102, 48_000: 110}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """What our side can do."""

    # A numeric address, and the RTP port that we are heard at.
    host: str
    port: int
    # The preferred one first; telephone events and comfort noise come by the switches below.
    formats: Sequence[Format]
    # One of _SRTP; to demand it is to write RTP/SAVP and to refuse what comes without.
    srtp: str = SRTP_OFF
    suites: Sequence[sdes.Suite] = sdes.SUITES
    # Makes a fresh key and salt.
    new_material: Callable[[sdes.Suite], bytes]
    events: bool = True
    comfort_noise: bool = False
    rtcp_mux: bool = True
    ssrc: int | None = None
    cname: str = ""
    session_id: int = 0


class AudioSession:
    """Our side of one dialog's audio. Errors of the peer are RemoteProtocolErrors, to be answered with 488."""

    def __init__(self, ours: Ours) -> None:
        if ours.srtp not in _SRTP:
            raise LocalProtocolError(f"srtp {ours.srtp!r}; legal: {', '.join(_SRTP)}")
        self._ours = ours
        # What holds; None before the first answer.
        self.agreed: Agreed | None = None
        # Our description that belongs to `agreed`.
        self._local: AudioSdp | None = None
        # Our offer that waits for its answer, or has had one that another may replace.
        self._offered: AudioSdp | None = None
        self._last_sent: AudioSdp | None = None

    def offer(self, direction: str = "sendrecv") -> str:
        """Return a first offer, or one that changes nothing but the direction: what we want from now on."""
        offered = self._first_offer() if self._local is None else self._local
        self._offered = self._versioned(replace(offered, direction=direction))
        return audio_sdp.build(self._offered)

    def accept(self, answered: str) -> Agreed:
        """Take the answer to our last offer. Another may follow (183, then 200; forks): the last one holds."""
        if self._offered is None:
            raise LocalProtocolError("an SDP answer without an offer of ours")
        theirs = audio_sdp.parse(answered)
        agreed = self._as_before(as_offerer(self._offered, theirs))
        self._check_srtp(agreed)
        self._hold(self._offered, agreed)
        return agreed

    def answer(self, offered: str, direction: str = "sendrecv") -> tuple[str, Agreed]:
        """Answer an offer of the peer, the first one or a re-offer; return our answer and what holds from now on."""
        theirs = audio_sdp.parse(offered)
        answered = answer(self._current_first(theirs), self._answerer(direction))
        answered = replace(answered, rtcp_port=None if answered.rtcp_mux else self._ours.port)
        agreed = self._as_before(as_answerer(theirs, answered))
        self._check_srtp(agreed)
        answered = self._versioned(answered)
        self._offered = None
        self._hold(answered, agreed)
        return audio_sdp.build(answered), agreed

    def withdraw(self) -> None:
        """Forget our last offer, which was refused: what held before it holds on (RFC 3261 14.1)."""
        self._offered = None

    # --- what we write ---------------------------------------------------------------------------------------------

    def _first_offer(self) -> AudioSdp:
        ours = self._ours
        suites = () if ours.srtp == SRTP_OFF else ours.suites
        return AudioSdp(
            host=ours.host,
            port=ours.port,
            formats=(*ours.formats, *self._extra_formats()),
            profile=audio_sdp.SECURE if ours.srtp == SRTP_REQUIRED else audio_sdp.PLAIN,
            crypto=tuple(sdes.Crypto(tag, suite, ours.new_material(suite)) for tag, suite in enumerate(suites, 1)),
            ptime_ms=PACKET_MS,
            rtcp_mux=ours.rtcp_mux,
            # Who does not mux is told the one port that we listen at.
            rtcp_port=ours.port,
            ssrc=ours.ssrc,
            cname=ours.cname,
            session_id=ours.session_id,
        )

    def _extra_formats(self) -> list[Format]:
        rates = dict.fromkeys(f.clock_rate for f in self._ours.formats)
        found = []
        if self._ours.events:
            found += [Format(_EVENT_TYPES[r], dtmf.NAME, r, 1, dtmf.DIGIT_EVENTS) for r in rates if r in _EVENT_TYPES]
        if self._ours.comfort_noise and COMFORT_NOISE.clock_rate in rates:
            found.append(COMFORT_NOISE)
        return found

    def _answerer(self, direction: str) -> Answerer:
        ours = self._ours
        return Answerer(
            host=ours.host,
            port=ours.port,
            formats=ours.formats,
            suites=() if ours.srtp == SRTP_OFF else ours.suites,
            new_material=self._material,
            ssrc=ours.ssrc,
            cname=ours.cname,
            session_id=ours.session_id,
            events=ours.events,
            comfort_noise=ours.comfort_noise,
            rtcp_mux=ours.rtcp_mux,
            direction=direction,
        )

    def _material(self, suite: sdes.Suite) -> bytes:
        """Return the key that we send with, kept as long as its suite is (RFC 4568 7.1.4), or a fresh one."""
        before = None if self.agreed is None else self.agreed.outgoing
        return before.material if before is not None and before.suite == suite else self._ours.new_material(suite)

    def _current_first(self, offered: AudioSdp) -> AudioSdp:
        """Prefer what is spoken already: a peer that holds lists all its codecs again, in its own order."""
        if self.agreed is None:
            return offered
        now, incoming = self.agreed.form, self.agreed.incoming
        formats = sorted(offered.formats, key=lambda f: not f.is_same_codec(now))
        crypto = sorted(offered.crypto, key=lambda c: incoming is None or c.suite != incoming.suite)
        return replace(offered, formats=tuple(formats), crypto=tuple(crypto))

    def _versioned(self, sdp: AudioSdp) -> AudioSdp:
        last = self._last_sent
        if last is None:
            sent = replace(sdp, session_version=self._ours.session_id)
        else:
            sent = replace(sdp, session_version=last.session_version)
            if sent != last:
                sent = replace(sent, session_version=(last.session_version or 0) + 1)
        self._last_sent = sent
        return sent

    # --- what holds ------------------------------------------------------------------------------------------------

    def _as_before(self, agreed: Agreed) -> Agreed:
        """Keep the address of before where the peer holds by giving none (RFC 3264 8.4)."""
        if self.agreed is None or not is_unspecified(agreed.host):
            return agreed
        return replace(agreed, host=self.agreed.host, port=self.agreed.port, rtcp=self.agreed.rtcp)

    def _check_srtp(self, agreed: Agreed) -> None:
        if self._ours.srtp == SRTP_REQUIRED and agreed.outgoing is None:
            raise RemoteProtocolError("the peer speaks plain RTP; required here: SRTP (a=crypto)")

    def _hold(self, sent: AudioSdp, agreed: Agreed) -> None:
        """Note what holds, and our description narrowed to it: the base of our next offer."""
        codec = next(f for f in sent.formats if f.payload_type == agreed.heard_payload_type)
        events = events_beside(codec, sent.formats) if agreed.events_in is not None else None
        noise = [f for f in sent.formats if f.is_same_codec(COMFORT_NOISE) and f.clock_rate == codec.clock_rate]
        self.agreed = agreed
        self._local = replace(
            sent,
            formats=(codec, *([events] if events is not None else []), *noise),
            crypto=() if agreed.outgoing is None else (agreed.outgoing,),
        )
