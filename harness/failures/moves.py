"""How far a figure of a run has moved: with the fix off against on, or from one stretch of a run to another.

A figure is named as a threshold names it, with a stretch of the run behind it where it is meant: "ttfb_ms p50 during
phase:full". A move is shown only where unanswered turns leave no doubt of it.
"""

from dataclasses import dataclass

from harness.measure.distribution import Estimate
from harness.measure.run import Measured
from harness.model.errors import ScenarioError
from harness.model.fault import Direction
from harness.verdict.chosen import choose
from harness.verdict.clauses import WORDS
from harness.verdict.evaluate import show
from harness.verdict.metrics import TARGET
from harness.verdict.readings import figure_of
from harness.verdict.thresholds import Threshold, parse

# A threshold needs a comparison; any figure meets this one.
_ANY = " >= 0"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one run; `estimate` None = not measured, or on too few samples, as `why` says."""

    shown: str
    n: int
    sample: str
    estimate: Estimate | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """A declared move: `is_shown` None where a figure is missing; `why` says what was seen."""

    words: str
    start: Figure
    end: Figure
    is_shown: bool | None
    why: str


def check_metric(text: str) -> str:
    """Return what is wrong with a figure's name, "" for nothing."""
    try:
        threshold = _threshold(text)
    except ScenarioError as error:
        return str(error).replace(_ANY, "")
    return "a figure is of one segment; legal: without `by`, `over` and `sustained`" if _is_many(threshold) else ""


def _is_many(threshold: Threshold) -> bool:
    return bool(threshold.clauses.by) or threshold.clauses.window_ms is not None


def _threshold(text: str) -> Threshold:
    words = text.split()
    at = next((i for i, word in enumerate(words) if word in WORDS), len(words))
    return parse(" ".join([*words[:at], _ANY.strip(), *words[at:]]))


def figure(text: str, run: Measured) -> Figure:
    """Return a figure of a run; raises ScenarioError where there is none of that name."""
    threshold = _threshold(text)
    (chosen,) = choose(threshold, run)
    estimate, n = figure_of(threshold.metric, threshold.measure.aggregate)(chosen.readings)
    sample = threshold.metric.sample
    if threshold.metric.scope == TARGET:
        # Read off the target every few seconds: a count of nothing read is none.
        n, sample = len(chosen.readings), "polls"
        estimate = estimate if n else None
    if estimate is None or chosen.why:
        return Figure("not measured", n, sample, None, chosen.why or f"no {sample}")
    if n < threshold.min_samples:
        why = f"{n} {sample}, at least {threshold.min_samples} are needed"
        return Figure(f"{show(threshold, estimate)} (too few)", n, sample, None, why)
    return Figure(show(threshold, estimate), n, sample, estimate)


def move(words: str, start: Figure, end: Figure, direction: Direction, by: float) -> Move:
    """Return whether a figure certainly moved from `start` to `end` by so much; `words` say what was declared."""
    if start.estimate is None or end.estimate is None:
        missing = "; ".join(f.why for f in (start, end) if f.estimate is None)
        return Move(words, start, end, None, f"not measured: {missing}")
    low, high = (start.estimate, end.estimate) if direction is Direction.UP else (end.estimate, start.estimate)
    is_shown = low.upper is not None and high.value - low.upper >= by
    return Move(words, start, end, is_shown, f"{start.shown} to {end.shown}")
