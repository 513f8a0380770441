"""G.722 at 64 kbit/s to linear PCM at 16 kHz: two ADPCM bands and a synthesis filter (ITU-T G.722, sections 4 and 6).

A state of zeros is a decoder that has heard nothing, so rows need no set-up. Names in capitals are the blocks of the
Recommendation. Integers are exact: the output is that of the reference, bit for bit.
"""

from typing import Any

import numpy as np

from harness.media.hot.jit import compiled

# One band's row: scale factor in the log domain, prediction and its zero section, the pole section's coefficients,
# the last reconstructed signal, the last two partial ones, six quantised differences and six zero coefficients.
_SCALE, _PREDICTED, _ZERO_PART, _A1, _A2, _R1, _P1, _P2, _D, _B = 0, 1, 2, 3, 4, 5, 6, 7, 8, 14
_BAND_WORDS = 20
# The synthesis filter's delay line, kept twice so that any 24 neighbours of it are one stretch of memory.
_TAPS = 24

G722_STATE = np.dtype(
    [("low", "i8", (_BAND_WORDS,)), ("high", "i8", (_BAND_WORDS,)), ("line", "i8", (2 * _TAPS,)), ("position", "i8")]
)

# INVQBL, 6 bits: what the low band sounds like; INVQAL, its upper 4 bits: what the predictor adapts by.
_MAGNITUDES = np.fromstring(
    "24808 21904 19008 16704 14984 13512 12280 11192 10232 9360 8576 7856 7192 6576 6000 5456 4944 4464 4008 3576 3168 "
    "2776 2400 2032 1688 1360 1040 728",
    np.int64,
    sep=" ",
)
_LOW_6 = np.hstack([[-136] * 4, -_MAGNITUDES, _MAGNITUDES, [432, 136, -432, -136]])
_LOW_4 = np.array(
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0], np.int64
)
_HIGH_2 = np.array([-7408, -1616, 7408, 1616], np.int64)
# LOGSCL and LOGSCH: how a code moves the scale factor.
_LOW_STEP = np.array([-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60], np.int64)
_HIGH_STEP = np.array([798, -214, 798, -214], np.int64)
_LOW_LARGEST_SCALE, _HIGH_LARGEST_SCALE = 18432, 22528
_LOW_SHIFT, _HIGH_SHIFT = 8, 10
# SCALEL, SCALEH: 2048 * 2 ** (i / 32).
_ANTILOG = np.array([round(2048 * 2 ** (i / 32)) for i in range(32)], np.int64)
# Table 11: every second of the synthesis filter's 24 taps; the others are these in reverse.
_QMF = np.array([3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11], np.int64)


@compiled
def _limited(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


@compiled
def _saturated(value: int) -> int:
    return _limited(value, -32768, 32767)


@compiled
def _step_size(scale: int, shift: int) -> int:
    """Return the quantiser's step of a logarithmic scale factor (SCALEL, SCALEH)."""
    exponent = shift - (scale >> 11)
    mantissa = int(_ANTILOG[(scale >> 6) & 31])
    return (mantissa >> exponent if exponent >= 0 else mantissa << -exponent) << 2


@compiled
def _adapt_poles(band: Any, partial: int) -> None:
    """Move the two pole coefficients by the signs of the last partial signals (UPPOL1, UPPOL2)."""
    a1, a2 = int(band[_A1]), int(band[_A2])
    is_same_1 = (partial < 0) == (band[_P1] < 0)
    is_same_2 = (partial < 0) == (band[_P2] < 0)
    turned = -_saturated(4 * a1) if is_same_1 else _saturated(4 * a1)
    a2 = (min(turned, 32767) >> 7) + (128 if is_same_2 else -128) + ((a2 * 32512) >> 15)
    a2 = _limited(a2, -12288, 12288)
    a1 = _saturated((192 if is_same_1 else -192) + ((a1 * 32640) >> 15))
    most = _saturated(15360 - a2)
    band[_A1] = _limited(a1, -most, most)
    band[_A2] = a2


@compiled
def _adapt_zeros(band: Any, difference: int) -> int:
    """Move the six zero coefficients, take in `difference`, return the zero section's prediction (UPZERO, FILTEZ)."""
    step = 0 if difference == 0 else 128
    newer, total = difference, 0
    for i in range(6):
        older = int(band[_D + i])
        moved = (int(band[_B + i]) * 32640 >> 15) + (step if (older < 0) == (difference < 0) else -step)
        moved = _saturated(moved)
        total += (moved * _saturated(2 * newer)) >> 15
        band[_B + i] = moved
        band[_D + i] = newer
        newer = older
    return _saturated(total)


@compiled
def _adapt(band: Any, difference: int) -> None:
    """Take in one adaptation difference and predict the band's next sample (block 4)."""
    reconstructed = _saturated(int(band[_PREDICTED]) + difference)
    partial = _saturated(int(band[_ZERO_PART]) + difference)
    _adapt_poles(band, partial)
    zero_part = _adapt_zeros(band, difference)
    first = (int(band[_A1]) * _saturated(2 * reconstructed)) >> 15
    second = (int(band[_A2]) * _saturated(2 * int(band[_R1]))) >> 15
    band[_P2], band[_P1] = band[_P1], partial
    band[_R1] = reconstructed
    band[_ZERO_PART] = zero_part
    band[_PREDICTED] = _saturated(_saturated(first + second) + zero_part)


@compiled
def _decode_low(band: Any, code: int) -> int:
    """Return the low band's next sample of its 6-bit code."""
    scale = int(band[_SCALE])
    step = _step_size(scale, _LOW_SHIFT)
    sample = int(band[_PREDICTED]) + ((step * int(_LOW_6[code])) >> 15)
    coarse = code >> 2
    band[_SCALE] = _limited(((scale * 127) >> 7) + int(_LOW_STEP[coarse]), 0, _LOW_LARGEST_SCALE)
    _adapt(band, (step * int(_LOW_4[coarse])) >> 15)
    return _limited(sample, -16384, 16383)


@compiled
def _decode_high(band: Any, code: int) -> int:
    """Return the high band's next sample of its 2-bit code."""
    scale = int(band[_SCALE])
    difference = (_step_size(scale, _HIGH_SHIFT) * int(_HIGH_2[code])) >> 15
    sample = int(band[_PREDICTED]) + difference
    band[_SCALE] = _limited(((scale * 127) >> 7) + int(_HIGH_STEP[code]), 0, _HIGH_LARGEST_SCALE)
    _adapt(band, difference)
    return _limited(sample, -16384, 16383)


@compiled
def _synthesise(line: Any, start: int, out: Any, at: int) -> None:
    """Write the two samples that the 24 newest values from line[start] on give."""
    even, odd = 0, 0
    for i in range(12):
        even += int(line[start + 2 * i]) * int(_QMF[i])
        odd += int(line[start + 2 * i + 1]) * int(_QMF[11 - i])
    # The received signals' sum and difference, in turn: the second filter gives the earlier sample.
    out[at] = _saturated(odd >> 11)
    out[at + 1] = _saturated(even >> 11)


@compiled
def g722_decode(state: Any, payload: Any, offset: int, length: int, out: Any) -> int:
    """Decode `length` bytes from payload[offset] on into `out` (int16); return the samples, two a byte, 16 kHz.

    `state` is a row of G722_STATE that belongs to one stream; codes that `out` has no room for are left out.
    """
    low_band, high_band, line = state.low, state.high, state.line
    position = int(state.position)
    codes = min(length, len(out) // 2)
    for i in range(codes):
        code = int(payload[offset + i])
        low = _decode_low(low_band, code & 63)
        high = _decode_high(high_band, code >> 6)
        line[position] = line[position + _TAPS] = low + high
        line[position + 1] = line[position + 1 + _TAPS] = low - high
        position = (position + 2) % _TAPS
        _synthesise(line, position, out, 2 * i)
    state.position = position
    return 2 * codes
