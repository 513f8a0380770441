"""Alerts: the runbook's rules stretch by stretch, over what could be known at each instant.

A rule's condition has to hold without a break for as long as the rule says; then its alert fires. It ends with the
first stretch that no longer meets the condition. A turn without an answer is known of at its time-out, not when its
user stopped speaking: an alert fires when somebody could have seen it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.measure.distribution import Estimate
from harness.measure.rolling import Breach
from harness.model.clock import NS_PER_MS
from harness.verdict.chosen import Chosen, choose
from harness.verdict.readings import Records
from harness.verdict.rules import Rule
from harness.verdict.stretches import course_of


@dataclass(frozen=True, slots=True)
class Alert:
    """One firing of a rule; times on the run's axis."""

    rule: Rule
    # "accent:british" of a rule by accent, else "".
    segment: str
    # When the condition began to hold: within the stretch from here to `shown_ns`, at whose end it could be seen.
    began_ns: float
    shown_ns: float
    # When it had held for long enough.
    fired_ns: float
    # None = it held to the end of what was seen.
    ended_ns: float | None
    worst: Estimate
    n: int

    @property
    def title(self) -> str:
        """The rule's title, with the segment."""
        return self.rule.title + (f" [{self.segment}]" if self.segment else "")


def alerts_of(rules: Iterable[Rule], run: Records) -> list[Alert]:
    """Return the alerts of `rules` over `run`, in the order in which they fire."""
    found = [alert for rule in rules for chosen in _chosen(rule, run) for alert in _alerts(rule, chosen)]
    return sorted(found, key=lambda alert: (alert.fired_ns, alert.rule.severity, alert.rule.name))


def _chosen(rule: Rule, run: Records) -> Sequence[Chosen]:
    return [] if rule.when.clauses.window_ms is None else [one for one in choose(rule.when, run) if not one.why]


def _alerts(rule: Rule, chosen: Chosen) -> list[Alert]:
    needed_ns = (rule.when.clauses.sustained_ms or 0.0) * NS_PER_MS
    course = course_of(rule.when, chosen, is_rule=True)
    return [_alert(rule, chosen.segment, one, needed_ns) for one in course.breaches if one.length_ns >= needed_ns]


def _alert(rule: Rule, segment: str, breach: Breach, needed_ns: float) -> Alert:
    return Alert(
        rule=rule,
        segment=segment,
        began_ns=breach.start_ns,
        shown_ns=breach.first_ns,
        fired_ns=min(breach.end_ns, max(breach.first_ns, breach.start_ns + needed_ns)),
        ended_ns=None if breach.is_open else breach.end_ns,
        worst=breach.worst,
        n=breach.n,
    )
