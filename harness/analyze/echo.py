"""What leaks from one channel of a call into the other, found and taken out, so that it makes no turns.

A telephone on its loudspeaker sends the agent back to itself; a hybrid or a mixing bridge does the same to the caller.
The leak is a delayed, quieter, filtered copy. Its delay is the peak of the generalised cross-correlation with phase
transform (Knapp and Carter 1976) over half a second; its filter is the quotient of cross and power spectrum over the
stretches in which only the other side is heard; the copy is subtracted. What is left of it, as far as it is no louder
than a copy with the measured attenuation can be, is turned down, but not under the channel's own background: that would
have holes where the other side speaks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analyze.caller_side import frame_levels_db
from harness.analyze.recording import Pcm

LONGEST_MS = 500
# How far the filter reaches before and behind the delay.
BEFORE_MS, BEHIND_MS = 4, 60
# How far the peak must stand over the spread of the correlation; speech that is no copy stays under 6.
LEAST_PEAK = 9.0
# A copy is this much quieter than what it copies, or it is no leak.
LEAST_LOSS_DB = 3.0
# One this much quieter is heard by nobody; one that subtraction takes nothing of was none.
MOST_LOSS_DB = 45.0
LEAST_REMOVED_DB = 0.5
# Left after subtraction, this much over what was measured: turned down all the same.
RESIDUE_DB = 9.0
TURNED_DOWN = 0.01
# Of the channel where nothing leaks into it: so many percent are background.
QUIET_PERCENTILE = 25
# Below this the other side is silent.
SILENT_DBFS = -60.0
_FRAME_MS = 20
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Leak:
    """A copy of the other channel: how late, how much quieter, and how much of it subtraction took away."""

    delay_ms: float
    loss_db: float
    removed_db: float


def without_leak(near: Pcm, far: Pcm, rate: int) -> tuple[Pcm, Leak | None]:
    """Return `near` without what leaked into it from `far`, and the leak; `near` itself where there is none."""
    delay = _delay(near, far, rate)
    if delay is None:
        return near, None
    lead = BEFORE_MS * rate // 1000
    late = _shifted(far.astype(np.float64), delay - lead)
    is_alone = _alone(near, late, rate)
    if np.count_nonzero(is_alone) * _FRAME_MS < LONGEST_MS:
        return near, None
    copy = _copy(near.astype(np.float64), late, is_alone, rate)
    left = near - copy
    late_db, copy_db = (_level_db(signal, is_alone, rate) for signal in (late, copy))
    leak = Leak(delay * 1000 / rate, late_db - copy_db, _removed_db(near.astype(np.float64), left, is_alone, rate))
    if not LEAST_LOSS_DB <= leak.loss_db <= MOST_LOSS_DB or leak.removed_db < LEAST_REMOVED_DB:
        return near, None
    quieter = _turned_down(left, copy, leak.removed_db, rate)
    return np.clip(np.round(quieter), -32768, 32767).astype(np.int16), leak


def _delay(near: Pcm, far: Pcm, rate: int) -> int | None:
    """Return by how many samples a copy of `far` comes later in `near`; None where there is none."""
    window, longest = rate, LONGEST_MS * rate // 1000
    cross = np.zeros(window + 1, np.complex128)
    taper = np.hanning(window)
    for at in range(0, max(1, len(near) - window), window // 2):
        one, other = (side[at : at + window].astype(np.float64) for side in (near, far))
        if len(one) < window or np.std(other) < 30 or np.std(one) < 1:
            continue
        product = np.fft.rfft(one * taper, 2 * window) * np.conj(np.fft.rfft(other * taper, 2 * window))
        cross += product / np.maximum(np.abs(product), 1e-6)
    # Nothing of telephone speech lies outside; of what does, the phase is noise.
    hertz = np.fft.rfftfreq(2 * window, 1 / rate)
    cross[(hertz < 200) | (hertz > 3400)] = 0
    correlation = np.fft.irfft(cross)
    causal = correlation[: longest + 1]
    peak = int(np.argmax(np.abs(causal)))
    spread = float(np.std(correlation))
    return peak if spread > 0 and abs(causal[peak]) > LEAST_PEAK * spread else None


def _shifted(signal: Samples, samples: int) -> Samples:
    if samples <= 0:
        return np.concatenate([signal[-samples:], np.zeros(-samples)])
    return np.concatenate([np.zeros(samples), signal[:-samples]])


def _alone(near: Pcm, late: Samples, rate: int) -> npt.NDArray[np.bool_]:
    """Frames of 20 ms in which the other side speaks and is louder than all there is on this one."""
    near_db = frame_levels_db(near, rate)
    late_db = frame_levels_db(np.clip(late, -32768, 32767).astype(np.int16), rate)
    speaks = late_db > max(SILENT_DBFS, float(np.percentile(late_db, 95)) - 25)
    return np.asarray(speaks & (near_db < late_db - LEAST_LOSS_DB))


def _copy(near: Samples, late: Samples, is_alone: npt.NDArray[np.bool_], rate: int) -> Samples:
    """Return what of `late` is in `near`."""
    window = rate * 256 // 1000
    frame = rate * _FRAME_MS // 1000
    taper = np.hanning(window)
    cross, power = np.zeros(window // 2 + 1, np.complex128), np.zeros(window // 2 + 1)
    for at in range(0, len(near) - window, window // 2):
        share = is_alone[at // frame : (at + window) // frame]
        if len(share) and np.mean(share) > 0.8:
            other = np.fft.rfft(late[at : at + window] * taper)
            cross += np.fft.rfft(near[at : at + window] * taper) * np.conj(other)
            power += np.abs(other) ** 2
    if not power.any():
        return np.zeros_like(near)
    impulse = np.fft.irfft(cross / (power + 1e-4 * np.mean(power) + 1e-9), window)
    taps = impulse[: (BEFORE_MS + BEHIND_MS) * rate // 1000]
    return _filtered(late, taps)


def _filtered(signal: Samples, taps: Samples) -> Samples:
    """Convolve in blocks (overlap-add); as long as `signal`."""
    block = 1 << 16
    size = block * 2
    response = np.fft.rfft(taps, size)
    out = np.zeros(len(signal) + size)
    for at in range(0, len(signal), block):
        out[at : at + size] += np.fft.irfft(np.fft.rfft(signal[at : at + block], size) * response, size)
    return out[: len(signal)]


def _level_db(signal: Samples, flags: npt.NDArray[np.bool_], rate: int) -> float:
    frame = rate * _FRAME_MS // 1000
    whole = signal[: len(flags) * frame].reshape(len(flags), frame)[flags]
    return 10 * float(np.log10(np.mean(whole**2) + 1e-6))


def _removed_db(near: Samples, left: Samples, is_alone: npt.NDArray[np.bool_], rate: int) -> float:
    """Return how far subtraction brought the leak down, the channel's own background apart."""
    floor_db = float(np.percentile(frame_levels_db(near.astype(np.int16), rate), 10)) + 20 * np.log10(32768)
    before, after = (10 ** (_level_db(signal, is_alone, rate) / 10) - 10 ** (floor_db / 10) for signal in (near, left))
    return 10 * float(np.log10(max(before, 1e-6) / max(after, 1e-4 * before, 1e-6)))


def _turned_down(left: Samples, copy: Samples, removed_db: float, rate: int) -> Samples:
    """Turn down each 5 ms of `left` that may be all residue, as far as to what is there without any."""
    size = rate * 5 // 1000
    whole = len(left) // size
    left_db, copy_db = (_smooth_db(signal[: whole * size].reshape(whole, size)) for signal in (left, copy))
    has_copy = copy_db > 20 * np.log10(3)
    is_residue = (left_db < copy_db - max(0.0, removed_db) + RESIDUE_DB) & has_copy
    background_db = float(np.percentile(left_db[~has_copy], QUIET_PERCENTILE)) if not has_copy.all() else -np.inf
    turned_down = 10 ** (np.clip(background_db - left_db, 20 * np.log10(TURNED_DOWN), 0) / 20)
    gain = np.repeat(np.where(is_residue, turned_down, 1.0), size)
    quieter: Samples = left * np.concatenate([gain, np.ones(len(left) - len(gain))])
    return quieter


def _smooth_db(windows: Samples) -> Samples:
    power = np.mean(windows**2, axis=1)
    return np.asarray(10 * np.log10(np.convolve(power, np.ones(5) / 5, "same") + 1e-6))
