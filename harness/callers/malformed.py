"""SIP, SDP and RTP made wrong on purpose, each in one way that was seen in the wild or that a fuzzer would try first.

None of it is what the grammar allows (RFC 3261 25, RFC 8866 9, RFC 3550 5.1), so an agent must drop or refuse it, and
go on with everybody else. Pure; which way is drawn from the generator that is passed.
"""

import random
import re
import struct
from collections.abc import Callable

_HEAD_END = b"\r\n\r\n"
_LONG = 4_000


def malformed_sip(message: bytes, rng: random.Random) -> bytes:
    """Return a SIP message that is none any more."""
    broken = rng.choice(SIP_WAYS)(message, rng)
    # Not every message has what a way breaks.
    return _cut(message, rng) if broken == message else broken


def malformed_sdp(sdp: str) -> str:
    """Return a description that is none any more; the same text is broken in the same way."""
    return random.Random(sdp).choice(SDP_WAYS)(sdp)


def malformed_rtp(rng: random.Random, payload_type: int, ssrc: int) -> bytes:
    """Return a datagram that begins like RTP (RFC 7983) and is none."""
    head = struct.pack("!BBHII", 0x80, payload_type, rng.getrandbits(16), rng.getrandbits(32), ssrc)
    return rng.choice(RTP_WAYS)(head, rng)


# --- SIP -----------------------------------------------------------------------------------------------------------


def _cut(message: bytes, rng: random.Random) -> bytes:
    """End within the header."""
    end = max(2, message.find(_HEAD_END))
    return message[: rng.randrange(1, end)]


def _without_via(message: bytes, _rng: random.Random) -> bytes:
    return re.sub(rb"(?mi)^(?:Via|v)\s*:.*\r\n", b"", message)


def _other_version(message: bytes, _rng: random.Random) -> bytes:
    return message.replace(b"SIP/2.0", b"SIP/-9", 1)


def _long_body(message: bytes, _rng: random.Random) -> bytes:
    """Promise more bytes than come."""
    return re.sub(rb"(?mi)^(?:Content-Length|l)\s*:.*\r$", b"Content-Length: 99999\r", message)


def _no_sequence(message: bytes, _rng: random.Random) -> bytes:
    return re.sub(rb"(?mi)^CSeq\s*:.*\r$", b"CSeq: minus one\r", message)


def _binary(message: bytes, rng: random.Random) -> bytes:
    """Put bytes that are no text where the first header's name stands."""
    start = message.find(b"\r\n") + 2
    return message[:start] + bytes(rng.choice(b"\x00\x01\x7f\xff") for _ in range(40)) + message[start:]


def _endless(message: bytes, _rng: random.Random) -> bytes:
    """Have one line without an end, in place of the rest."""
    start = message.find(b"\r\n") + 2
    return message[:start] + b"A" * _LONG


SIP_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut, _without_via, _other_version, _long_body, _no_sequence, _binary, _endless,
)  # fmt: skip

# --- SDP -----------------------------------------------------------------------------------------------------------


def _half(sdp: str) -> str:
    return sdp[: sdp.find("m=") // 2]


def _no_media(sdp: str) -> str:
    return sdp.replace("m=", "x=")


def _one_line(sdp: str) -> str:
    """Have no line ends, as where somebody unpacked a string once too seldom."""
    return sdp.replace("\r\n", " ")


def _no_types(sdp: str) -> str:
    """Have payload types that are no numbers."""
    without = re.sub(r"(?m)^(m=audio \S+ \S+) [^\r\n]*", r"\1 one two", sdp)
    return re.sub(r"(?m)^a=rtpmap:\d+", "a=rtpmap:one", without)


def _no_text(sdp: str) -> str:
    return "".join(chr(0x7F - ord(letter)) if letter.isalpha() else letter for letter in sdp)


SDP_WAYS: tuple[Callable[[str], str], ...] = (_half, _no_media, _one_line, _no_types, _no_text)

# --- RTP -----------------------------------------------------------------------------------------------------------


def _short(head: bytes, rng: random.Random) -> bytes:
    return head[: rng.randrange(1, 12)]


def _false_sources(head: bytes, _rng: random.Random) -> bytes:
    """Promise 15 contributing sources that do not come."""
    return bytes([head[0] | 15]) + head[1:] + b"\0" * 8


def _false_extension(head: bytes, _rng: random.Random) -> bytes:
    """Promise an extension longer than the packet."""
    return bytes([head[0] | 0x10]) + head[1:] + b"\xbe\xde\xff\xff" + b"\0" * 20


def _false_padding(head: bytes, _rng: random.Random) -> bytes:
    """Have more padding than packet."""
    return bytes([head[0] | 0x20]) + head[1:] + b"\0" * 20 + b"\xff"


def _noise(head: bytes, rng: random.Random) -> bytes:
    """Have the first bytes of a packet, of another source, and noise behind them."""
    return head[:8] + rng.randbytes(rng.randrange(4, 400))


def _false_report(head: bytes, rng: random.Random) -> bytes:
    """Have a receiver report that promises 31 blocks."""
    return b"\x9f\xc9\x00\x01" + head[8:12] + rng.randbytes(4)


RTP_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _short, _false_sources, _false_extension, _false_padding, _noise, _false_report,
)  # fmt: skip
