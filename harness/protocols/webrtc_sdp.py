"""Session descriptions of a WebRTC voice call (RFC 8866, RFC 8829): one audio section, perhaps a data channel.

Everything is bundled on the transport of the audio section; the rest of an offer is refused.
"""

import ipaddress
from dataclasses import dataclass, field
from functools import lru_cache

from harness.model.errors import RemoteProtocolError

Address = tuple[str, int]

_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_MOST_LINES = 2000


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ICE candidate (RFC 8839)."""

    host: str
    port: int
    priority: int
    # host, srflx, prflx or relay.
    type: str = "host"
    foundation: str = "1"
    component: int = 1
    transport: str = "udp"
    # raddr and rport of ours that are not of type host; not read of the peer's, which nothing needs.
    related: tuple[str, int] | None = None

    def line(self) -> str:
        """Return its attribute, without "a="."""
        return (
            f"candidate:{self.foundation} {self.component} {self.transport} {self.priority} "
            f"{self.host} {self.port} typ {self.type}"
            + ("" if self.related is None else f" raddr {self.related[0]} rport {self.related[1]}")
        )


@dataclass(frozen=True, slots=True)
class RtpMap:
    """One payload type."""

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 1

    @property
    def encoding(self) -> str:
        """As a=rtpmap writes it."""
        return f"{self.name}/{self.clock_rate}" + (f"/{self.channels}" if self.channels > 1 else "")


# RFC 3551 table 4, as far as a voice call uses it: these need no a=rtpmap.
STATIC = {0: RtpMap(0, "PCMU", 8000), 8: RtpMap(8, "PCMA", 8000), 9: RtpMap(9, "G722", 8000)}


@dataclass(frozen=True, slots=True)
class Transport:
    """What ICE and DTLS need of one side."""

    ufrag: str
    password: str
    # (algorithm in lower case, hex in upper case with colons).
    fingerprints: tuple[tuple[str, str], ...]
    # active, passive, actpass.
    setup: str
    candidates: tuple[Candidate, ...] = ()
    is_lite: bool = False
    # False: more candidates follow (RFC 8840).
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Section:
    """One m= section; `formats` is what stands behind its protocol."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    mid: str
    direction: str
    rtpmaps: tuple[RtpMap, ...] = ()
    ssrc: int | None = None
    sctp_port: int | None = None
    transport: Transport | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """A whole offer or answer."""

    sections: tuple[Section, ...]
    bundled: tuple[str, ...]

    @property
    def audio(self) -> Section:
        """The first audio section; raises RemoteProtocolError when there is none that can be used."""
        found = next((s for s in self.sections if s.kind == "audio"), None)
        if found is None:
            raise RemoteProtocolError("it has no m=audio section")
        if found.port == 0:
            raise RemoteProtocolError("it refuses audio (m=audio 0)")
        if found.transport is None:
            raise RemoteProtocolError("its audio has no a=ice-ufrag, a=ice-pwd or a=fingerprint")
        return found

    @property
    def data(self) -> Section | None:
        """The data channel section bundled with the audio, None when there is none or it is refused."""
        found = next((s for s in self.sections if s.kind == "application" and s.sctp_port is not None), None)
        return found if found is not None and found.port != 0 and found.mid in self.bundled else None


@dataclass(slots=True)
class _Draft:
    """Attributes of one section, or of the session, while they are being read."""

    values: dict[str, str] = field(default_factory=dict)
    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    rtpmaps: dict[int, RtpMap] = field(default_factory=dict)
    ssrc: int | None = None
    media: tuple[str, ...] = ()
    direction: str = ""


def parse(text: str) -> Description:
    """Return the description in `text`; raises RemoteProtocolError naming the line that cannot be read."""
    draft = session = _Draft()
    drafts: list[_Draft] = []
    lines = text.splitlines()
    if len(lines) > _MOST_LINES:
        raise RemoteProtocolError(f"it has {len(lines)} lines, more than {_MOST_LINES}")
    line = ""
    try:
        for line in lines:
            kind = line[:2]
            if kind == "a=":
                name, _, value = line[2:].partition(":")
                _READERS.get(name, _read_other)(draft, name, value)
            elif kind == "m=":
                draft = _Draft(media=tuple(line[2:].split()))
                drafts.append(draft)
    except (ValueError, IndexError) as error:
        raise RemoteProtocolError(f"line {line[:80]!r} cannot be read ({error})") from error
    group = session.values.get("group", "").split()
    return Description(
        tuple(_section(draft, session) for draft in drafts),
        tuple(group[1:]) if group[:1] == ["BUNDLE"] else (),
    )


def _read_other(draft: _Draft, name: str, value: str) -> None:
    draft.values.setdefault(name, value)


def _read_candidate(draft: _Draft, _name: str, value: str) -> None:
    draft.candidates.append(parse_candidate(value))


def _read_fingerprint(draft: _Draft, _name: str, value: str) -> None:
    algorithm, digest = value.split()
    draft.fingerprints.append((algorithm.lower(), digest.upper()))


def _read_rtpmap(draft: _Draft, _name: str, value: str) -> None:
    number, encoding = value.split(None, 1)
    parts = encoding.split("/")
    channels = int(parts[2]) if len(parts) > 2 else 1
    draft.rtpmaps[int(number)] = RtpMap(int(number), parts[0], int(parts[1]), channels)


def _read_ssrc(draft: _Draft, _name: str, value: str) -> None:
    if draft.ssrc is None:
        draft.ssrc = int(value.split(maxsplit=1)[0])


def _read_direction(draft: _Draft, name: str, _value: str) -> None:
    draft.direction = name


_READERS = {
    "candidate": _read_candidate,
    "fingerprint": _read_fingerprint,
    "rtpmap": _read_rtpmap,
    "ssrc": _read_ssrc,
    **dict.fromkeys(_DIRECTIONS, _read_direction),
}


def parse_candidate(value: str) -> Candidate:
    """Return the candidate in `value` ("foundation component transport ..."); raises ValueError."""
    parts = value.removeprefix("candidate:").split()
    if len(parts) < 8 or parts[6] != "typ":
        raise ValueError("a candidate is: foundation component transport priority address port typ type")
    host = parts[4] if parts[4].endswith(".local") else _canonical(parts[4])
    return Candidate(host, int(parts[5]), int(parts[3]), parts[7], parts[0], int(parts[1]), parts[2].lower())


@lru_cache(maxsize=1024)
def _canonical(host: str) -> str:
    """Arrivals are told apart by the text of their address: one spelling for each."""
    return str(ipaddress.ip_address(host))


def _section(draft: _Draft, session: _Draft) -> Section:
    port = _number(draft.media[1].partition("/")[0]) if len(draft.media) >= 3 else None
    if port is None:
        raise RemoteProtocolError(f"line {'m=' + ' '.join(draft.media)[:80]!r} cannot be read")
    kind, _port, protocol, *formats = draft.media
    return Section(
        kind=kind,
        port=port,
        protocol=protocol,
        formats=tuple(formats),
        mid=draft.values.get("mid", ""),
        direction=draft.direction or session.direction or "sendrecv",
        rtpmaps=_rtpmaps(draft, formats) if kind == "audio" else (),
        ssrc=draft.ssrc,
        sctp_port=_number(draft.values.get("sctp-port", "")),
        transport=_transport(draft, session),
    )


def _rtpmaps(draft: _Draft, formats: list[str]) -> tuple[RtpMap, ...]:
    numbers = [number for form in formats if (number := _number(form)) is not None]
    return tuple(m for m in (draft.rtpmaps.get(n) or STATIC.get(n) for n in numbers) if m is not None)


def _number(text: str) -> int | None:
    """Return a number of up to ten ASCII digits, None for anything else: int() takes more than SDP's numbers are."""
    return int(text) if len(text) <= 10 and text.isascii() and text.isdecimal() else None


def _transport(draft: _Draft, session: _Draft) -> Transport | None:
    values = {**session.values, **draft.values}
    fingerprints = draft.fingerprints or session.fingerprints
    if not values.get("ice-ufrag") or not values.get("ice-pwd") or not fingerprints:
        return None
    return Transport(
        values["ice-ufrag"],
        values["ice-pwd"],
        tuple(fingerprints),
        values.get("setup", ""),
        tuple(draft.candidates or session.candidates),
        is_lite="ice-lite" in session.values,
    )


# --- writing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OurAudio:
    """What we say of our audio."""

    rtpmaps: tuple[RtpMap, ...]
    ssrc: int
    cname: str


SCTP_PORT = 5000
MAX_MESSAGE_BYTES = 262_144


def build_offer(session_id: int, audio: OurAudio, transport: Transport, *, with_data: bool) -> str:
    """Return an offer of one audio section and, `with_data`, a data channel."""
    mids = ["0", "1"] if with_data else ["0"]
    lines = [*_head(session_id, mids, transport), *_audio(audio, transport, "0", "sendrecv")]
    if with_data:
        lines += _data(transport, "1")
    return _text(lines)


_OPPOSITE = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


def build_answer(session_id: int, offer: Description, audio: OurAudio, transport: Transport) -> str:
    """Return the answer to `offer`: its audio and its data channel taken, everything else refused."""
    taken, data = offer.audio, offer.data
    mids = [s.mid for s in (taken, data) if s is not None and s.mid]
    lines = _head(session_id, mids, transport)
    for section in offer.sections:
        if section is taken:
            lines += _audio(audio, transport, section.mid, _OPPOSITE[section.direction])
        elif section is data:
            lines += _data(transport, section.mid)
        else:
            lines += _refused(section)
    return _text(lines)


def _text(lines: list[str]) -> str:
    return "\r\n".join(lines) + "\r\n"


def _head(session_id: int, mids: list[str], transport: Transport) -> list[str]:
    lines = ["v=0", f"o=- {session_id} 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    if mids:
        lines.append("a=group:BUNDLE " + " ".join(mids))
    if transport.is_lite:
        lines.append("a=ice-lite")
    return [*lines, "a=msid-semantic:WMS *"]


def _audio(audio: OurAudio, transport: Transport, mid: str, direction: str) -> list[str]:
    formats = " ".join(str(m.payload_type) for m in audio.rtpmaps)
    return [
        *_media_lines("audio", f"UDP/TLS/RTP/SAVPF {formats}", transport),
        *([f"a=mid:{mid}"] if mid else []),
        f"a={direction}",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=rtcp-mux",
        *(f"a=rtpmap:{m.payload_type} {m.encoding}" for m in audio.rtpmaps),
        f"a=msid:{audio.cname} audio",
        f"a=ssrc:{audio.ssrc} cname:{audio.cname}",
        *_transport_lines(transport),
    ]


def _data(transport: Transport, mid: str) -> list[str]:
    return [
        *_media_lines("application", "UDP/DTLS/SCTP webrtc-datachannel", transport),
        f"a=mid:{mid}",
        f"a=sctp-port:{SCTP_PORT}",
        f"a=max-message-size:{MAX_MESSAGE_BYTES}",
        *_transport_lines(transport),
    ]


def _refused(section: Section) -> list[str]:
    formats = " ".join(section.formats) or "0"
    lines = [f"m={section.kind} 0 {section.protocol} {formats}", "c=IN IP4 0.0.0.0", "a=inactive"]
    return [*lines, *([f"a=mid:{section.mid}"] if section.mid else [])]


def _media_lines(kind: str, rest: str, transport: Transport) -> list[str]:
    """Return m= and c=; they name the default candidate (RFC 8829 5.2.1)."""
    host, port = (
        (transport.candidates[0].host, transport.candidates[0].port) if transport.candidates else ("0.0.0.0", 9)
    )
    family = "IP6" if ":" in host else "IP4"
    return [f"m={kind} {port} {rest}", f"c=IN {family} {host}"]


def _transport_lines(transport: Transport) -> list[str]:
    return [
        *(f"a={candidate.line()}" for candidate in transport.candidates),
        "a=end-of-candidates" if transport.is_complete else "a=ice-options:trickle",
        f"a=ice-ufrag:{transport.ufrag}",
        f"a=ice-pwd:{transport.password}",
        *(f"a=fingerprint:{algorithm} {digest}" for algorithm, digest in transport.fingerprints),
        f"a=setup:{transport.setup}",
    ]
