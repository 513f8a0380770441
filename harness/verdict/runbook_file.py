"""runbook.yaml, read and checked: every problem is told at once, each with its line, its place and what is legal."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import yaml

from harness.model.errors import ScenarioError
from harness.verdict.clauses import OVER, SUSTAINED
from harness.verdict.measures import parse_measure
from harness.verdict.rules import BandSet, Rule, RuleBand, Severity
from harness.verdict.runbook import BudgetPart, Runbook
from harness.verdict.thresholds import Windows, parse

SECTIONS = ("triggers", "bands", "stages", "budget")
_RULE = {"name": True, "title": False, "when": True, "severity": True, "action": True, "min_samples": False}
_BANDS = {"measure": True, "title": False, "sustained": False, "over": False, "min_samples": False, "bands": True}
_BAND = {"name": True, "to": False, "meaning": True, "severity": False, "action": False}
_BUDGET = {"total_p95_ms": True, "parts": True}
_PART = {"title": True, "p95_ms": True, "stage": False}
_STAGES_OF_A_TURN = ("endpointing", "stt", "llm", "tts", "playout", "network", "other")
_USUAL_OVER = "60s"
Place = tuple[str | int, ...]


def parse_runbook(text: str, name: str = "runbook.yaml", windows: Windows | None = None) -> Runbook:
    """Read a runbook; raises ScenarioError naming file, line and place of every problem.

    `windows` are the names of the run's faults and phases that a rule may name; None = any.
    """
    return _Reader(text, name, windows).read()


class _Reader:
    def __init__(self, text: str, name: str, windows: Windows | None) -> None:
        self._name, self._windows = name, windows
        self._problems: list[tuple[int, str]] = []
        try:
            self._node = yaml.compose(text, Loader=yaml.SafeLoader)
            self._raw = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{name}:{mark.line + 1}" if mark is not None else name
            raise ScenarioError(f"{where}: not YAML: {str(error).splitlines()[0]}") from None

    def read(self) -> Runbook:
        raw = self._raw if isinstance(self._raw, Mapping) else None
        if raw is None:
            raise ScenarioError(f"{self._name}: a runbook is a mapping with the keys {', '.join(SECTIONS)}")
        for key in raw:
            if key not in SECTIONS:
                self._say((str(key),), f"unknown key; legal: {', '.join(SECTIONS)}")
        triggers, stages = self._rules("triggers"), self._rules("stages")
        bands = [found for i, one in self._list("bands") if (found := self._band_set(("bands", i), one))]
        total, parts = self._budget()
        self._names_differ([*triggers, *stages, *(rule for one in bands for rule in one.rules)])
        if self._problems:
            raise ScenarioError("\n".join(text for _, text in sorted(self._problems)))
        return Runbook(tuple(triggers), tuple(bands), tuple(stages), total, tuple(parts))

    # --- places ----------------------------------------------------------------------------------------------------

    def _say(self, place: Place, message: str) -> None:
        line = self._line(place)
        spelled = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        self._problems.append((line, f"{self._name}:{line}: {spelled}: {message}"))

    def _line(self, place: Place) -> int:
        node = self._node
        for part in place:
            found: Any = None
            if isinstance(node, yaml.MappingNode):
                found = next((v for k, v in node.value if k.value == part), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                found = node.value[part]
            if found is None:
                break
            node = found
        return int(node.start_mark.line) + 1 if node is not None else 1

    def _list(self, key: str, under: Place = (), raw: Any = None) -> list[tuple[int, Any]]:
        said = (self._raw if raw is None else raw).get(key)
        if said is None:
            return []
        if not isinstance(said, list):
            self._say((*under, key), "expected a list")
            return []
        return list(enumerate(said))

    def _mapping(self, place: Place, raw: Any, keys: Mapping[str, bool]) -> Mapping[str, Any] | None:
        if not isinstance(raw, Mapping):
            self._say(place, f"expected a mapping with the keys {', '.join(keys)}")
            return None
        before = len(self._problems)
        for key in raw:
            if key not in keys:
                self._say((*place, key), f"unknown key; legal: {', '.join(keys)}")
        for key, is_needed in keys.items():
            if is_needed and raw.get(key) in (None, ""):
                self._say(place, f"{key} is missing; legal: {', '.join(keys)}")
        return raw if len(self._problems) == before else None

    # --- parts -----------------------------------------------------------------------------------------------------

    def _rules(self, section: str) -> list[Rule]:
        return [found for i, raw in self._list(section) if (found := self._rule((section, i), raw)) is not None]

    def _rule(self, place: Place, raw: Any) -> Rule | None:
        entry = self._mapping(place, raw, _RULE)
        severity = self._severity(place, entry)
        samples = self._samples(place, entry)
        if entry is None or severity is None:
            return None
        try:
            when = parse(str(entry["when"]), samples, self._windows)
            if when.clauses.window_ms is None:
                # An alert is about stretches, or it could never end.
                when = parse(f"{entry['when']} {OVER} {_USUAL_OVER}", samples, self._windows)
        except ScenarioError as error:
            self._say((*place, "when"), str(error))
            return None
        name = str(entry["name"])
        return Rule(name, str(entry.get("title") or name), when, severity, str(entry["action"]), str(place[0]))

    def _severity(self, place: Place, entry: Mapping[str, Any] | None) -> Severity | None:
        if entry is None:
            return None
        try:
            return Severity(entry["severity"])
        except ValueError:
            self._say((*place, "severity"), f"got {entry['severity']!r}; legal: {', '.join(Severity)}")
            return None

    def _samples(self, place: Place, entry: Mapping[str, Any] | None) -> int | None:
        said = entry.get("min_samples") if entry else None
        if said is not None and (type(said) is not int or said < 1):
            self._say((*place, "min_samples"), f"got {said!r}; legal: a whole number of at least 1")
            return None
        return said

    def _band_set(self, place: Place, raw: Any) -> BandSet | None:
        entry = self._mapping(place, raw, _BANDS)
        samples = self._samples(place, entry)
        if entry is None:
            return None
        try:
            measure = parse_measure(str(entry["measure"]))
        except ScenarioError as error:
            self._say((*place, "measure"), str(error))
            return None
        rows = self._list("bands", place, entry)
        bands = [found for i, one in rows if (found := self._band((*place, "bands", i), one)) is not None]
        if len(bands) != len(rows) or not self._are_ordered(place, bands):
            return None
        title = str(entry.get("title") or measure.words)
        spans = " ".join(f"{word} {entry[word]}" for word in (SUSTAINED, OVER) if entry.get(word))
        rules = self._band_rules(place, title, measure.words, bands, spans, samples)
        return BandSet(measure, title, tuple(bands), tuple(rules))

    def _band(self, place: Place, raw: Any) -> RuleBand | None:
        entry = self._mapping(place, raw, _BAND)
        if entry is None:
            return None
        to = entry.get("to")
        if to is not None and (isinstance(to, bool) or not isinstance(to, int | float)):
            self._say((*place, "to"), f"got {to!r}; legal: a number, or nothing in the last band")
            return None
        severity = self._severity(place, entry) if entry.get("severity") is not None else None
        if severity is not None and not entry.get("action"):
            self._say(place, "a band with a severity needs an action")
            return None
        upper = None if to is None else float(to)
        return RuleBand(str(entry["name"]), upper, str(entry["meaning"]), severity, str(entry.get("action") or ""))

    def _are_ordered(self, place: Place, bands: Sequence[RuleBand]) -> bool:
        uppers = [band.upper for band in bands]
        known = [upper for upper in uppers if upper is not None]
        if not bands or uppers[-1] is not None or len(known) != len(uppers) - 1 or known != sorted(set(known)):
            self._say((*place, "bands"), "expected rising values of `to`, and a last band without")
            return False
        return True

    def _band_rules(
        self, place: Place, title: str, measure: str, bands: Sequence[RuleBand], spans: str, samples: int | None
    ) -> list[Rule]:
        found: list[Rule] = []
        for i, (before, band) in enumerate(pairwise(bands), 1):
            if band.severity is None or before.upper is None:
                continue
            limit = f"{before.upper:.6f}".rstrip("0").rstrip(".")
            try:
                when = parse(f"{measure} > {limit} {spans}".strip(), samples, self._windows)
            except ScenarioError as error:
                self._say((*place, "bands", i), str(error))
                continue
            name = f"{measure.split(maxsplit=1)[0]}_{band.name}"
            found.append(Rule(name, f"{title} {band.name}", when, band.severity, band.action, "bands"))
        return found

    def _names_differ(self, rules: Sequence[Rule]) -> None:
        seen: set[str] = set()
        for rule in rules:
            if rule.name in seen:
                self._say((rule.section,), f"the name {rule.name!r} stands twice; legal: names that differ")
            seen.add(rule.name)

    def _budget(self) -> tuple[float, list[BudgetPart]]:
        raw = self._raw.get("budget")
        entry = self._mapping(("budget",), raw, _BUDGET) if raw is not None else None
        if entry is None:
            return 0.0, []
        total, parts = entry["total_p95_ms"], []
        if isinstance(total, bool) or not isinstance(total, int | float) or total <= 0:
            self._say(("budget", "total_p95_ms"), f"got {total!r}; legal: milliseconds above 0")
        for i, one in self._list("parts", ("budget",), entry):
            part = self._mapping(("budget", "parts", i), one, _PART)
            if part is None:
                continue
            stage, share = part.get("stage"), part["p95_ms"]
            if stage is not None and stage not in _STAGES_OF_A_TURN:
                self._say(("budget", "parts", i, "stage"), f"got {stage!r}; legal: {', '.join(_STAGES_OF_A_TURN)}")
            elif isinstance(share, bool) or not isinstance(share, int | float):
                self._say(("budget", "parts", i, "p95_ms"), f"got {share!r}; legal: milliseconds")
            else:
                parts.append(BudgetPart(str(part["title"]), float(share), stage))
        return float(total) if isinstance(total, int | float) else 0.0, parts
