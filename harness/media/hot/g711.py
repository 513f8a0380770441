"""G.711's codes as linear PCM, and their squares (ITU-T G.711, tables 1a to 2b)."""

import numpy as np
import numpy.typing as npt

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
# Code to the square of its sample, shape (256,): what a level is made of, without decoding.
ULAW_SQUARES: npt.NDArray[np.int64] = ULAW.astype(np.int64) ** 2
ALAW_SQUARES: npt.NDArray[np.int64] = ALAW.astype(np.int64) ** 2
