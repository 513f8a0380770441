"""An imported file of calls as an incident file, ready to be replayed and to be completed by people."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from harness.incidents.calls_file import ImportedCalls

_THRESHOLDS = ("response_ratio >= 0.95", "ttfb_ms p95 < 800", "drop_off < 0.15", "error_rate < 0.01")
# What a turn takes, its answer included: how many fit into a call of known length.
_TURN_S = 12.0
_MOST_TURNS = 8


def incident_yaml(calls: ImportedCalls, *, title: str, source: str, target: str, accents: Sequence[str]) -> str:
    """Return the file's text; `accents` are those that the corpus has, for callers told apart by accent."""
    about: dict[str, Any] = {"title": title, "source": source}
    if calls.began is not None:
        about["started_at"] = calls.began.isoformat()
    about["notes"] = [*_notes(calls), *calls.notes]
    document = {
        "incident": about,
        "scenario": {
            "name": "".join(c if c.isalnum() else "-" for c in title.lower()).strip("-")[:60] or "incident",
            "seed": 1,
            "target": {"url": target},
            "callers": _callers(calls, accents),
            "thresholds": list(_THRESHOLDS),
        },
        "arrivals": {"at_s": calls.at_s},
    }
    return yaml.dump(document, sort_keys=False, allow_unicode=True, width=1_000, Dumper=_Dumper)


class _Dumper(yaml.SafeDumper):
    """Writes the times of calls on few lines."""


def _write_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    is_numbers = len(values) > 1 and all(isinstance(v, int | float) for v in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_numbers)


_Dumper.add_representer(list, _write_list)


def _notes(calls: ImportedCalls) -> list[str]:
    span = f"{len(calls.at_s)} calls within {calls.at_s[-1]:.0f} s, by column {calls.columns.time}"
    told = [span]
    if calls.failed_ratio is not None:
        words = ", ".join(f"{word} {n}" for word, n in calls.statuses.most_common(5))
        told.append(f"{calls.failed_ratio:.1%} did not end well ({words})")
    if calls.durations_s:
        ordered = sorted(calls.durations_s)
        told.append(f"median length {ordered[len(ordered) // 2]:.0f} s")
    return told


def _callers(calls: ImportedCalls, accents: Sequence[str]) -> list[Mapping[str, Any]]:
    turns = _turns(calls.durations_s)
    known = {accent.lower(): accent for accent in accents}
    mix = [(word, n) for word, n in calls.callers.most_common(8)]
    if not mix:
        return [{"name": "anyone", "turns": turns}]
    callers: list[Mapping[str, Any]] = []
    for i, (word, n) in enumerate(mix):
        name = "".join(c if c.isalnum() else "-" for c in word).strip("-")[:40] or f"kind-{i}"
        caller: dict[str, Any] = {"name": f"{name}-{i}" if any(c["name"] == name for c in callers) else name}
        caller |= {"weight": n, "turns": turns}
        if word.lower() in known:
            caller["select"] = {"accent": [known[word.lower()]]}
        callers.append(caller)
    return callers


def _turns(durations_s: Sequence[float]) -> list[int]:
    if not durations_s:
        return [2, 3]
    ordered = sorted(durations_s)
    low, high = (ordered[int(share * (len(ordered) - 1))] for share in (0.25, 0.75))
    least = max(1, min(_MOST_TURNS, round(low / _TURN_S)))
    return [least, max(least, min(_MOST_TURNS, round(high / _TURN_S)))]
