"""Our codecs as SDP writes them."""

from collections.abc import Sequence

from harness.media.codecs import OPUS, Codec
from harness.model.errors import RemoteProtocolError
from harness.protocols.webrtc_sdp import RtpMap, Section


def rtp_map(codec: Codec, payload_type: int | None = None) -> RtpMap:
    """Return the payload type line of `codec`; RFC 7587 7: Opus is always announced as stereo."""
    number = codec.payload_type if payload_type is None else payload_type
    return RtpMap(number, codec.name, codec.clock_rate, 2 if codec is OPUS else 1)


def chosen_codec(section: Section, codecs: Sequence[Codec]) -> tuple[Codec, int]:
    """Return the first codec of `section` that is one of `codecs`, and the payload type it has there."""
    for offered in section.rtpmaps:
        for codec in codecs:
            if offered.name.lower() == codec.name.lower() and offered.clock_rate == codec.clock_rate:
                return codec, offered.payload_type
    legal = ", ".join(rtp_map(c).encoding for c in codecs)
    raise RemoteProtocolError(f"its audio shares no codec with ours (legal: {legal})")
