"""G.711 to linear PCM: one table look-up a sample (ITU-T G.711, tables 1a to 2b)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.media.hot.jit import compiled

_ULAW_BIAS = 132


def _ulaw_value(code: int) -> int:
    inverted = ~code & 0xFF
    magnitude = ((((inverted & 0x0F) << 3) + _ULAW_BIAS) << ((inverted >> 4) & 7)) - _ULAW_BIAS
    return -magnitude if inverted & 0x80 else magnitude


def _alaw_value(code: int) -> int:
    # Even bits are inverted on the line.
    toggled = code ^ 0x55
    segment = (toggled >> 4) & 7
    step = ((toggled & 0x0F) << 4) + 8
    magnitude = step if segment == 0 else (step + 256) << (segment - 1)
    return magnitude if toggled & 0x80 else -magnitude


# Code to int16, shape (256,).
ULAW: npt.NDArray[np.int16] = np.array([_ulaw_value(code) for code in range(256)], np.int16)
ALAW: npt.NDArray[np.int16] = np.array([_alaw_value(code) for code in range(256)], np.int16)


@compiled
def ulaw_decode(payload: Any, offset: int, length: int, out: Any) -> int:
    """Decode `length` bytes of mu-law from payload[offset] on into `out` (int16); return the samples, 8 kHz."""
    count = min(length, len(out))
    for i in range(count):
        out[i] = ULAW[payload[offset + i]]
    return count


@compiled
def alaw_decode(payload: Any, offset: int, length: int, out: Any) -> int:
    """Decode `length` bytes of A-law from payload[offset] on into `out` (int16); return the samples, 8 kHz."""
    count = min(length, len(out))
    for i in range(count):
        out[i] = ALAW[payload[offset + i]]
    return count
