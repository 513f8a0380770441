"""The audio codecs a call can speak: names, RTP numbers (RFC 3551, RFC 7587) and what silence looks like in each."""

from dataclasses import dataclass

from harness.model.errors import ScenarioError

PACKET_MS = 20


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec, 20 ms packets, mono as far as we are concerned."""

    # As SDP writes it.
    name: str
    # What rows of the media loop call it; also the index of CODECS.
    index: int
    # Static payload type, or the one we offer for a dynamic one.
    payload_type: int
    # RTP clock in Hz; G.722's is 8000 by a famous error (RFC 3551 4.5.2).
    clock_rate: int
    # Rate in Hz at which clips are encoded and agent audio is decoded.
    sample_rate: int
    # One packet of digital silence.
    silence: bytes

    @property
    def ticks_per_packet(self) -> int:
        """What a packet adds to the RTP timestamp."""
        return self.clock_rate * PACKET_MS // 1000


OPUS = Codec("opus", 0, 111, 48_000, 48_000, b"\xf8\xff\xfe")
PCMU = Codec("PCMU", 1, 0, 8_000, 8_000, b"\xff" * 160)
PCMA = Codec("PCMA", 2, 8, 8_000, 8_000, b"\xd5" * 160)
CODECS = (OPUS, PCMU, PCMA)


def codec_named(name: str) -> Codec:
    """Return the codec called `name`, whatever its case; raises ScenarioError with the legal names."""
    for codec in CODECS:
        if codec.name.lower() == name.lower():
            return codec
    raise ScenarioError(f"codec '{name}' is unknown; legal: {', '.join(c.name for c in CODECS)}")
