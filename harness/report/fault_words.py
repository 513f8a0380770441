"""What was broken on purpose, as reports tell it: each fault, when, and what proves that it was injected."""

from dataclasses import dataclass
from typing import Any

from harness.measure.injections import Injection
from harness.model.clock import NS_PER_S
from harness.model.codec import to_json
from harness.model.fault import Fault
from harness.report.store import StoredRun

# Of the calls touched, in summary.json.
_MOST_CALLS = 100


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One fault as tables show it."""

    name: str
    kind: str
    # "20 s to 50 s".
    when: str
    # "stage llm, delay_ms 1500; half of the calls".
    what: str
    # "requests delayed 41 (seen 41)", or why it was not injected.
    evidence: str
    is_injected: bool
    # Why it may be in force still; "" = it was undone.
    not_undone: str
    # "ttfb_ms p95 up by 1000": what was claimed of it.
    claims: str = ""


def rows_of(run: StoredRun) -> list[FaultRow]:
    """Return the faults of a run."""
    begun_ns = run.info.first_due_monotonic_ns or run.info.started_monotonic_ns or 0
    return [_row(one, begun_ns) for one in run.faults]


def _row(one: Injection, begun_ns: int) -> FaultRow:
    return FaultRow(
        name=one.fault.name,
        kind=one.fault.kind,
        when=_when(one, begun_ns),
        what=_what(one.fault),
        evidence=_evidence(one),
        is_injected=one.is_injected,
        not_undone=one.not_undone,
        claims=_claims(one.fault),
    )


def _when(one: Injection, begun_ns: int) -> str:
    if one.started_at_ns is None:
        return "never"
    begin = f"{max(0, one.started_at_ns - begun_ns) / NS_PER_S:.1f} s"
    if one.stopped_at_ns is None:
        return f"{begin} to the end"
    return f"{begin} to {max(0, one.stopped_at_ns - begun_ns) / NS_PER_S:.1f} s"


def _what(fault: Fault) -> str:
    parts = [f"{name} {_plain(value)}" for name, value in fault.parameters.items()]
    chosen = fault.filter
    only = [f"{chosen.share:.0%} of them"] if chosen.share < 1 else []
    only += [f"callers {', '.join(chosen.callers)}"] if chosen.callers else []
    only += [f"targets {', '.join(chosen.targets)}"] if chosen.targets else []
    return "; ".join(text for text in (", ".join(parts), ", ".join(only)) if text)


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _evidence(one: Injection) -> str:
    if not one.is_injected:
        return f"not injected: {one.why_not}"
    counts = ", ".join(f"{name} {value:g}" for name, value in one.evidence.counts.items())
    told = f"{one.evidence.what or 'touched'} {one.evidence.touched}" + (f" ({counts})" if counts else "")
    return f"{told}; {one.failure}" if one.failure else told


def _claims(fault: Fault) -> str:
    said = [f"{s.metric} {s.direction.value} by {s.by:g}" for s in fault.symptoms]
    said += [f"{u.metric} within {u.within:g}" for u in fault.unmoved]
    if fault.recovers_within_ms is not None:
        said.append(f"recovers within {fault.recovers_within_ms / 1000:g} s")
    return "; ".join(said)


def faults_json(run: StoredRun) -> list[dict[str, Any]]:
    """Return the faults as summary.json has them; times in ms after the first instant a call could be due."""
    begun_ns = run.info.first_due_monotonic_ns or run.info.started_monotonic_ns or 0
    return [
        {
            **to_json(one.fault),
            "started_ms": _ms(one.started_at_ns, begun_ns),
            "stopped_ms": _ms(one.stopped_at_ns, begun_ns),
            "injected": one.is_injected,
            "why_not": one.why_not,
            "failure": one.failure,
            "not_undone": one.not_undone,
            "evidence": {**to_json(one.evidence), "calls": list(one.evidence.calls[:_MOST_CALLS])},
        }
        for one in run.faults
    ]


def _ms(at_ns: int | None, begun_ns: int) -> float | None:
    return None if at_ns is None else round((at_ns - begun_ns) / 1e6, 3)
