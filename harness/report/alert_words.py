"""Alerts in words, as JSON, and as the lines of alerts.jsonl."""

import json
from collections.abc import Sequence
from typing import Any

from harness.measure.distribution import Estimate
from harness.model.clock import NS_PER_S
from harness.report.words import bounded_ms, percent
from harness.verdict.alerts import Alert
from harness.verdict.rules import Rule

_MOST = 12


def clock(at_ns: float, begun_ns: float | None) -> str:
    """Return an instant as minutes and seconds of the run, "12:05"."""
    seconds = round((at_ns - (begun_ns or 0)) / NS_PER_S)
    return f"{'-' if seconds < 0 else ''}{abs(seconds) // 60}:{abs(seconds) % 60:02d}"


def figure(rule: Rule, value: Estimate) -> str:
    """Return a rule's figure with its unit."""
    if rule.unit == "ms":
        return bounded_ms(value)
    sign = "≥ " if value.is_lower_bound else ""
    return sign + (percent(value.value) if rule.unit == "ratio" else f"{value.value:g}")


def words(alert: Alert, begun_ns: float | None) -> str:
    """Return an alert in a sentence."""
    until = "the end" if alert.ended_ns is None else clock(alert.ended_ns, begun_ns)
    span = f"{clock(alert.began_ns, begun_ns)} to {until}, fired at {clock(alert.fired_ns, begun_ns)}"
    return (
        f"{alert.rule.severity} {alert.title}: {figure(alert.rule, alert.worst)} at worst, {span}. {alert.rule.action}"
    )


def to_json(alert: Alert, begun_ns: float | None) -> dict[str, Any]:
    """Return an alert; times in seconds after the first instant a call could be due, null = still going on."""
    origin = begun_ns or 0
    ended = None if alert.ended_ns is None else round((alert.ended_ns - origin) / NS_PER_S, 3)
    return {
        "rule": alert.rule.name,
        "title": alert.rule.title,
        "segment": alert.segment or None,
        "severity": alert.rule.severity.value,
        "when": alert.rule.when.expression,
        "action": alert.rule.action,
        "began_s": round((alert.began_ns - origin) / NS_PER_S, 3),
        "fired_s": round((alert.fired_ns - origin) / NS_PER_S, 3),
        "ended_s": ended,
        "worst": round(alert.worst.value, 6),
        "is_lower_bound": alert.worst.is_lower_bound,
        "n": alert.n,
    }


def to_lines(alerts: Sequence[Alert], begun_ns: float | None) -> str:
    """Return alerts.jsonl: one object a line, "" where nothing fired."""
    return "".join(json.dumps(to_json(alert, begun_ns), ensure_ascii=False) + "\n" for alert in alerts)


def text_lines(alerts: Sequence[Alert], begun_ns: float | None) -> list[str]:
    """Return the alerts for a terminal, the first ones of many."""
    lines = [words(alert, begun_ns) for alert in alerts[:_MOST]]
    return [*lines, *([f"and {len(alerts) - _MOST} more, in alerts.jsonl"] if len(alerts) > _MOST else [])]
