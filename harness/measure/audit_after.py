"""After the load: what is left in each process of the target, and whether every process lived.

Rest     the last sample after the load less the first one, taken before any call. A process that took another one's
         place is held against that one's first sample: it is the same program. Two that are there at once are not, by
         whatever name: each of several targets has an `agent`.
Alive    a process that ended was ended by order, as the target says, or by a fault that was declared, and then another
         one has its name afterwards.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.measure.audit_rows import AuditRow, Check, Load
from harness.measure.audit_rules import AuditRules
from harness.measure.audit_series import Series
from harness.measure.injections import Injection
from harness.model.audit_sample import AuditSample, Side
from harness.model.clock import NS_PER_S

# The process that samples, and so lives until the end.
RUN_PROCESS = "callquake run"
# A process that a fault ended is missed so long after it, at most, and a sample's interval.
_NOTICED_S = 15.0
# Kinds of faults that end processes, or may; of a hook, a command of the user's, nobody knows.
ENDING = frozenset(
    {
        "coturn.stop",
        "gpu.loss",
        "hook.command",
        "hook.http",
        "hook.kubectl",
        "media_server.kill",
        "process.kill",
        "stage.worker_kill",
        "target.memory_growth",
    }
)
_ALIVE = "process"


def rest_rows(series: Sequence[Series], rules: AuditRules, load: Load) -> list[AuditRow]:
    """Judge what each process of the target that is still there has left."""
    return [
        row
        for one in series
        if one.is_after and one.first.side is Side.TARGET
        for quantity, bound in rules.left_after.items()
        if (row := _left(one, _first_of_place(one, series), quantity, bound, load)) is not None
    ]


def _first_of_place(one: Series, series: Sequence[Series]) -> AuditSample:
    """Return the first sample of the first process, gone by now, that had a process's place; else its own."""
    before = [o for o in series if o.key == one.key and o.first.at_ns < one.first.at_ns and not o.is_after]
    return min((o.first for o in before), key=lambda sample: sample.at_ns, default=one.first)


def _left(one: Series, first: AuditSample, quantity: str, bound: float | None, load: Load) -> AuditRow | None:
    n = sum(sample.is_after for sample in one.samples)
    row = AuditRow(one.first.side, one.first.process, one.first.pid, quantity, Check.REST, n, bound=bound)
    before, after = first.values.get(quantity), one.last.values.get(quantity)
    if before is None or after is None:
        is_told = any(quantity in sample.values for sample in one.samples)
        return replace(row, why="not measured before or after the calls") if is_told else None
    row = replace(row, first=before, last=after, value=after - before)
    if load.first_due_ns is not None and first.at_ns >= load.first_due_ns:
        return replace(row, why="not measured before the first call")
    shown = f"{before:.4g} before the first call, {after:.4g} after the last"
    if bound is None:
        return replace(row, is_kept=True, why=f"{shown}, not judged")
    is_kept = after - before <= bound
    return replace(row, is_kept=is_kept, why=f"{shown}, at most {bound:g} more")


def alive_rows(series: Sequence[Series], rules: AuditRules, load: Load) -> list[AuditRow]:
    """Judge every end of a process of the target's, and what of our own is left."""
    of_target = [one for one in series if one.first.side is Side.TARGET and one.has_values]
    ends_ns = max((one.last.at_ns for one in of_target), default=0)
    left = [one for one in series if one.first.side is Side.OWN and one.is_after and one.first.process != RUN_PROCESS]
    return [
        *(_judge_end(one, of_target, rules, load) for one in of_target if one.last.at_ns < ends_ns),
        *(_ended(one, is_kept=False, why="was still there after the run") for one in left),
    ]


def _judge_end(one: Series, series: Sequence[Series], rules: AuditRules, load: Load) -> AuditRow:
    later = [
        o for o in series if o.key == one.key and o.first.at_ns > one.first.at_ns and o.last.at_ns > one.last.at_ns
    ]
    cause = _cause(one.last.at_ns, rules, load.faults)
    by = "by order" if one.is_ordered else f"by fault {cause}" if cause else "and no fault was to end it"
    said = f"ended after {_clock(one.last.at_ns, load.first_due_ns)}, {by}"
    if not later:
        return _ended(one, is_kept=one.is_ordered, why=f"{said}; none took its place")
    after = min(later, key=lambda o: o.first.at_ns)
    gap_s = max(0, after.first.at_ns - one.last.at_ns) / NS_PER_S
    is_kept = one.is_ordered or bool(cause)
    return _ended(one, is_kept=is_kept, why=f"{said}; pid {after.first.pid} had its place {gap_s:.0f} s later")


def _cause(at_ns: int, rules: AuditRules, faults: Iterable[Injection]) -> str:
    """Return the fault that may have ended a process which was last seen at `at_ns`; "" = none."""
    noticed_ns = (_NOTICED_S + rules.every_s) * NS_PER_S
    for one in faults:
        if one.fault.kind not in ENDING or one.started_at_ns is None or not one.is_injected:
            continue
        over_ns = one.started_at_ns if one.stopped_at_ns is None else one.stopped_at_ns
        if one.started_at_ns - noticed_ns <= at_ns <= over_ns + noticed_ns:
            return one.fault.name
    return ""


def _ended(one: Series, *, is_kept: bool, why: str) -> AuditRow:
    first = one.first
    n = one.watched().n
    return AuditRow(first.side, first.process, first.pid, _ALIVE, Check.ALIVE, n, is_kept=is_kept, why=why)


def _clock(at_ns: int, since_ns: int | None) -> str:
    seconds = max(0, at_ns - (since_ns or at_ns)) // NS_PER_S
    return f"{seconds // 60}:{seconds % 60:02d}"
