"""A metric as it went: readings with their times, a window that slides over them, and the stretches of a breach.

A reading is one turn's time, one call's end, one utterance's errors. A figure is judged over the last `over_ns` at
every step. A window with fewer readings than are needed says nothing: it neither begins a breach nor ends one. A breach
runs from the first window that breaks the limit to the last one before a window that meets it again.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.measure.distribution import Estimate, Sample
from harness.model.clock import NS_PER_S

# A window moves by a sixth of itself, and never by less than a second.
_STEPS_A_WINDOW = 6
_LEAST_STEP_NS = NS_PER_S
_MOST_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Reading:
    """One value: of a duration `value` in ms; of a ratio `value` of `weight`; of a count `value`.

    `at_ns` is when it happened, `known_ns` when it could be known: a turn without an answer is known of at its
    time-out.
    """

    at_ns: float
    known_ns: float
    value: float
    weight: float = 1.0
    # The truth is at least `value`.
    is_bound: bool = False


Figure = Callable[[Sequence[Reading]], tuple[Estimate | None, int]]


@dataclass(frozen=True, slots=True)
class Point:
    """The figure of one window; `estimate` None = too few readings."""

    # The end of the window, and by how much it lies behind the end of the one before.
    at_ns: float
    step_ns: float
    estimate: Estimate | None
    n: int


@dataclass(frozen=True, slots=True)
class Breach:
    """A stretch in which every window that says anything breaks the limit.

    Of an open one the last window still broke it: `end_ns` is that window's instant, and the breach may go on.
    """

    start_ns: float
    # The end of the first window that broke the limit, and of the last.
    first_ns: float
    end_ns: float
    worst: Estimate
    # Readings of the worst window.
    n: int
    is_open: bool

    @property
    def length_ns(self) -> float:
        """How long it is known to have lasted."""
        return self.end_ns - self.start_ns


def step_of(over_ns: float, span_ns: float) -> float:
    """Return by how much a window of `over_ns` moves over `span_ns` of a run."""
    return max(_LEAST_STEP_NS, over_ns / _STEPS_A_WINDOW, span_ns / _MOST_STEPS)


def slide(
    readings: Sequence[Reading],
    figure: Figure,
    *,
    over_ns: float,
    min_samples: int,
    start_ns: float,
    end_ns: float,
    is_known: bool = False,
) -> Iterator[Point]:
    """Yield the figure at every step from `start_ns`, where the first window begins, to `end_ns`.

    `readings` ascend by `at_ns`, or with `is_known` by `known_ns`: what could be known at that instant is then judged.
    """
    times = [reading.known_ns if is_known else reading.at_ns for reading in readings]
    step = step_of(over_ns, end_ns - start_ns)
    for i in range(1, math.ceil((end_ns - start_ns) / step - 1e-9) + 1):
        at = start_ns + i * step
        first = bisect_right(times, at - over_ns) if at - over_ns > start_ns else bisect_left(times, start_ns)
        inside = readings[first : bisect_right(times, at)]
        estimate, n = figure(inside)
        yield Point(at, step, estimate if n >= max(1, min_samples) else None, n)


def breaches(
    points: Sequence[Point],
    is_broken: Callable[[Estimate], bool],
    *,
    is_low_bad: bool = False,
    patience_ns: float = math.inf,
) -> list[Breach]:
    """Return the stretches in which `is_broken` holds of every figure.

    Windows that say nothing for longer than `patience_ns` end a breach, too. `is_low_bad`: the smallest figure of a
    breach is its worst.
    """
    found: list[Breach] = []
    run: list[tuple[Point, Estimate]] = []
    for point in points:
        if run and point.at_ns - run[-1][0].at_ns > patience_ns:
            found.append(_breach(run, is_low_bad=is_low_bad, is_open=False))
            run = []
        if point.estimate is None:
            continue
        if is_broken(point.estimate):
            run.append((point, point.estimate))
        elif run:
            found.append(_breach(run, is_low_bad=is_low_bad, is_open=False))
            run = []
    return [*found, _breach(run, is_low_bad=is_low_bad, is_open=True)] if run else found


def _breach(run: Sequence[tuple[Point, Estimate]], *, is_low_bad: bool, is_open: bool) -> Breach:
    worst, estimate = (min if is_low_bad else max)(run, key=lambda one: one[1].value)
    first = run[0][0]
    return Breach(first.at_ns - first.step_ns, first.at_ns, run[-1][0].at_ns, estimate, worst.n, is_open)


def trend(aggregate: Callable[[Sample], Estimate | None]) -> Figure:
    """Return the figure of durations: `aggregate` of them, and their number."""

    def figure(readings: Sequence[Reading]) -> tuple[Estimate | None, int]:
        sample = Sample([r.value for r in readings if not r.is_bound], [r.value for r in readings if r.is_bound])
        return aggregate(sample), sample.n

    return figure


def ratio(readings: Sequence[Reading]) -> tuple[Estimate | None, int]:
    """Return the share that the values are of their weights, and what the weights come to."""
    of = math.fsum(reading.weight for reading in readings)
    value = math.fsum(reading.value for reading in readings) / of if of else None
    return (None if value is None else Estimate(value, value)), round(of)


def count(readings: Sequence[Reading]) -> tuple[Estimate | None, int]:
    """Return how much the values come to; 0 is a count, too."""
    value = math.fsum(reading.value for reading in readings)
    return Estimate(value, value), round(value)


def greatest(readings: Sequence[Reading]) -> tuple[Estimate | None, int]:
    """Return the largest value."""
    value = max((reading.value for reading in readings), default=None)
    return (None if value is None else Estimate(value, value)), len(readings)


def mean(readings: Sequence[Reading]) -> tuple[Estimate | None, int]:
    """Return the mean value."""
    if not readings:
        return None, 0
    value = math.fsum(reading.value for reading in readings) / len(readings)
    return Estimate(value, value), len(readings)
