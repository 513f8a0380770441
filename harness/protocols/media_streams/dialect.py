"""What a provider's row in the table of dialects.py says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from harness.protocols.media_streams.templates import Template

PACKET_MS = 20


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """An encoding of mono audio; `name` is harness/media/codecs.py's. 16-bit samples are little-endian."""

    name: str
    sample_rate: int
    sample_bytes: int

    @property
    def packet_bytes(self) -> int:
        """Bytes of 20 ms."""
        return self.sample_rate * PACKET_MS // 1000 * self.sample_bytes

    def duration_ns(self, size: int) -> int:
        """Return how long `size` bytes are heard."""
        return size // self.sample_bytes * 1_000_000_000 // self.sample_rate


PCMU = AudioFormat("PCMU", 8_000, 1)
PCMA = AudioFormat("PCMA", 8_000, 1)
L16_8K = AudioFormat("L16/8000", 8_000, 2)
L16_16K = AudioFormat("L16/16000", 16_000, 2)


class OnClear(Enum):
    """What becomes of marks that were not reached when the agent clears."""

    # Told as if they were played.
    PLAYED = auto()
    # Told as cleared.
    CLEARED = auto()
    # Never told.
    DROPPED = auto()


@dataclass(frozen=True)
class Dialect:
    """One provider: its messages both ways, and what it does with them."""

    name: str
    # What it can carry, the default first, and what it calls it.
    formats: Mapping[AudioFormat, str]
    # By the kind of message; a kind that is missing is not said in this dialect.
    to_agent: Mapping[type, Template]
    from_agent: Mapping[type, Template]
    on_clear: OnClear
    # Audio travels in binary messages, all else in text.
    is_binary: bool = False
    # WebSocket subprotocol to ask for.
    subprotocol: str | None = None
    # How much of the caller's audio goes into one message.
    packets_per_message: int = 1
    # The number of the first message that has one.
    first_sequence: int = 1
    # How its identifiers look: name of a Started field -> what stands before 32 hex digits, None = a UUID.
    id_prefixes: Mapping[str, str | None] = field(default_factory=dict)
