"""What a fault did to a run: steady state before, during and after it, when it showed, was noticed and was over.

Steady state   the figures before the fault began, while it lasted, and after it ended and had time to heal.
Onset          from the fault's begin to the first stretch in which a symptom has moved as far as it was declared to.
               A fault that declares none shows by the runbook's rules.
Detection      from its begin to the first alert that fires on what began with it or after.
Recovery       from its end to the end of the last stretch in which it still shows; 0 where that was over before.
Blast radius   what became of the calls that were up when it began, of those that began while it lasted, of all others.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.measure.calls import is_ours
from harness.measure.distribution import Estimate
from harness.measure.injections import Injection
from harness.measure.rolling import Breach, Point, Reading, breaches, slide
from harness.measure.run import Measured
from harness.measure.windows import AFTER, BEFORE, DURING, fault_windows, holds, lies
from harness.model.clock import NS_PER_S
from harness.model.errors import ScenarioError
from harness.model.fault import Direction, Symptom, Unmoved
from harness.model.records import CallRecord, Outcome
from harness.verdict.alerts import Alert
from harness.verdict.measures import Measure, parse_measure
from harness.verdict.readings import figure_of, is_measured, readings_of

STEADY = ("ttfb_ms p50", "ttfb_ms p95", "response_ratio", "setup_ms p95", "wer", "drop_off", "error_rate")
# A symptom is looked for over stretches of so long.
_OVER_NS = 10 * NS_PER_S
# What shows so much before a fault is told of, was there before it.
_SLACK_NS = NS_PER_S
_NOT_INJECTED = "the fault was not injected"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure in one stretch; None = not measured there, or on too few."""

    estimate: Estimate | None
    n: int


@dataclass(frozen=True, slots=True)
class SteadyRow:
    """One measure before, during and after the fault."""

    measure: Measure
    before: Figure
    during: Figure
    after: Figure


@dataclass(frozen=True, slots=True)
class Claim:
    """Something declared of the fault; `is_kept` None = not to be told, `why` says why, or what was seen."""

    # "symptom", "unmoved" or "recovery".
    kind: str
    words: str
    is_kept: bool | None
    why: str

    @property
    def decides(self) -> bool:
        """Whether the run fails where it is refuted. A symptom's does not: with the fix on it must not show."""
        return self.kind != "symptom"


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that met the fault in one way."""

    name: str
    n: int
    n_lost: int

    @property
    def lost_ratio(self) -> float | None:
        """Share of them that were dropped or failed."""
        return self.n_lost / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class FaultTimeline:
    """All of it for one fault. Times in seconds; None = it did not happen, or nobody could tell."""

    injection: Injection
    start_ns: float
    end_ns: float | None
    steady: tuple[SteadyRow, ...]
    onset_s: float | None
    # What showed first.
    onset_by: str
    detected_s: float | None
    detected_by: str
    recovered_s: float | None
    # Whether what showed was still there at the end of what was seen.
    is_unrecovered: bool
    # What was over while the fault still lasted, and what was over once it had gone: of both nobody did anything.
    over_during: tuple[str, ...]
    over_after: tuple[str, ...]
    blast: tuple[Group, ...]
    claims: tuple[Claim, ...]


def timelines_of(run: Measured, alerts: Sequence[Alert]) -> list[FaultTimeline]:
    """Return a timeline for each fault that began, in that order; nothing that showed is one's that did nothing."""
    begun = [one for one in run.faults if one.started_at_ns is not None]
    return [_Fault(one, run, alerts).timeline() for one in sorted(begun, key=lambda one: one.started_at_ns or 0)]


def claims_broken(timelines: Iterable[FaultTimeline]) -> list[str]:
    """Return a sentence for each thing that must not have moved and did, and each recovery that came too late."""
    return [
        f"fault {one.injection.fault.name}: {claim.words}: {claim.why}"
        for one in timelines
        for claim in one.claims
        if claim.is_kept is False and claim.decides
    ]


@dataclass(frozen=True, slots=True)
class _Showing:
    """Something that shows a fault: a stretch of a symptom, or of an alert."""

    name: str
    breach_start_ns: float
    breach_end_ns: float
    is_open: bool


class _Fault:
    def __init__(self, injection: Injection, run: Measured, alerts: Sequence[Alert]) -> None:
        self._injection, self._run, self._alerts = injection, run, alerts
        self._start = float(injection.started_at_ns or 0)
        stopped = injection.stopped_at_ns
        self._end = None if stopped is None else float(stopped)
        (self._window,) = fault_windows([injection])

    def timeline(self) -> FaultTimeline:
        shown = self._showing()
        first = min(shown, key=lambda one: one.breach_start_ns, default=None)
        alarm = min(self._own_alerts(), key=lambda a: a.fired_ns, default=None)
        recovered = self._recovery(shown)
        is_open = any(one.is_open for one in shown)
        return FaultTimeline(
            injection=self._injection,
            start_ns=self._start,
            end_ns=self._end,
            steady=tuple(self._row(parse_measure(text)) for text in STEADY),
            onset_s=max(0.0, first.breach_start_ns - self._start) / NS_PER_S if first else None,
            onset_by=first.name if first else "",
            detected_s=max(0.0, alarm.fired_ns - self._start) / NS_PER_S if alarm else None,
            detected_by=alarm.title if alarm else "",
            recovered_s=recovered,
            is_unrecovered=is_open and self._end is not None,
            over_during=self._over(shown, lambda at: self._end is None or at < self._end),
            over_after=self._over(shown, lambda at: self._end is not None and at >= self._end),
            blast=_blast(self._run.calls, self._start, math.inf if self._end is None else self._end),
            claims=(*self._claims(), *self._recovery_claim(recovered, is_open=is_open, n_shown=len(shown))),
        )

    def _is_ours(self, at_ns: float) -> bool:
        """Return whether what began then may be of this fault: until it ends, or has had time to show."""
        return self._injection.is_injected and (self._end is None or at_ns <= self._end + _OVER_NS)

    def _own_alerts(self) -> list[Alert]:
        # A stretch of ten seconds that the fault began in the middle of is the fault's, and begins before it.
        return [a for a in self._alerts if a.shown_ns >= self._start - _SLACK_NS and self._is_ours(a.began_ns)]

    # --- steady state ----------------------------------------------------------------------------------------------

    def _figure(self, measure: Measure, relation: str) -> Figure:
        spans = self._window.related(relation)
        found = [one for one in self._readings(measure) if lies(spans, relation, one.at_ns, one.known_ns)]
        estimate, n = figure_of(measure.metric, measure.aggregate)(found)
        return Figure(estimate if n >= measure.metric.min_samples and n else None, n)

    def _readings(self, measure: Measure) -> list[Reading]:
        if not is_measured(measure.metric, self._run):
            return []
        return [reading for reading, _ in readings_of(measure.metric, self._run, measure.tags)]

    def _row(self, measure: Measure) -> SteadyRow:
        before, during, after = (self._figure(measure, relation) for relation in (BEFORE, DURING, AFTER))
        return SteadyRow(measure, before, during, after)

    # --- what shows ------------------------------------------------------------------------------------------------

    def _showing(self) -> list[_Showing]:
        symptoms = self._injection.fault.symptoms
        if not symptoms:
            return [
                _Showing(a.title, a.began_ns, a.ended_ns if a.ended_ns is not None else a.fired_ns, a.ended_ns is None)
                for a in self._own_alerts()
            ]
        return [
            _Showing(symptom.metric, breach.start_ns, breach.end_ns, breach.is_open)
            for symptom in symptoms
            for breach in self._breaches(symptom)
        ]

    def _breaches(self, symptom: Symptom) -> list[Breach]:
        measure = _parsed(symptom.metric)
        before = None if measure is None else self._figure(measure, BEFORE).estimate
        if measure is None or before is None or not measure.metric.is_windowed:
            return []
        readings = sorted(self._readings(measure), key=lambda reading: reading.at_ns)
        if not readings:
            return []
        points: list[Point] = list(
            slide(
                readings,
                figure_of(measure.metric, measure.aggregate),
                over_ns=_OVER_NS,
                min_samples=measure.metric.min_samples,
                start_ns=self._start,
                end_ns=max(readings[-1].at_ns, self._start) + 1,
            )
        )
        is_up = symptom.direction is Direction.UP
        found = breaches(points, lambda now: _has_moved(before, now, symptom), is_low_bad=not is_up)
        return [one for one in found if self._is_ours(one.start_ns)]

    def _recovery(self, shown: Sequence[_Showing]) -> float | None:
        if self._end is None or not shown or any(one.is_open for one in shown):
            return None
        return max(0.0, max(one.breach_end_ns for one in shown) - self._end) / NS_PER_S

    def _over(self, shown: Sequence[_Showing], is_then: Callable[[float], bool]) -> tuple[str, ...]:
        last = {one.name: one for one in sorted(shown, key=lambda one: one.breach_end_ns)}
        return tuple(one.name for one in last.values() if not one.is_open and is_then(one.breach_end_ns))

    # --- claims ----------------------------------------------------------------------------------------------------

    def _claims(self) -> list[Claim]:
        fault = self._injection.fault
        return [*map(self._symptom_claim, fault.symptoms), *map(self._unmoved_claim, fault.unmoved)]

    def _symptom_claim(self, symptom: Symptom) -> Claim:
        words = f"{symptom.metric} goes {symptom.direction.value} by {symptom.by:g}"
        both = self._both(symptom.metric)
        if isinstance(both, str):
            return Claim("symptom", words, None, both)
        return Claim("symptom", words, _has_moved(*both, symptom), _from_to(*both))

    def _unmoved_claim(self, unmoved: Unmoved) -> Claim:
        words = f"{unmoved.metric} stays within {unmoved.within:g}"
        both = self._both(unmoved.metric)
        if isinstance(both, str):
            return Claim("unmoved", words, None, both)
        before, during = both
        if before.is_lower_bound or during.is_lower_bound:
            return Claim("unmoved", words, None, f"unanswered turns leave it open: {_from_to(*both)}")
        return Claim("unmoved", words, abs(during.value - before.value) <= unmoved.within, _from_to(*both))

    def _both(self, text: str) -> tuple[Estimate, Estimate] | str:
        """Return the figure before and during the fault, or why there are none."""
        measure = _parsed(text)
        if measure is None:
            return "not a measure"
        if not self._injection.is_injected:
            return _NOT_INJECTED
        figures = [(relation, self._figure(measure, relation)) for relation in (BEFORE, DURING)]
        missing = [f"{figure.n} {measure.metric.sample} {r} it" for r, figure in figures if figure.estimate is None]
        before, during = (figure.estimate for _, figure in figures)
        if before is None or during is None:
            return f"not measured: {', '.join(missing)}"
        return before, during

    def _recovery_claim(self, recovered: float | None, *, is_open: bool, n_shown: int) -> list[Claim]:
        within_ms = self._injection.fault.recovers_within_ms
        if within_ms is None:
            return []
        words = f"recovers within {within_ms / 1000:g} s"
        if not self._injection.is_injected:
            return [Claim("recovery", words, None, _NOT_INJECTED)]
        if self._end is None:
            return [Claim("recovery", words, None, "the run ended before the fault did")]
        if not n_shown:
            return [Claim("recovery", words, None, "nothing showed that could recover")]
        if is_open:
            return [Claim("recovery", words, False, "it still showed at the end of the run")]
        return [Claim("recovery", words, (recovered or 0.0) * 1000 <= within_ms, f"it took {recovered or 0.0:.0f} s")]


def _parsed(text: str) -> Measure | None:
    try:
        return parse_measure(text)
    except ScenarioError:
        return None


def _has_moved(before: Estimate, now: Estimate, symptom: Symptom) -> bool:
    """Return whether a figure certainly moved as far as declared."""
    if symptom.direction is Direction.UP:
        return before.upper is not None and now.value - before.upper >= symptom.by
    return now.upper is not None and before.value - now.upper >= symptom.by


def _from_to(before: Estimate, during: Estimate) -> str:
    return f"{_bounded(before)} before, {_bounded(during)} during"


def _bounded(estimate: Estimate) -> str:
    return ("at least " if estimate.is_lower_bound else "") + f"{estimate.value:,.4g}"


def _blast(calls: Iterable[CallRecord], start: float, end: float) -> tuple[Group, ...]:
    names = ("up when it began", "begun while it lasted", "others")
    counts = {name: [0, 0] for name in names}
    for call in calls:
        if is_ours(call):
            continue
        begun = call.started_at_ns if call.due_at_ns is None else call.due_at_ns
        is_up = call.connected_at_ns is not None and begun < start <= call.ended_at_ns
        row = counts[names[0] if is_up else names[1] if holds([(start, end)], begun) else names[2]]
        row[0] += 1
        row[1] += call.outcome in {Outcome.DROPPED, Outcome.FAILED}
    return tuple(Group(name, n, lost) for name, (n, lost) in counts.items())
