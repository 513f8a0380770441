"""What each fault did to the run, as text, rows of tables and JSON."""

from collections.abc import Sequence
from typing import Any

from harness.measure.distribution import Estimate
from harness.report.words import NOT_MEASURED, bounded_ms, percent
from harness.verdict.timeline import Claim, FaultTimeline, Figure, SteadyRow

_STATE = {True: "kept", False: "refuted", None: "not told"}
_SYMPTOM_STATE = {True: "shown", False: "not shown", None: "not told"}


def figure(row: SteadyRow, found: Figure) -> str:
    """Return a figure with its unit."""
    if found.estimate is None:
        return NOT_MEASURED
    if row.measure.metric.unit == "ms":
        return bounded_ms(found.estimate)
    return percent(found.estimate.value) if row.measure.metric.unit == "ratio" else f"{found.estimate.value:g}"


def state_of(claim: Claim) -> str:
    """Return what became of a claim, in a word or two."""
    return (_SYMPTOM_STATE if claim.kind == "symptom" else _STATE)[claim.is_kept]


def moments(one: FaultTimeline) -> list[tuple[str, str]]:
    """Return (moment, when and by what); of a fault that did nothing, that."""
    if not one.injection.is_injected:
        return [("not injected", one.injection.why_not)]
    return [
        ("symptom onset", _onset(one)),
        ("detected", _after(one.detected_s, one.detected_by) if one.detected_s is not None else "no alert fired"),
        ("recovered", _recovery(one)),
    ]


def _onset(one: FaultTimeline) -> str:
    if one.onset_s is not None:
        return _after(one.onset_s, one.onset_by)
    # Without a steady state nothing could have been seen to move.
    is_known = any(row.before.estimate is not None and row.during.estimate is not None for row in one.steady)
    return "nothing showed" if is_known else "not measured: too little before or during it"


def _after(seconds: float | None, by: str) -> str:
    return f"{seconds:.0f} s after it began, by {by}"


def _recovery(one: FaultTimeline) -> str:
    if one.onset_s is None:
        return "nothing had to"
    if one.end_ns is None:
        return "the fault lasted to the end of the run"
    if one.is_unrecovered or one.recovered_s is None:
        return "not within the run"
    return f"{one.recovered_s:.0f} s after it ended" if one.recovered_s else "while it still lasted"


def by_itself(one: FaultTimeline) -> str:
    """Return what was over without anybody's doing."""
    parts = [
        f"{', '.join(names)} {when}"
        for names, when in ((one.over_during, "while it lasted"), (one.over_after, "once it had gone"))
        if names
    ]
    return "; ".join(parts) or "nothing"


def text_lines(timelines: Sequence[FaultTimeline]) -> list[str]:
    """Return the section for a terminal."""
    lines: list[str] = []
    for one in timelines:
        lines.append(f"Fault {one.injection.fault.name} ({one.injection.fault.kind})")
        lines += [f"  {name:<16}{told}" for name, told in moments(one)]
        if not one.injection.is_injected:
            continue
        lines.append(f"  {'by itself':<16}{by_itself(one)}")
        lines.append(f"  {'':<18}{'before':>14}{'during':>14}{'after':>14}")
        lines += [
            f"  {row.measure.words:<18}" + "".join(f"{figure(row, f):>14}" for f in (row.before, row.during, row.after))
            for row in one.steady
        ]
        lines += [f"  calls {g.name}: {g.n}, {g.n_lost} lost ({percent(g.lost_ratio)})" for g in one.blast if g.n]
        lines += [f"  {state_of(c):<10}{c.words}: {c.why}" for c in one.claims]
    return lines


def to_json(one: FaultTimeline) -> dict[str, Any]:
    """Return a timeline; times in seconds after the fault's begin, recovery after its end; null = not, or not told."""
    return {
        "fault": one.injection.fault.name,
        "kind": one.injection.fault.kind,
        "onset_s": _round(one.onset_s),
        "onset_by": one.onset_by or None,
        "detected_s": _round(one.detected_s),
        "detected_by": one.detected_by or None,
        "recovered_s": _round(one.recovered_s),
        "is_unrecovered": one.is_unrecovered,
        "over_during": list(one.over_during),
        "over_after": list(one.over_after),
        "steady_state": {
            row.measure.words: {
                name: {"value": _value(found.estimate), "is_lower_bound": _bound(found.estimate), "n": found.n}
                for name, found in (("before", row.before), ("during", row.during), ("after", row.after))
            }
            for row in one.steady
        },
        "blast_radius": [
            {"calls": g.name, "n": g.n, "lost": g.n_lost, "ratio": _round(g.lost_ratio)} for g in one.blast
        ],
        "claims": [
            {"kind": c.kind, "claim": c.words, "is_kept": c.is_kept, "state": state_of(c), "why": c.why}
            for c in one.claims
        ],
    }


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else round(estimate.value, 6)


def _bound(estimate: Estimate | None) -> bool:
    return bool(estimate and estimate.is_lower_bound)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
