"""The incident report of a run: the seed's template, filled from the records.

Severity, duration and impact come from alerts and calls, the timeline from faults, alerts and what people noted, the
metrics from before, during and after. What nobody told (a root cause, who acknowledged) is said to be not told; what
was broken on purpose is named as the cause that the run itself knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from harness.incidents.incident import About
from harness.measure.calls import is_error, is_ours
from harness.measure.injections import Injection
from harness.measure.windows import Span, holds
from harness.model.clock import NS_PER_S
from harness.model.records import CallRecord, Outcome
from harness.report.alert_words import clock, figure
from harness.report.analysis import Analysis, first_due_ns
from harness.report.words import NOT_MEASURED, bounded_ms, percent, seconds
from harness.verdict.alerts import Alert
from harness.verdict.measures import Measure, parse_measure
from harness.verdict.readings import figure_of, readings_of
from harness.verdict.rules import Severity

_METRICS = (("TTFB P95", "ttfb_ms p95"), ("Drop-off rate", "drop_off"), ("Error rate", "error_rate"), ("WER", "wer"))
_NOT_TOLD = "not told"


@dataclass(frozen=True, slots=True)
class MetricLine:
    """A metric during the incident, after it, and as it normally is."""

    title: str
    during: str
    after: str
    normal: str


@dataclass(frozen=True, slots=True)
class Report:
    """The template, filled; every text is for people."""

    title: str
    severity: str
    duration: str
    impact: str
    facts: tuple[tuple[str, str], ...]
    # (time, what), in order.
    timeline: tuple[tuple[str, str], ...]
    root_cause: tuple[str, ...]
    metrics: tuple[MetricLine, ...]
    normal_is: str
    # (kind, what, done).
    actions: tuple[tuple[str, str, bool], ...]
    notes: tuple[str, ...]


def report_of(analysis: Analysis, about: About | None = None, normal: Analysis | None = None) -> Report:
    """Return the report of a run; `about` is what people know of it, `normal` a run to take normal figures from."""
    return _Builder(analysis, about or About(title=analysis.run.info.scenario_name), normal).build()


class _Builder:
    def __init__(self, analysis: Analysis, about: About, normal: Analysis | None) -> None:
        self._analysis, self._about, self._normal = analysis, about, normal
        self._begun = float(first_due_ns(analysis.run) or 0)
        self._ended = max([self._begun, *(float(call.ended_at_ns) for call in analysis.run.calls)])
        self._span = self._incident()

    def build(self) -> Report:
        info = self._analysis.run.info
        facts = [
            ("Run", info.run_id),
            ("Verdict", f"{self._analysis.verdict.kind.value}: {self._analysis.verdict.deciding}"),
            ("Target", str(info.target.get("url", "unknown"))),
            *(("Happened", self._about.started_at.isoformat()) for _ in [0] if self._about.started_at),
            *(("Link", link) for link in self._about.links),
        ]
        return Report(
            title=self._about.title,
            severity=self._severity(),
            duration=self._duration(),
            impact=self._impact(),
            facts=tuple(facts),
            timeline=tuple(self._timeline()),
            root_cause=tuple(self._root_cause()),
            metrics=tuple(self._metric(title, parse_measure(text)) for title, text in _METRICS),
            normal_is=self._normal_is(),
            actions=tuple(self._actions()),
            notes=(*self._about.notes, *self._analysis.notes),
        )

    def _incident(self) -> Span | None:
        """Return from when to when something was wrong: alerts and faults together; None where nothing was."""
        # What did nothing is no part of what happened.
        faults = [one for one in self._analysis.timelines if one.injection.is_injected]
        starts = [*(a.began_ns for a in self._analysis.alerts), *(one.start_ns for one in faults)]
        ends = [
            *(self._ended if a.ended_ns is None else a.ended_ns for a in self._analysis.alerts),
            *(self._ended if one.end_ns is None else one.end_ns for one in faults),
        ]
        return (max(self._begun, min(starts)), max(ends)) if starts else None

    def _severity(self) -> str:
        if self._about.severity is not None:
            return self._about.severity
        worst = min((alert.rule.severity for alert in self._analysis.alerts), default=None)
        return worst.value if worst else f"none ({Severity.P3} or worse needs an alert, and none fired)"

    def _duration(self) -> str:
        if self._span is None:
            return "nothing was wrong by the runbook"
        start, end = self._span
        minutes = (end - start) / NS_PER_S / 60
        is_open = any(alert.ended_ns is None for alert in self._analysis.alerts) or bool(self._not_undone())
        open_words = ", and going on as the run ended" if is_open else ""
        return f"{self._when(start)} -> {self._when(end)} ({minutes:.1f} minutes{open_words})"

    def _impact(self) -> str:
        counted = [call for call in self._analysis.run.calls if not is_ours(call)]
        if not counted:
            return "no call counts"
        touched = [call for call in counted if self._overlaps(call)]
        lost = [call for call in touched if call.outcome in {Outcome.DROPPED, Outcome.FAILED}]
        failed = sum(map(is_error, lost))
        parts = f"{len(lost)} calls lost ({failed} by errors, {len(lost) - failed} by callers who left)"
        return f"{len(touched) / len(counted):.0%} of calls affected ({len(touched)} of {len(counted)}), {parts}"

    def _overlaps(self, call: CallRecord) -> bool:
        if self._span is None:
            return False
        begun = call.started_at_ns if call.due_at_ns is None else call.due_at_ns
        return begun < self._span[1] and call.ended_at_ns > self._span[0]

    def _not_undone(self) -> list[Injection]:
        return [one for one in self._analysis.run.faults if one.not_undone]

    # --- timeline --------------------------------------------------------------------------------------------------

    def _timeline(self) -> list[tuple[str, str]]:
        told: list[tuple[float, str]] = [(self._begun, "First call")]
        for one in self._analysis.timelines:
            fault = one.injection.fault
            nothing = "" if one.injection.is_injected else ", which touched nothing"
            told.append((one.start_ns, f"Fault began: {fault.name} ({fault.kind}){nothing}"))
            if one.end_ns is not None:
                told.append((one.end_ns, f"Fault ended: {fault.name}"))
            if one.recovered_s and one.end_ns is not None:
                told.append((one.end_ns + one.recovered_s * NS_PER_S, f"Recovered from {fault.name}"))
        for alert in self._analysis.alerts:
            told.append((alert.fired_ns, self._fired(alert)))
            if alert.ended_ns is not None:
                told.append((alert.ended_ns, f"Back to normal: {alert.title}"))
        told += [(self._begun + moment.at_s * NS_PER_S, moment.what) for moment in self._about.timeline]
        told.append((self._ended, "Last call ended"))
        return [(self._when(at), what) for at, what in sorted(told, key=lambda one: one[0])]

    def _fired(self, alert: Alert) -> str:
        worst = figure(alert.rule, alert.worst)
        return f"Alert triggered, {alert.rule.severity}: {alert.title}, {alert.rule.when.expression} ({worst} at worst)"

    def _when(self, at_ns: float) -> str:
        """Return wall clock time where the run knows it, and the run's own."""
        info = self._analysis.run.info
        own = clock(at_ns, self._begun)
        if info.started_at is None or info.started_monotonic_ns is None:
            return own
        at: datetime = info.started_at + timedelta(seconds=(at_ns - info.started_monotonic_ns) / NS_PER_S)
        return f"{at:%H:%M:%S} (+{own})"

    # --- cause, metrics, actions -----------------------------------------------------------------------------------

    def _root_cause(self) -> list[str]:
        told = [self._about.root_cause] if self._about.root_cause else []
        for one in self._analysis.timelines:
            fault = one.injection.fault
            if not one.injection.is_injected:
                told.append(f"Not injected, so no cause: {fault.name} ({fault.kind}): {one.injection.why_not}.")
                continue
            what = one.injection.evidence.what or "done"
            words = f"Broken on purpose: {fault.name} ({fault.kind}, {one.injection.evidence.touched} {what})."
            showed = f" First seen in {one.onset_by}, {one.onset_s:.0f} s later." if one.onset_s is not None else ""
            not_undone = f" It was not undone: {one.injection.not_undone}." if one.injection.not_undone else ""
            told.append(words + showed + not_undone)
        causes = self._analysis.measured.drop_off.by_cause
        if causes:
            told.append("Calls ended by: " + ", ".join(f"{cause} {n}" for cause, n in causes.items()) + ".")
        slow = self._slowest_stage()
        return [*told, *([slow] if slow else [])] or [
            f"{_NOT_TOLD}: the run shows no cause, and nobody wrote one down."
        ]

    def _slowest_stage(self) -> str | None:
        groups = {group.name: group for group in self._analysis.measured.stages.groups}
        fast, slow = groups.get("faster half"), groups.get("slowest tenth")
        if fast is None or slow is None:
            return None
        grown = {stage: slow.parts[stage] - fast.parts[stage] for stage in slow.parts}
        worst = max(grown, key=lambda stage: grown[stage])
        return f"What makes slow turns slow: {worst}, {grown[worst]:,.0f} ms more than in the faster half."

    def _metric(self, title: str, measure: Measure) -> MetricLine:
        during = [self._span] if self._span else []
        after = [(self._span[1], float("inf"))] if self._span else []
        return MetricLine(
            title,
            self._figure(self._analysis, measure, during),
            self._figure(self._analysis, measure, after),
            self._normal_figure(measure),
        )

    def _normal_figure(self, measure: Measure) -> str:
        if self._normal is not None:
            return self._figure(self._normal, measure, [(float("-inf"), float("inf"))])
        before = [(float("-inf"), self._span[0])] if self._span else [(float("-inf"), float("inf"))]
        return self._figure(self._analysis, measure, before)

    def _normal_is(self) -> str:
        if self._normal is not None:
            return f"normal: run {self._normal.run.info.run_id}"
        return "normal: this run before the incident" if self._span else "normal: this run, nothing was wrong"

    def _figure(self, analysis: Analysis, measure: Measure, spans: Sequence[Span]) -> str:
        found = [
            reading for reading, _ in readings_of(measure.metric, analysis.measured, {}) if holds(spans, reading.at_ns)
        ]
        estimate, n = figure_of(measure.metric, measure.aggregate)(found)
        if estimate is None or n < measure.metric.min_samples:
            return NOT_MEASURED if not n else f"{NOT_MEASURED} ({n} {measure.metric.sample})"
        shown = bounded_ms(estimate) if measure.metric.unit == "ms" else percent(estimate.value)
        return f"{shown} (n {n})"

    def _actions(self) -> list[tuple[str, str, bool]]:
        own = [(action.kind, action.what, action.done) for action in self._about.actions]
        # Whatever else there is to do: what was let loose on the target may be in force there.
        broken = [
            ("short-term", f"Undo the fault {one.fault.name} ({one.fault.kind}): {one.not_undone}", False)
            for one in self._not_undone()
        ]
        by_rule = dict.fromkeys(("short-term", alert.rule.action, False) for alert in self._analysis.alerts)
        late = [
            ("monitoring", f"Fault {one.injection.fault.name} raised no alert: add one that would have seen it", False)
            for one in self._analysis.timelines
            if one.detected_s is None and one.onset_s is not None
        ]
        slow = [
            ("monitoring", f"Detection took {seconds(one.detected_s)}: shorten `sustained` of its rule", False)
            for one in self._analysis.timelines
            if one.detected_s is not None and one.detected_s > 120
        ]
        return [*broken, *own, *by_rule, *late, *slow] or [("monitoring", "none: no alert fired", True)]
