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
    # One packet of digital silence, whatever was sent before it.
    silence: bytes
    # By how many samples decoded audio trails what was encoded: a sample is on the wire only with the packet that this
    # much later a sample belongs to.
    delay: int = 0

    @property
    def ticks_per_packet(self) -> int:
        """What a packet adds to the RTP timestamp."""
        return self.clock_rate * PACKET_MS // 1000

    @property
    def packet_samples(self) -> int:
        """Samples of one packet."""
        return self.sample_rate * PACKET_MS // 1000


# 312: libopus's look-ahead at 48 kHz in every mode but restricted low delay (RFC 7845 calls it pre-skip).
OPUS = Codec("opus", 0, 111, 48_000, 48_000, b"\xf8\xff\xfe", delay=312)
PCMU = Codec("PCMU", 1, 0, 8_000, 8_000, b"\xff" * 160)
PCMA = Codec("PCMA", 2, 8, 8_000, 8_000, b"\xd5" * 160)
# 22: the two 24-tap band filters. Code 0xFD moves no predictor: a fresh decoder gives zeros, any other one less than
# -60 dBFS from the second packet on.
G722 = Codec("G722", 3, 9, 8_000, 16_000, b"\xfd" * 160, delay=22)
CODECS = (OPUS, PCMU, PCMA, G722)
# 16-bit linear PCM, little-endian, as media streams carry it; not of RTP, where it is big-endian (RFC 3551 4.5.11).
L16_8K = Codec("L16/8000", 4, -1, 8_000, 8_000, b"\0" * 320)
L16_16K = Codec("L16/16000", 5, -1, 16_000, 16_000, b"\0" * 640)


def codec_named(name: str) -> Codec:
    """Return the codec called `name`, whatever its case; raises ScenarioError with the legal names."""
    for codec in CODECS:
        if codec.name.lower() == name.lower():
            return codec
    raise ScenarioError(f"codec '{name}' is unknown; legal: {', '.join(c.name for c in CODECS)}")
