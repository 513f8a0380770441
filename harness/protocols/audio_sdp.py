"""SDP for one audio stream (RFC 8866), written and read; offer_answer.py has what two of them agree on.

Formats are those of RFC 3551, keys SDES (RFC 4568), announced SSRCs RFC 5576, RTP and RTCP on one port RFC 5761 or
on two (a=rtcp, RFC 3605).

Read widely: any line end, unknown lines, other media, attributes in any order. Written narrowly: CRLF, the lines in
the RFC's order, every format with its rtpmap. Errors name the line and never hold a key.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols import sdes

MEDIA_TYPE = "application/sdp"
PLAIN, SECURE = "RTP/AVP", "RTP/SAVP"
# With RTCP feedback (RFC 4585, RFC 5124): the same to us, who send none.
_PROFILES = (PLAIN, SECURE, "RTP/AVPF", "RTP/SAVPF")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_MAX_BYTES = 65_536
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_SESSION_ID = re.compile(r"[0-9]{1,20}")
_HOST = re.compile(r"[0-9A-Za-z.:_-]{1,255}")


@dataclass(frozen=True, slots=True)
class Format:
    """One RTP payload type and what it stands for."""

    payload_type: int
    # As SDP writes it; case does not matter.
    name: str
    clock_rate: int
    channels: int = 1
    # The value of its a=fmtp line.
    parameters: str = ""

    def is_same_codec(self, other: "Format") -> bool:
        """Tell whether both stand for the same encoding; Opus is one whatever channels are written (RFC 7587 4.1)."""
        name = self.name.lower()
        is_alike = (name, self.clock_rate) == (other.name.lower(), other.clock_rate)
        return is_alike and (self.channels == other.channels or name == "opus")


# RFC 3389.
COMFORT_NOISE = Format(13, "CN", 8000)
# Payload types that need no rtpmap line (RFC 3551, table 4).
STATIC_FORMATS = {
    f.payload_type: f
    for f in (Format(0, "PCMU", 8000), Format(8, "PCMA", 8000), Format(9, "G722", 8000), COMFORT_NOISE)
}


@dataclass(frozen=True, slots=True)
class AudioSdp:
    """A session description, as far as its first audio stream goes."""

    # Where its writer wants the audio.
    host: str
    # 0 = the audio is refused.
    port: int
    # The preferred one first.
    formats: tuple[Format, ...]
    profile: str = PLAIN
    crypto: tuple[sdes.Crypto, ...] = ()
    direction: str = "sendrecv"
    ptime_ms: int | None = None
    longest_packet_ms: int | None = None
    rtcp_mux: bool = False
    # Where its writer wants RTCP, where it says so; without a host, at `host`.
    rtcp_port: int | None = None
    rtcp_host: str = ""
    # The SSRC its writer will send with, where it says so.
    ssrc: int | None = None
    cname: str = ""
    session_id: int = 0
    # Grows with every change within a dialog; None = as the session's number.
    session_version: int | None = None
    # The m= lines before and after the audio, which an answer must repeat with port 0.
    media_before: tuple[str, ...] = ()
    media_after: tuple[str, ...] = ()
    # Why crypto lines were passed over.
    unusable_crypto: tuple[str, ...] = ()

    @property
    def is_secure(self) -> bool:
        """Tell whether the profile demands SRTP."""
        return "/SAVP" in self.profile


# --- writing -------------------------------------------------------------------------------------------------------


def build(sdp: AudioSdp) -> str:
    """Write a session description; LocalProtocolError when it would be none."""
    _check_ours(sdp)
    family = _family(sdp.host)
    version = sdp.session_id if sdp.session_version is None else sdp.session_version
    lines = ["v=0", f"o=- {sdp.session_id} {version} IN {family} {sdp.host}", "s=-"]
    lines += [f"c=IN {family} {sdp.host}", "t=0 0"]
    lines += [_refused(media) for media in sdp.media_before]
    lines.append(f"m=audio {sdp.port} {sdp.profile} {' '.join(str(f.payload_type) for f in sdp.formats)}")
    lines += [line for f in sdp.formats for line in _format_lines(f)]
    if sdp.ptime_ms is not None:
        lines.append(f"a=ptime:{sdp.ptime_ms}")
    lines += [f"a=crypto:{sdes.build(crypto)}" for crypto in sdp.crypto]
    if sdp.rtcp_port is not None:
        where = f" IN {_family(sdp.rtcp_host)} {sdp.rtcp_host}" if sdp.rtcp_host else ""
        lines.append(f"a=rtcp:{sdp.rtcp_port}{where}")
    if sdp.rtcp_mux:
        lines.append("a=rtcp-mux")
    if sdp.ssrc is not None:
        lines.append(f"a=ssrc:{sdp.ssrc} cname:{sdp.cname or '-'}")
    lines.append(f"a={sdp.direction}")
    lines += [_refused(media) for media in sdp.media_after]
    return "".join(f"{line}\r\n" for line in lines)


def _family(host: str) -> str:
    return "IP6" if ":" in host else "IP4"


def _format_lines(form: Format) -> list[str]:
    channels = f"/{form.channels}" if form.channels != 1 else ""
    lines = [f"a=rtpmap:{form.payload_type} {form.name}/{form.clock_rate}{channels}"]
    return [*lines, f"a=fmtp:{form.payload_type} {form.parameters}"] if form.parameters else lines


def _refused(media: str) -> str:
    kind, _port, *rest = media.split()
    return f"m={kind} 0 {' '.join(rest)}"


def _check_ours(sdp: AudioSdp) -> None:
    for host in (sdp.host, sdp.rtcp_host or sdp.host):
        if not _HOST.fullmatch(host):
            raise LocalProtocolError(f"{host!r} is no address to put into SDP")
    if not all(0 <= port <= 65_535 for port in (sdp.port, sdp.rtcp_port or 0)) or not sdp.formats:
        raise LocalProtocolError(f"SDP needs a port of 0 to 65535 and a format, got {sdp.port}, {sdp.formats}")
    if sdp.profile not in _PROFILES or sdp.direction not in DIRECTIONS:
        raise LocalProtocolError(f"SDP of profile {sdp.profile!r}, direction {sdp.direction!r}")
    if any(not 0 <= f.payload_type <= 127 or not _TOKEN.fullmatch(f.name) for f in sdp.formats):
        raise LocalProtocolError(f"payload types run from 0 to 127 and names are tokens, got {sdp.formats}")
    if any(c in text for text in (sdp.cname, *(f.parameters for f in sdp.formats)) for c in "\r\n\0"):
        raise LocalProtocolError("SDP text holds a line end")


# --- reading -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Stream:
    """What was read of the audio stream so far; host and direction may come from the session's lines."""

    host: str = ""
    direction: str = "sendrecv"
    rtpmap: dict[int, Format] = field(default_factory=dict)
    fmtp: dict[int, str] = field(default_factory=dict)
    crypto: list[sdes.Crypto] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    ptime_ms: int | None = None
    longest_packet_ms: int | None = None
    rtcp_mux: bool = False
    rtcp_port: int | None = None
    rtcp_host: str = ""
    ssrc: int | None = None
    cname: str = ""


@dataclass(slots=True)
class _Draft:
    """What was read so far."""

    media: list[str] = field(default_factory=list)
    # Index in `media` of the audio stream; -1 = not met yet.
    audio: int = -1
    session: _Stream = field(default_factory=_Stream)
    stream: _Stream = field(default_factory=_Stream)
    session_id: int = 0
    session_version: int | None = None

    def target(self) -> _Stream | None:
        """Return what a line at this place speaks of; None = another medium."""
        if not self.media:
            return self.session
        return self.stream if self.audio == len(self.media) - 1 else None


def parse(text: str) -> AudioSdp:
    """Read a session description with an audio stream; RemoteProtocolError names the line that is wrong."""
    if len(text) > _MAX_BYTES:
        raise RemoteProtocolError(f"SDP of {len(text)} characters; legal: at most {_MAX_BYTES}")
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    if not any(line == "v=0" for line in lines):
        raise RemoteProtocolError("no SDP: the line v=0 is missing")
    draft = _Draft()
    for number, line in enumerate(lines, 1):
        try:
            _read_line(draft, line)
        except RemoteProtocolError as error:
            raise type(error)(f"SDP line {number}: {error}") from error
    if draft.audio < 0:
        found = ", ".join(media.split()[0] for media in draft.media) or "none"
        raise RemoteProtocolError(f"SDP without an audio stream; its media: {found}")
    return _finish(draft)


def _read_line(draft: _Draft, line: str) -> None:
    if not line:
        return
    kind, equals, value = line.partition("=")
    if equals != "=" or len(kind) != 1:
        raise RemoteProtocolError(f"{line[:40]!r} is not of the form letter=value")
    target = draft.target()
    if kind == "m":
        _read_media(draft, value)
    elif kind == "o" and not draft.media:
        _read_origin(draft, value.split())
    elif kind == "c" and target is not None:
        _read_connection(target, value)
    elif kind == "a" and target is not None:
        name, _colon, content = value.partition(":")
        name = name.strip().lower()
        if name in DIRECTIONS:
            target.direction = name
        elif name in _READERS:
            _READERS[name](target, content.strip())


def _read_origin(draft: _Draft, words: Sequence[str]) -> None:
    numbers = [int(word) for word in words[1:3] if _SESSION_ID.fullmatch(word)]
    if len(numbers) == 2:
        draft.session_id, draft.session_version = numbers


def _read_media(draft: _Draft, value: str) -> None:
    words = value.split()
    if len(words) < 4:
        raise RemoteProtocolError(f"m={value[:40]} needs a medium, a port, a profile and formats")
    _whole("m= port", words[1].partition("/")[0], 65_535)
    draft.media.append(value)
    # The first one that is not refused, or else the first one.
    is_better = draft.audio < 0 or draft.media[draft.audio].split()[1] == "0"
    if words[0].lower() == "audio" and is_better:
        draft.audio = len(draft.media) - 1
        draft.stream = _Stream(host=draft.session.host, direction=draft.session.direction)


def _read_connection(stream: _Stream, value: str) -> None:
    stream.host = _address("c=", value)


def _address(what: str, value: str) -> str:
    words = value.split()
    if len(words) != 3 or words[0].upper() != "IN" or words[1].upper() not in ("IP4", "IP6"):
        raise RemoteProtocolError(f"{what}{value[:40]}; legal: {what}IN IP4 ADDRESS or {what}IN IP6 ADDRESS")
    host = words[2].partition("/")[0]
    if not _HOST.fullmatch(host):
        raise RemoteProtocolError(f"{what}{value[:40]}: no address")
    return host


def _read_rtpmap(stream: _Stream, content: str) -> None:
    number, _space, encoding = content.partition(" ")
    payload_type = _whole("a=rtpmap payload type", number, 127)
    name, *rates = encoding.strip().split("/")
    if not _TOKEN.fullmatch(name) or not 1 <= len(rates) <= 2:
        raise RemoteProtocolError(f"a=rtpmap:{content[:40]}; legal: a=rtpmap:NUMBER NAME/CLOCK or NAME/CLOCK/CHANNELS")
    clock_rate = _whole("a=rtpmap clock", rates[0], 1_000_000)
    channels = _whole("a=rtpmap channels", rates[1], 255) if len(rates) > 1 else 1
    stream.rtpmap[payload_type] = Format(payload_type, name, clock_rate, channels)


def _read_fmtp(stream: _Stream, content: str) -> None:
    number, _space, parameters = content.partition(" ")
    stream.fmtp[_whole("a=fmtp payload type", number, 127)] = parameters.strip()


def _read_crypto(stream: _Stream, content: str) -> None:
    try:
        stream.crypto.append(sdes.parse(content))
    except sdes.UnusableCrypto as error:
        stream.unusable.append(str(error))


def _read_ptime(stream: _Stream, content: str) -> None:
    stream.ptime_ms = _milliseconds("a=ptime", content)


def _read_maxptime(stream: _Stream, content: str) -> None:
    stream.longest_packet_ms = _milliseconds("a=maxptime", content)


def _read_rtcp_mux(stream: _Stream, _content: str) -> None:
    stream.rtcp_mux = True


def _read_rtcp(stream: _Stream, content: str) -> None:
    number, _space, address = content.partition(" ")
    stream.rtcp_port = _whole("a=rtcp", number, 65_535)
    stream.rtcp_host = _address(f"a=rtcp:{number} ", address) if address.strip() else ""


def _read_ssrc(stream: _Stream, content: str) -> None:
    number, _space, attribute = content.partition(" ")
    ssrc = _whole("a=ssrc", number, 2**32 - 1)
    if stream.ssrc is None:
        stream.ssrc = ssrc
    key, _colon, value = attribute.partition(":")
    if stream.ssrc == ssrc and key.strip().lower() == "cname":
        stream.cname = value.strip()


_READERS: dict[str, Callable[[_Stream, str], None]] = {
    "rtpmap": _read_rtpmap,
    "fmtp": _read_fmtp,
    "crypto": _read_crypto,
    "ptime": _read_ptime,
    "maxptime": _read_maxptime,
    "rtcp": _read_rtcp,
    "rtcp-mux": _read_rtcp_mux,
    "ssrc": _read_ssrc,
}


def _whole(what: str, text: str, largest: int) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= largest):
        raise RemoteProtocolError(f"{what} {text[:20]!r}; legal: 0 to {largest}")
    return int(text)


def _milliseconds(what: str, text: str) -> int:
    # Some write 20.0.
    return _whole(what, text.partition(".")[0], 10_000)


def _finish(draft: _Draft) -> AudioSdp:
    words = draft.media[draft.audio].split()
    profile = words[2].upper()
    if profile not in _PROFILES:
        raise RemoteProtocolError(f"audio of profile {words[2][:40]!r}; known: {', '.join(_PROFILES)}")
    stream = draft.stream
    port = int(words[1].partition("/")[0])
    if port and not stream.host:
        raise RemoteProtocolError("SDP without an address: neither the session nor the audio has a c= line")
    return AudioSdp(
        host=stream.host,
        port=port,
        formats=tuple(_formats(stream, words[3:])),
        profile=profile,
        crypto=tuple(stream.crypto),
        direction=stream.direction,
        ptime_ms=stream.ptime_ms,
        longest_packet_ms=stream.longest_packet_ms,
        rtcp_mux=stream.rtcp_mux,
        rtcp_port=stream.rtcp_port,
        rtcp_host=stream.rtcp_host,
        ssrc=stream.ssrc,
        cname=stream.cname,
        session_id=draft.session_id,
        session_version=draft.session_version,
        media_before=tuple(draft.media[: draft.audio]),
        media_after=tuple(draft.media[draft.audio + 1 :]),
        unusable_crypto=tuple(stream.unusable),
    )


def _formats(stream: _Stream, numbers: Sequence[str]) -> list[Format]:
    """Return what the payload types stand for, those that nobody explained left out."""
    found = []
    for number in numbers:
        payload_type = _whole("m= format", number, 127)
        form = stream.rtpmap.get(payload_type) or STATIC_FORMATS.get(payload_type)
        if form is not None:
            found.append(replace(form, parameters=stream.fmtp.get(payload_type, "")))
    return found
