"""From what the network says to an edge: where it is, and within how much of that it surely is.

Of all places the one is taken that has the most of the probability within 20 ms of it, and there the mean: where the
speech's end can be heard, that is the median; where it is lost, and may be a vowel's or a stop's release's, the
likelier.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.analyze.agent_side import Speech
from harness.analyze.edge_net.features import (
    HOP_MS,
    Flags,
    Floats,
    Spectrum,
    Surroundings,
    features,
    quietest,
    surroundings,
)
from harness.analyze.edge_net.network import COUNT, REACH, logits, softmax, unpacked

# How far from where a detector heard an edge it is looked for, towards the speech and away from it.
INWARDS_MS, OUTWARDS_MS = 200, 450
NEAR_MS = 20
SURE = 0.9
# People's words fade on where the clips that were learnt from are cut off: of their ends nine in ten lie within so
# many times what the network holds for enough (docs/analyze.md says whose).
ENDS_WIDER = 2.0
# Background is what lies this far from what a detector heard, as far as there is so much of it within reach.
GUARD_MS = 350
REACH_MS = 6_000
LEAST_BACKGROUND_MS = 150
# Where there is none, the quietest frames about the speech are.
QUIETEST = 0.12
OWN_MARGIN_MS = 500
WEIGHTS = Path(__file__).with_name("weights.npy")


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge, ms from the channel's first sample; with a probability of 0.9 it is within `within_ms` of that."""

    at_ms: float
    within_ms: float


@cache
def networks() -> tuple[list[Floats], list[Floats]]:
    """Return the weights of the one for starts, which sees time run backwards, and of the one for ends."""
    flat: npt.NDArray[np.float16] = np.load(WEIGHTS, allow_pickle=False)
    assert flat.shape == (2, COUNT), flat.shape
    return unpacked(flat[0]), unpacked(flat[1])


def edges_of(
    spectrum: Spectrum, heard: Sequence[Speech], *, has_own_background: bool = False
) -> list[tuple[Edge, Edge]]:
    """Return start and end of each stretch that a detector heard in the channel.

    `has_own_background`: what surrounds each stretch is no background of it.
    """
    at_ms = np.arange(len(spectrum.bands), dtype=np.float64) * HOP_MS
    is_free = np.ones(len(at_ms), np.bool_)
    for one in heard:
        is_free &= (at_ms < one.start_ms - GUARD_MS) | (at_ms > one.end_ms + GUARD_MS)
    found = []
    for index, one in enumerate(heard):
        before_ms = heard[index - 1].end_ms if index else -1e9
        after_ms = heard[index + 1].start_ms if index + 1 < len(heard) else 1e9
        around = _around(spectrum, at_ms, is_free, one, has_own_background=has_own_background)
        start = _edge(spectrum, around, one.start_ms, (max(before_ms, -1e9), min(one.end_ms, 1e9)), is_end=False)
        end = _edge(spectrum, around, one.end_ms, (one.start_ms, after_ms), is_end=True)
        found.append((start, end))
    return found


def _around(
    spectrum: Spectrum, at_ms: npt.NDArray[np.float64], is_free: Flags, one: Speech, *, has_own_background: bool
) -> Surroundings:
    is_speech = (at_ms >= one.start_ms) & (at_ms <= one.end_ms)
    near = is_free & (at_ms > one.start_ms - REACH_MS) & (at_ms < one.end_ms + REACH_MS)
    if has_own_background or np.count_nonzero(near) * HOP_MS < LEAST_BACKGROUND_MS:
        about = (at_ms > one.start_ms - OWN_MARGIN_MS) & (at_ms < one.end_ms + OWN_MARGIN_MS)
        near = quietest(spectrum, about, QUIETEST)
    return surroundings(spectrum, near, is_speech)


def _edge(
    spectrum: Spectrum, around: Surroundings, at_ms: float, between_ms: tuple[float, float], *, is_end: bool
) -> Edge:
    """Return where the edge near `at_ms` is, no further out than `between_ms`."""
    earlier, later = (INWARDS_MS, OUTWARDS_MS) if is_end else (OUTWARDS_MS, INWARDS_MS)
    first = int(max(at_ms - earlier, between_ms[0]) / HOP_MS)
    last = max(first + 1, int(min(at_ms + later, between_ms[1]) / HOP_MS))
    seen = features(spectrum, around, first - REACH, last - first + 2 * REACH)
    if not is_end:
        seen = seen[::-1]
    told, _ = logits(networks()[int(is_end)], seen[None])
    probability = softmax(told[0, REACH : REACH + last - first])
    edge = likeliest(probability if is_end else probability[::-1], first)
    return replace(edge, within_ms=edge.within_ms * ENDS_WIDER) if is_end else edge


def likeliest(probability: npt.NDArray[np.floating], first: int) -> Edge:
    """Return the edge, `probability[i]` being that of frame `first` + i."""
    p = np.asarray(probability, np.float64)
    near = NEAR_MS // HOP_MS
    mass = np.convolve(p, np.ones(2 * near + 1), "same")
    best = int(np.argmax(mass))
    inside = slice(max(0, best - near), best + near + 1)
    frame = float(np.average(np.arange(len(p))[inside], weights=p[inside] + 1e-12))
    distance = np.abs(np.arange(len(p)) - frame)
    order = np.argsort(distance)
    enough = int(np.searchsorted(np.cumsum(p[order]), SURE))
    within = float(distance[order[min(enough, len(order) - 1)]]) + 0.5
    return Edge((first + frame) * HOP_MS, within * HOP_MS)
