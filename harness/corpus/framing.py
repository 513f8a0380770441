"""From what a voice said to a clean clip: level, silence around it, silences of known length within.

The joining is pydub's. All edges are those of harness/corpus/edges.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydub import AudioSegment

from harness.corpus.audio import Pcm
from harness.corpus.edges import Edges, find_edges
from harness.corpus.levels import active_speech_level
from harness.corpus.recipe import SpeechSpec
from harness.model.errors import ScenarioError

RATE = 48000
# Clips are whole packets long, so a player never sends a broken one.
FRAME_MS = 20
_FADE_MS = 10
# How much is kept of a sound beside a silence, beyond its edge: what fades under the edge threshold.
_BEFORE_MS = 40
_AFTER_MS = 60


@dataclass(frozen=True, slots=True)
class Framed:
    """A clean clip, int16 mono at RATE, and where the silences built into it lie (ms from the first sample)."""

    pcm: Pcm
    pauses_ms: tuple[tuple[float, float], ...]


def framed(spec: SpeechSpec, parts: Sequence[Pcm], silences_ms: Sequence[int], name: str) -> Framed:
    """Join `parts` with the silences between them, at the level of `spec`, beginning `lead_ms` in.

    After the last edge follow `tail_ms`, or a little more. `name` begins the ScenarioError where a part has no speech.
    """
    edges = [speech_edges(part, name) for part in parts]
    speech, pauses, length_ms = _joined(spec, parts, edges, silences_ms)
    total = -(-(spec.lead_ms + length_ms + spec.tail_ms) // FRAME_MS) * FRAME_MS
    silence = AudioSegment.silent(max(total, spec.lead_ms), frame_rate=RATE)
    first = round(edges[0].start_ms)
    padded = silence[: spec.lead_ms] + speech + silence
    cut = padded[first : first + total].fade_in(_FADE_MS).fade_out(_FADE_MS)
    levelled = cut.apply_gain(spec.level_dbfs - active_speech_level(samples(cut), RATE).active_dbfs)
    _check_peak(samples(levelled), name)
    return Framed(samples(levelled), pauses)


def _joined(
    spec: SpeechSpec, parts: Sequence[Pcm], edges: Sequence[Edges], silences_ms: Sequence[int]
) -> tuple[AudioSegment, tuple[tuple[float, float], ...], int]:
    """Return the parts with their silences, where these lie in the clip, and the length from first to last edge."""
    speech = segment(parts[0])
    start, end = _rounded(edges[0])
    reached = end - start
    pauses: list[tuple[float, float]] = []
    for part, edge, silence_ms in zip(parts[1:], edges[1:], silences_ms, strict=True):
        # How far the sound before the silence goes on after its last edge, and the next one begins before its first.
        after = min(_AFTER_MS, len(speech) - end)
        speech = speech[: end + after].fade_out(_FADE_MS)
        first, last = _rounded(edge)
        before = min(_BEFORE_MS, first)
        speech += AudioSegment.silent(silence_ms - after - before, frame_rate=RATE)
        pauses.append((float(spec.lead_ms + reached), float(spec.lead_ms + reached + silence_ms)))
        reached += silence_ms + last - first
        end = len(speech) + before + last - first
        speech += segment(part)[first - before :].fade_in(_FADE_MS)
    return speech, tuple(pauses), reached


def _rounded(edges: Edges) -> tuple[int, int]:
    return round(edges.start_ms), round(edges.end_ms)


def speech_edges(pcm: Pcm, name: str) -> Edges:
    """Return where speech begins and ends; ScenarioError where there is none."""
    edges = find_edges(pcm, RATE)
    if edges is None:
        raise ScenarioError(f"{name}: no speech found in what was synthesised")
    return edges


def segment(pcm: Pcm) -> AudioSegment:
    """Wrap samples as a pydub segment (mono, 48 kHz)."""
    return AudioSegment(data=pcm.tobytes(), sample_width=2, frame_rate=RATE, channels=1)


def samples(audio: AudioSegment) -> Pcm:
    """Return a pydub segment's samples, shape (samples,)."""
    return np.frombuffer(audio.raw_data, np.int16)


def _check_peak(pcm: Pcm, name: str) -> None:
    if int(np.max(np.abs(pcm.astype(np.int32)))) >= 32767:
        raise ScenarioError(f"{name}: clips at full scale; lower speech.level_dbfs")
