"""A background that is written while it is sent: a ring of packets that the media loop sends in a call's silence.

The loop goes round it, a packet a tick, and reads each packet's address and length as its tick comes; Python writes
ahead of it (NOT_BEFORE packets at least), the bytes before the length, and makes silence of what has been sent.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.media.clips import Clip
from harness.media.codecs import Codec

# 5.1 s of packets.
PACKETS = 256
# The longest Opus packet of 20 ms (RFC 6716 3.4).
MOST_BYTES = 1275
# What is written may be sent so many ticks later at the earliest: the loop may be about to read what is nearer.
NOT_BEFORE = 2


@dataclass(frozen=True, slots=True)
class BackgroundLine:
    """The ring: `clip` is what the loop knows it by; `addresses` are its rows of (address, length)."""

    clip: Clip
    addresses: npt.NDArray[np.int64]
    memory: npt.NDArray[np.uint8]

    def put(self, place: int, payload: bytes) -> bool:
        """Have a payload sent at a place, any number of times round; False where it is too long."""
        if len(payload) > MOST_BYTES:
            return False
        at = place % PACKETS
        self.memory[at, : len(payload)] = np.frombuffer(payload, np.uint8)
        self.addresses[at, 1] = len(payload)
        return True

    def silence(self, place: int, codec: Codec) -> None:
        """Have silence sent at a place."""
        self.put(place, codec.silence)

    def clear(self, codec: Codec) -> None:
        """Have silence sent everywhere."""
        for place in range(PACKETS):
            self.silence(place, codec)


def memory_of_a_line() -> npt.NDArray[np.uint8]:
    """Return the bytes of a ring, shape (PACKETS, MOST_BYTES)."""
    return np.zeros((PACKETS, MOST_BYTES), np.uint8)
