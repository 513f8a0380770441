"""The leak audit as text, rows of a table, JSON and sentences for JUnit."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.measure.audit_rows import AuditRow, Check
from harness.measure.audit_rules import AuditRules, rules_of
from harness.measure.leak_audit import AuditResult
from harness.model.audit_sample import RSS_MIB, Side
from harness.report.words import NOT_MEASURED

_TITLES = {"rss_mib": "memory", "descriptors": "descriptors", "threads": "threads", "tasks": "tasks", "calls": "calls"}
_MARKS = {True: "pass", False: "FAIL", None: "no data"}
_WHOSE = {Side.TARGET: "target", Side.OWN: "ours"}


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One judgement as tables show it."""

    process: str
    what: str
    figure: str
    bound: str
    is_kept: bool | None
    why: str

    @property
    def mark(self) -> str:
        """Return the judgement in a word."""
        return _MARKS[self.is_kept]


def read_rules(run_dir: Path, scenario: Mapping[str, Any], notes: list[str]) -> AuditRules | None:
    """Return what the run's leak audit is held to, None where it has none; what cannot be read goes into `notes`."""
    path = run_dir / "audit-rules.json"
    said = scenario.get("audit")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} cannot be read ({error}); the leak audit is held to the scenario's own block")
    if not isinstance(said, Mapping):
        return None
    try:
        return rules_of(said)
    except (ValueError, TypeError) as error:
        notes.append(f"the rules of the leak audit cannot be used ({error}); it is held to the default ones")
        return AuditRules()


def lines_of(result: AuditResult) -> list[AuditLine]:
    """Return what is told of each process: what failed first, then what could not be told, then the rest."""
    order = {False: 0, None: 1, True: 2}
    told = [row for row in result.rows if row.is_kept is not None or row.is_needed]
    return [_line(row) for row in sorted(told, key=lambda row: order[row.is_kept])]


def _line(row: AuditRow) -> AuditLine:
    return AuditLine(_process(row), _what(row), _figure(row), _bound(row), row.is_kept, row.why)


def _process(row: AuditRow) -> str:
    return f"{row.process} ({_WHOSE[row.side]}, pid {row.pid})" if row.pid else f"{row.process} ({_WHOSE[row.side]})"


def _what(row: AuditRow) -> str:
    title = _TITLES.get(row.quantity, row.quantity)
    return {Check.GROWTH: f"{title} at load", Check.REST: f"{title} left", Check.ALIVE: "alive"}[row.check]


def _unit(row: AuditRow) -> str:
    return " MiB" if row.quantity == RSS_MIB else ""


def _figure(row: AuditRow) -> str:
    """Return "151 to 153 MiB, +4.1 an hour (1.9 to 6.3), n 30", or why there is none."""
    if row.check is Check.ALIVE:
        return row.why
    if row.value is None or row.first is None or row.last is None:
        return row.why or NOT_MEASURED
    path = f"{row.first:.4g} to {row.last:.4g}{_unit(row)}"
    if row.check is Check.REST:
        return f"{path}, {row.value:+.3g}"
    return f"{path}, {row.value:+.3g} an hour ({_end(row.low)} to {_end(row.high)}, n {row.n})"


def _end(value: float | None) -> str:
    if value is None or math.isinf(value):
        return "open"
    return f"{value:+.3g}"


def _bound(row: AuditRow) -> str:
    if row.check is Check.ALIVE:
        return ""
    return "not judged" if row.bound is None else f"at most {row.bound:g}"


def heads_of(result: AuditResult) -> list[str]:
    """Return what was watched, and how, as sentences."""
    rules = result.rules
    targets = {one.process for one in result.processes if one.side is Side.TARGET}
    own = {one.process for one in result.processes if one.side is Side.OWN}
    calls = NOT_MEASURED if result.calls_up is None else f"{result.calls_up:.0f}"
    rest = "not seen" if result.at_rest_s is None else f"{result.at_rest_s:.0f} s after the last sample under load"
    return [
        f"{len(targets)} processes of the target, {len(own)} of our own, sampled every {rules.every_s:g} s",
        f"calls up in the samples that count: {calls} (median; the first {rules.warm_up:.0%} left out)",
        f"all counts back: {rest}",
        *result.missing.values(),
    ]


def text_lines(result: AuditResult | None) -> list[str]:
    """Return the section for a terminal; of what passed one line for each process."""
    if result is None:
        return []
    lines = ["Leak audit", *(f"  {head}" for head in heads_of(result))]
    told = lines_of(result)
    lines += [f"  {one.mark:<8}{one.process}: {one.what}: {one.why}" for one in told if not one.is_kept]
    passed: dict[str, list[str]] = {}
    for one in told:
        if one.is_kept:
            passed.setdefault(one.process, []).append(f"{one.what} {one.figure}")
    lines += [f"  pass    {process}: {'; '.join(said)}" for process, said in passed.items()]
    return lines


def to_json(result: AuditResult | None) -> dict[str, Any] | None:
    """Return summary.json's part; null = no audit was asked for, or that figure was not measured."""
    if result is None:
        return None
    return {
        "verdict": "FAILED" if result.broken else "NO DATA" if result.undecided else "PASSED",
        "every_s": result.rules.every_s,
        "calls_up": result.calls_up,
        "at_rest_s": _round(result.at_rest_s),
        "missing": list(result.missing.values()),
        "processes": [
            {"side": p.side.value, "process": p.process, "pid": p.pid, "samples": p.n, "why": p.why or None}
            for p in result.processes
        ],
        "rows": [_row_json(row) for row in result.rows],
    }


def _row_json(row: AuditRow) -> dict[str, Any]:
    numbers = {name: _round(getattr(row, name)) for name in ("value", "low", "high", "bound", "first", "last")}
    return {
        "side": row.side.value,
        "process": row.process,
        "pid": row.pid,
        "check": row.check.value,
        "quantity": row.quantity,
        "n": row.n,
        **numbers,
        "is_kept": row.is_kept,
        "is_needed": row.is_needed,
        "why": row.why,
    }


def _round(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else round(value, 4)


def cases_of(result: AuditResult) -> list[tuple[str, Sequence[str], Sequence[str]]]:
    """Return (process, what was broken, what could not be told) for each process, and for each side that has none."""
    rows: dict[str, list[AuditRow]] = {}
    for row in result.rows:
        rows.setdefault(_process(row), []).append(row)
    found: list[tuple[str, Sequence[str], Sequence[str]]] = [
        (
            process,
            [f"{_what(row)}: {row.why}" for row in of if row.is_kept is False],
            [f"{_what(row)}: {row.why}" for row in of if row.is_kept is None and row.is_needed],
        )
        for process, of in rows.items()
    ]
    return [*found, *((_WHOSE[side], (), [said]) for side, said in result.missing.items())]
