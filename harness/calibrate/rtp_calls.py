"""RTP calls to the responder: agreed on by SDP over HTTP, or placed to one fixed port without a word.

SDP    an address for each call, or one for all with announced SSRCs (--source-ports); SDES keys where they are offered
rtp:// one port for all: a call is an SSRC, answered under the same SSRC, and named by the CNAME of its RTCP
"""

import secrets
import struct
from collections.abc import Callable, Mapping

from harness.calibrate.desk import Desk, Line
from harness.media.codecs import CODECS, OPUS, Codec, codec_named
from harness.media.hot.rtcp import SDES
from harness.media.port import MediaPort
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.media.spec import Address
from harness.protocols import audio_sdp, sdes
from harness.protocols.audio_sdp import AudioSdp, Format
from harness.protocols.offer_answer import Answerer, answer

_SHARED_PORTS = 4
_OWN_BUFFER_BYTES = 1 << 18
_CODEC_OF_TYPE = {c.payload_type: c for c in CODECS}


def format_of(codec: Codec) -> Format:
    """Return the codec as SDP offers it."""
    # RFC 7587 4.1: Opus is always announced with two channels.
    return Format(codec.payload_type, codec.name, codec.clock_rate, 2 if codec is OPUS else 1)


class SignalledRtpCalls:
    """Answers SDP offers; every call has a port of its own, or all share a few and are told apart by SSRC."""

    def __init__(self, desk: Desk, *, source_ports: str) -> None:
        self._desk = desk
        self.shares_ports = source_ports == "shared"
        self._shared: dict[str, list[MediaPort]] = {}

    def answer(self, offer_sdp: str, call_id: str, address: str) -> tuple[str, str]:
        """Return the SDP answer and the call's name; raises RemoteProtocolError on an offer that cannot be answered."""
        offer = audio_sdp.parse(offer_sdp)
        call = self._desk.name(call_id or offer.cname)
        # Only who announces its SSRC can be told from the others on a shared port.
        is_shared = self.shares_ports and offer.ssrc is not None
        port = self.take_port(address, is_shared=is_shared)
        ssrc = secrets.randbits(32)
        try:
            answered = answer(
                offer,
                Answerer(
                    host=address,
                    port=port.address[1],
                    formats=[format_of(codec) for codec in CODECS],
                    suites=sdes.SUITES,
                    new_material=lambda suite: secrets.token_bytes(suite.material_bytes),
                    ssrc=ssrc,
                    cname="responder",
                    session_id=secrets.randbits(62),
                ),
            )
            self._desk.take(
                call,
                _line(offer, answered, port, ssrc, by_ssrc=is_shared),
                release=_nothing if is_shared else port.close,
            )
        except Exception:
            if not is_shared:
                port.close()
            raise
        return audio_sdp.build(answered), call

    def take_port(self, address: str, *, is_shared: bool) -> MediaPort:
        """Return a port on `address` that other calls use too, or one of the call's own, which it closes."""
        if is_shared:
            return self._port(address)
        return self._desk.media_loop.open_port(address, _ignore, buffer_bytes=_OWN_BUFFER_BYTES)

    def _port(self, address: str) -> MediaPort:
        ports = self._shared.setdefault(address, [])
        if len(ports) < _SHARED_PORTS:
            ports.append(self._desk.media_loop.open_port(address, _ignore))
            return ports[-1]
        return ports[secrets.randbelow(_SHARED_PORTS)]


def _line(offer: AudioSdp, answered: AudioSdp, port: MediaPort, ssrc: int, *, by_ssrc: bool) -> Line:
    form = answered.formats[0]
    ours = answered.crypto[0] if answered.crypto else None
    theirs = next((c for c in offer.crypto if ours is not None and c.tag == ours.tag), None)
    return Line(
        port=port,
        remote=(offer.host, offer.port),
        codec=codec_named(form.name),
        payload_type=form.payload_type,
        ssrc=ssrc,
        remote_ssrc=offer.ssrc,
        by_ssrc=by_ssrc,
        any_source=not by_ssrc,
        outgoing=None if ours is None else outgoing_session(ours),
        incoming=None if theirs is None else incoming_session(theirs),
    )


class StaticRtpCalls:
    """One port for callers that only send RTP to it; a call begins with its first RTCP, which names it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._port: MediaPort | None = None
        # Payload type of what was heard of an SSRC that is no call yet.
        self._heard: dict[int, int] = {}
        self._known: dict[int, str] = {}

    def open(self, host: str) -> Address:
        """Open the port; return its address."""
        self._port = self._desk.media_loop.open_port(host, self._arrived, tells_unknown=True)
        return self._port.address

    def _arrived(self, data: bytes, source: Address, _at_ns: int) -> None:
        """Take a datagram of nobody we know: RTP tells the codec of its SSRC, RTCP the name of the call."""
        if len(data) < 12 or not 128 <= data[0] <= 191:
            return
        if not 192 <= data[1] <= 223:
            self._heard[struct.unpack_from("!I", data, 8)[0]] = data[1] & 0x7F
            return
        for ssrc, name in cnames(data).items():
            payload_type = self._heard.get(ssrc)
            codec = None if payload_type is None else _CODEC_OF_TYPE.get(payload_type)
            if codec is not None and ssrc not in self._known:
                self._begin(ssrc, name, codec, source)

    def _begin(self, ssrc: int, name: str, codec: Codec, source: Address) -> None:
        if self._port is None:
            return
        call = self._desk.name(name)
        # What is sent back under its own SSRC a caller on a shared port knows for its own.
        line = Line(self._port, source, codec, codec.payload_type, ssrc, remote_ssrc=ssrc, by_ssrc=True)
        self._known[ssrc] = call
        self._desk.take(call, line, release=self._forget(ssrc))

    def _forget(self, ssrc: int) -> Callable[[], None]:
        def release() -> None:
            self._known.pop(ssrc, None)
            self._heard.pop(ssrc, None)

        return release


def cnames(data: bytes) -> Mapping[int, str]:
    """Return the CNAME of each SSRC in a compound RTCP packet (RFC 3550 6.5); {} where there is none."""
    found: dict[int, str] = {}
    at = 0
    while at + 8 <= len(data):
        kind, words = data[at + 1], struct.unpack_from("!H", data, at + 2)[0]
        end = at + 4 * (words + 1)
        # The first item of a chunk: CNAME is 1 (RFC 3550 6.5.1).
        if kind == SDES and end <= len(data) and end - at >= 10 and data[at + 8] == 1:
            name = data[at + 10 : min(end, at + 10 + data[at + 9])]
            found[struct.unpack_from("!I", data, at + 4)[0]] = name.decode("utf-8", errors="replace")
        at = end
    return found


def _ignore(_data: bytes, _source: Address, _at_ns: int) -> None:
    """Take nothing but the media of known calls."""


def _nothing() -> None:
    """Keep a port that other calls use."""
