"""From what a voice said to a clean clip: level, silence around it, silences of known length within.

What lies outside the edges of speech is taken away: a voice model breathes, rustles and fades on under the threshold
of hearing, and whoever measures with another threshold would find other edges. In a clip there is speech up to its
edge and nothing behind it, so every detector that hears the last sound at all finds the same edge. The joining is
pydub's. All edges are those of harness/corpus/edges.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydub import AudioSegment

from harness.corpus.audio import Pcm
from harness.corpus.edges import Edges, find_edges, high_pass, window_power_db
from harness.corpus.levels import active_speech_level, as_float
from harness.corpus.recipe import SpeechSpec
from harness.model.errors import ScenarioError

RATE = 48000
# Clips are whole packets long, so a player never sends a broken one.
FRAME_MS = 20
# From a sound's edge to digital zero, and back: too short to be heard as anything, too long for a click.
GATE_MS = 8
# How far the edges of the clip as stored may lie within those it was cut at, and how often it is cut at most.
_VERGE_MS = 10.0
_MOST_CUTS = 4
FADED_DB = 24.0
VOICELESS_HZ = 2000.0
# Three under the edge threshold: half of a weak /f/ may lie lower.
VOICELESS_DB = 33.0
# More silence than edges.py needs to take it for the background.
_AROUND_MS = 300


@dataclass(frozen=True, slots=True)
class Framed:
    """A clean clip, int16 mono at RATE, and where the silences built into it lie (ms from the first sample)."""

    pcm: Pcm
    pauses_ms: tuple[tuple[float, float], ...]


def framed(
    spec: SpeechSpec,
    parts: Sequence[Pcm],
    silences_ms: Sequence[int],
    name: str,
    stored: Callable[[Pcm], Pcm] = lambda pcm: pcm,
) -> Framed:
    """Join `parts` with the silences between them, at the level of `spec`, beginning `lead_ms` in.

    After the last edge follow `tail_ms`, or a little more. What `stored` makes of the clip (a file's codec) has its
    edges there too: a sound that is on the verge of being speech is cut until it is none. `name` begins the
    ScenarioError where a part has no speech.
    """
    cuts = [gated(part, name) for part in parts]
    for _ in range(_MOST_CUTS):
        clip, end_ms = _joined(spec, cuts, silences_ms, name)
        edges = speech_edges(stored(clip.pcm), name)
        late_ms, early_ms = edges.start_ms - spec.lead_ms, end_ms - edges.end_ms
        if max(late_ms, early_ms) <= _VERGE_MS:
            break
        if late_ms > _VERGE_MS:
            cuts[0] = _faded(cuts[0][round(late_ms) * RATE // 1000 :])
        if early_ms > _VERGE_MS:
            cuts[-1] = _faded(cuts[-1][: -round(early_ms) * RATE // 1000])
    return clip


def _joined(spec: SpeechSpec, cuts: Sequence[Pcm], silences_ms: Sequence[int], name: str) -> tuple[Framed, int]:
    """Return the clip, and where in it, in ms, speech ends."""
    speech, pauses = segment(cuts[0]), []
    for silence_ms, cut in zip(silences_ms, cuts[1:], strict=True):
        at_ms = float(spec.lead_ms + len(speech) - 2 * GATE_MS)
        pauses.append((at_ms, at_ms + silence_ms))
        speech += _silence(silence_ms - 2 * GATE_MS) + segment(cut)
    end_ms = spec.lead_ms + len(speech) - 2 * GATE_MS
    total_ms = -(-(end_ms + spec.tail_ms) // FRAME_MS) * FRAME_MS
    whole = _silence(spec.lead_ms - GATE_MS) + speech
    whole += _silence(total_ms - len(whole))
    levelled = whole.apply_gain(spec.level_dbfs - active_speech_level(samples(whole), RATE).active_dbfs)
    _check_peak(samples(levelled), name)
    return Framed(samples(levelled), tuple(pauses)), end_ms


def gated(pcm: Pcm, name: str) -> Pcm:
    """Cut what a voice said at its edges: from GATE_MS before the first to GATE_MS after the last, faded to zero there.

    The edges are those that it has in digital silence. ScenarioError where there is no speech.
    """
    around = np.pad(pcm, RATE * _AROUND_MS // 1000)
    edges = speech_edges(around, name)
    end_ms = _fade_begins_ms(as_float(around), edges.end_ms)
    begin, end = (round(ms) * RATE // 1000 for ms in (edges.start_ms - GATE_MS, end_ms + GATE_MS))
    return _faded(around[begin:end])


def _faded(pcm: Pcm) -> Pcm:
    cut = pcm.astype(np.float64)
    fade = RATE * GATE_MS // 1000
    rising = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade) ** 2
    cut[:fade] *= rising
    cut[-fade:] *= rising[::-1]
    return np.round(cut).astype(np.int16)


def _fade_begins_ms(x: NDArray[np.float64], end_ms: float) -> float:
    """Return where the last sound has nothing left but its fading, `end_ms` at the latest.

    A vowel or a nasal fades out in the throat for 50 ms and more, and nothing that tells words apart is in that; so it
    may end where it is FADED_DB down. A fricative or a release may be no louder than that; those are heard by what is
    over VOICELESS_HZ, and stay whole.
    """
    level = active_speech_level(x, RATE).active_dbfs
    body = window_power_db(high_pass(x, RATE), RATE) > level - FADED_DB
    voiceless = window_power_db(high_pass(x, RATE, VOICELESS_HZ), RATE) > level - VOICELESS_DB
    sounds = np.flatnonzero((body | voiceless)[: round(end_ms)])
    return min(end_ms, float(sounds[-1] + 1))


def speech_edges(pcm: Pcm, name: str) -> Edges:
    """Return where speech begins and ends; ScenarioError where there is none."""
    edges = find_edges(pcm, RATE, is_recorded=False)
    if edges is None:
        raise ScenarioError(f"{name}: no speech found in what was synthesised")
    return edges


def segment(pcm: Pcm) -> AudioSegment:
    """Wrap samples as a pydub segment (mono, 48 kHz)."""
    return AudioSegment(data=pcm.tobytes(), sample_width=2, frame_rate=RATE, channels=1)


def samples(audio: AudioSegment) -> Pcm:
    """Return a pydub segment's samples, shape (samples,)."""
    return np.frombuffer(audio.raw_data, np.int16)


def _silence(length_ms: int) -> AudioSegment:
    # pydub's own is a sample short of some lengths.
    return segment(np.zeros(length_ms * RATE // 1000, np.int16))


def _check_peak(pcm: Pcm, name: str) -> None:
    if int(np.max(np.abs(pcm.astype(np.int32)))) >= 32767:
        raise ScenarioError(f"{name}: clips at full scale; lower speech.level_dbfs")
