"""Media through a TURN server: ChannelData (RFC 8656 12.4) on its way out and in, for the calls that have a channel.

    out, to the server            channel  length  packet
    in, from the server           channel  length  packet
    in, from a bridge of ours     channel + STAMPED_OFFSET  length  arrival (monotonic ns)  packet

A bridge (media/peer/relay_stream.py) reads what came over TCP or TLS; the kernel stamped it there, so it says when.
"""

from typing import Any

import numpy as np

from harness.media.hot import native
from harness.media.hot.big_endian import get16, get32, put16
from harness.media.hot.jit import compiled

HEADER_BYTES = 4
STAMPED_HEADER_BYTES = 12
# Of a bridge's frames; RFC 8656 12 reserves the numbers that this gives.
STAMPED_OFFSET = 0x1000


@compiled
def wrap(data: Any, address: int, channel: int, length: int) -> int:
    """Put the channel's header before the `length` bytes at `address`, those of `data`; return the new length."""
    native.memcpy(address + HEADER_BYTES, address, length)
    put16(data, 0, abs(channel))
    put16(data, 2, length)
    return length + HEADER_BYTES


@compiled
def media_start(channel: int, data: Any, length: int) -> int:
    """Return where the media begins that came through a call's channel, 0 when it is none.

    `channel` is the call's: negative where a bridge says when things came.
    """
    if length <= HEADER_BYTES:
        return 0
    number, start = np.int64(get16(data, 0)), HEADER_BYTES
    if channel < 0:
        number, start = number - STAMPED_OFFSET, STAMPED_HEADER_BYTES
    if number != abs(channel) or start + media_length(data) > length or media_length(data) == 0:
        return 0
    # RFC 7983: RTP and RTCP; handshakes and checks go up as they are.
    return start if 128 <= data[start] <= 191 else 0


@compiled
def stamp_of(data: Any) -> int:
    """Return when a bridge's frame came, monotonic ns."""
    return int(np.int64((get32(data, 4) << 32) | get32(data, 8)))


@compiled
def media_length(data: Any) -> int:
    """Return how many bytes of media a frame says it carries."""
    # Bytes are unsigned to numba, and what mixes with signed numbers becomes a float.
    return int(np.int64(get16(data, 2)))
