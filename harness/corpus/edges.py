"""Where speech begins and ends in a clip, by measurement.

*Speech ends* at the last instant at which a listener could still hear it: the last sample of a voiced sound, of the
fricative or of the release that ends the word, as long as it is within 30 dB of the active speech level. The decay
under that is no speech: no listener, and no VAD, hears it as such. Breath, clicks and a room's tail are none.

Energy is taken in 5 ms windows, one every 1 ms, and held against two thresholds. The *core* threshold, 18 dB under
the active speech level (ITU-T P.56), says what surely is sound of the speaker; the *edge* threshold, 30 dB under it
or just over the recording's own background, says how far it reaches. Stretches over the edge threshold within 120 ms
of each other are one island, so the closure before a final /t/ does not cut its burst off. An island counts if it has
40 ms above the core threshold and, where anything in the recording is voiced (periodic, voicing.py), 30 ms of voice:
a breath, a mouse or a slammed door is loud, but never that. Speech runs from the first island's first sample to the
last one's last, but no further than 40 ms before its core and 80 ms behind it (the release of a final stop 120 ms),
and its core no further than 200 ms before and 260 ms behind the voice: the longest /s/ is not longer, a breath is.

Recordings have what a synthesised voice has not, and are asked for it. *A room's tail*: the last sound ends where it
stands no further than 10 dB over what is left of it 100 to 250 ms later. *Clicks before the first word*: what has
neither voice in it nor 40 ms, and more than 30 ms of silence behind it, where a stop's release has its vowel. *A thump
behind the last word* is no release: it has nothing over 250 Hz. And people hold a closure longer: up to 140 ms.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.corpus.levels import active_speech_level, as_float
from harness.corpus.voicing import is_voiced

WINDOW_MS = 5
HOP_MS = 1
EDGE_BELOW_ACTIVE_DB = 30.0
CORE_BELOW_ACTIVE_DB = 18.0
# The background is what lies further than this from any sound of the speaker, where there is enough of it; else the
# quietest windows.
NEAR_BELOW_ACTIVE_DB = 20.0
GUARD_MS = 200
LEAST_BACKGROUND_MS = 50
# How far the edge threshold stays above the loud moments of the background, or above the quietest windows.
ABOVE_BACKGROUND_DB = 3.0
ABOVE_QUIETEST_DB = 10.0
# However noisy the recording, the edge threshold rises no nearer to the speech.
HIGHEST_BELOW_ACTIVE_DB = 14.0
JOIN_GAP_MS = 120
RECORDED_JOIN_GAP_MS = 140
LEAST_CORE_MS = 40
LEAST_VOICE_MS = 30
LEAST_VOICED_RATIO = 0.15
REACH_BEFORE_MS = 40
REACH_BEHIND_MS = 80
# The release of a final stop: sound of its own behind a closure.
RELEASE_GAP_MS = 15
LONGEST_RELEASE_MS = 80
# It is over the edge threshold above this, too.
RELEASE_ABOVE_HZ = 250.0
# A click before the first word has more silence than that behind it.
CLICK_GAP_MS = 30
# What a room still holds of a sound is looked for so long behind its end; where less is recorded, nothing is known.
TAIL_MS = (100, 250)
LEAST_TAIL_MS = 50
ABOVE_TAIL_DB = 10.0
VOICE_BEFORE_MS = 200
VOICE_BEHIND_MS = 260
# Hum and rumble are taken out below this, with a flank gentle enough that a click does not ring.
HIGH_PASS_HZ = 100.0

# Windows; a lone sample lights WINDOW_MS of them, which is not WINDOW_MS of sound.
_LEAST_CORE = (LEAST_CORE_MS + WINDOW_MS) // HOP_MS

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Edges:
    """First and last instant of speech, ms from the first sample."""

    start_ms: float
    end_ms: float


def find_edges(
    signal: NDArray[np.generic], rate: int, active_dbfs: float | None = None, *, is_recorded: bool = True
) -> Edges | None:
    """Speech edges of mono `signal`, shape (samples,), int16 or float; None where nothing in it is speech.

    `active_dbfs` is the active speech level of what `signal` is a part of; None: its own. `is_recorded`: it may have a
    room in it, clicks and thumps; else it is as a synthesiser made it.
    """
    x = high_pass(as_float(signal), rate)
    power_db = window_power_db(x, rate)
    if not len(power_db):
        return None
    if active_dbfs is None:
        active_dbfs = active_speech_level(x, rate).active_dbfs
    threshold_db = edge_threshold_db(power_db, power_db > active_dbfs - NEAR_BELOW_ACTIVE_DB, active_dbfs)
    is_core = power_db > max(active_dbfs - CORE_BELOW_ACTIVE_DB, threshold_db)
    is_bright = window_power_db(high_pass(x, rate, RELEASE_ABOVE_HZ), rate) > threshold_db if is_recorded else None
    islands = find_islands(power_db > threshold_db, is_core, _voice(x, rate, is_core), is_bright)
    if not islands:
        return None
    last = islands[-1][1]
    if is_recorded:
        last = _before_tail(power_db, islands[-1], threshold_db, active_dbfs - HIGHEST_BELOW_ACTIVE_DB)
    # The first window over the threshold is there because of its newest hop, the last one because of its oldest.
    return Edges(
        float(islands[0][0] * HOP_MS + WINDOW_MS - HOP_MS) if islands[0][0] else 0.0,
        float(last * HOP_MS + HOP_MS),
    )


def window_power_db(x: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Mean power in dB over full scale of each 5 ms window; window i begins i ms into `x`, to the nearest sample."""
    total = np.concatenate([[0.0], np.cumsum(x * x)])
    window = rate * WINDOW_MS // 1000
    count = max(0, (len(x) - window) * 1000 // (rate * HOP_MS) + 1) if len(x) >= window else 0
    # Rates like 22,050 have no whole number of samples in a millisecond.
    starts = np.minimum(np.round(np.arange(count) * (rate * HOP_MS / 1000)).astype(np.int64), len(x) - window)
    power = (total[starts + window] - total[starts]) / window
    decibels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 1e-12))
    return decibels


def edge_threshold_db(power_db: NDArray[np.float64], is_near: Flags, active_dbfs: float) -> float:
    """Return the power over which a window belongs to speech, if it is near enough to a core."""
    background = power_db[~_near(is_near, GUARD_MS // HOP_MS)]
    if len(background) >= LEAST_BACKGROUND_MS // HOP_MS:
        floor = float(np.percentile(background, 95)) + ABOVE_BACKGROUND_DB
    else:
        floor = float(np.percentile(power_db, 5)) + ABOVE_QUIETEST_DB
    return min(max(active_dbfs - EDGE_BELOW_ACTIVE_DB, floor), active_dbfs - HIGHEST_BELOW_ACTIVE_DB)


def _near(flags: Flags, reach: int) -> Flags:
    """Windows within `reach` of a set flag."""
    counted = np.concatenate([[0], np.cumsum(flags)])
    index = np.arange(len(flags))
    return counted[np.minimum(index + reach + 1, len(flags))] > counted[np.maximum(index - reach, 0)]


def _voice(x: NDArray[np.float64], rate: int, is_core: Flags) -> Flags:
    """Core windows in whose middle `x` is periodic; all of them where next to nothing is, as in a whisper."""
    voice = is_voiced(x, rate, np.arange(len(is_core), dtype=np.float64) + WINDOW_MS / 2) & is_core
    return voice if np.count_nonzero(voice) >= LEAST_VOICED_RATIO * np.count_nonzero(is_core) else is_core


def find_islands(is_loud: Flags, is_core: Flags, is_voice: Flags, is_bright: Flags | None) -> list[tuple[int, int]]:
    """Group loud windows; return (first, last) window of each group with enough core and voice in it.

    `is_bright`: windows with something in them that a release has and a thump has not; None = nothing was recorded.
    """
    loud = np.flatnonzero(is_loud)
    if not len(loud):
        return []
    join_gap = (JOIN_GAP_MS if is_bright is None else RECORDED_JOIN_GAP_MS) // HOP_MS
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > join_gap) + 1)
    islands = []
    for group in groups:
        core, voice = group[is_core[group]], group[is_voice[group]]
        if len(core) >= _LEAST_CORE and len(voice) >= LEAST_VOICE_MS // HOP_MS:
            begins = int(group[0]) if is_bright is None else _behind_clicks(group, is_voice)
            core = core[(core >= voice[0] - VOICE_BEFORE_MS) & (core <= voice[-1] + VOICE_BEHIND_MS) & (core >= begins)]
            first = max(begins, int(core[0]) - REACH_BEFORE_MS // HOP_MS)
            islands.append((first, _last(group[group >= core[-1]], join_gap, is_bright)))
    return islands


def _behind_clicks(group: NDArray[np.intp], is_voice: Flags) -> int:
    """Return the first of a group's loud windows that is no click before the first word."""
    runs = np.split(group, np.flatnonzero(np.diff(group) > CLICK_GAP_MS // HOP_MS) + 1)
    words = (int(run[0]) for run in runs if len(run) >= _LEAST_CORE or is_voice[run].any())
    return next(words, int(group[0]))


def _before_tail(power_db: NDArray[np.float64], island: tuple[int, int], threshold_db: float, highest_db: float) -> int:
    """Return the last window of an island that is none of a room's tail; no threshold rises over `highest_db`."""
    first, last = island
    left = power_db[last + TAIL_MS[0] // HOP_MS : last + TAIL_MS[1] // HOP_MS]
    if len(left) < LEAST_TAIL_MS // HOP_MS:
        return last
    over_tail_db = min(float(np.median(left)) + ABOVE_TAIL_DB, highest_db)
    if over_tail_db <= threshold_db:
        return last
    # A part of something louder may have nothing over the highest threshold.
    return max((first + int(at) for at in np.flatnonzero(power_db[first : last + 1] > over_tail_db)), default=last)


def _last(behind: NDArray[np.intp], join_gap: int, is_bright: Flags | None) -> int:
    """Return the last of the loud windows `behind` the core (its last one first) that is speech."""
    core = int(behind[0])
    runs = np.split(behind, np.flatnonzero(np.diff(behind) > RELEASE_GAP_MS // HOP_MS) + 1)
    last = min(int(runs[0][-1]), core + REACH_BEHIND_MS // HOP_MS)
    for run in runs[1:]:
        is_near_and_short = run[0] - core <= join_gap and run[-1] - run[0] <= LONGEST_RELEASE_MS // HOP_MS
        if is_near_and_short and (is_bright is None or is_bright[run].any()):
            last = int(run[-1])
    return last


def high_pass(x: NDArray[np.float64], rate: int, hertz: float = HIGH_PASS_HZ) -> NDArray[np.float64]:
    """Take out what is below `hertz`, zero-phase (two Butterworth poles each way), so that no edge moves."""
    # Padding keeps the end from leaking into the start.
    size = len(x) + rate // 5
    fourth = (np.fft.rfftfreq(size, 1 / rate) / hertz) ** 4
    return np.fft.irfft(np.fft.rfft(x, size) * fourth / (1 + fourth), size)[: len(x)]
