"""Prometheus text read: exposition format 0.0.4, as /metrics gives it to who does not ask for another."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# What stands in quotes may hold anything, braces too; only a backslash hides a quote.
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LABELS = rf'\{{(?P<labels>(?:[^"{{}}]|{_QUOTED})*)\}}'
_SAMPLE = re.compile(rf"(?P<name>[A-Za-z_:][\w:]*)(?:{_LABELS})?\s+(?P<value>\S+)(?:\s+-?\d+)?", re.ASCII)
_LABEL = re.compile(rf"(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>{_QUOTED})", re.ASCII)
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line's. `value` may be NaN or infinite."""

    name: str
    # As written between the braces.
    label_text: str
    value: float

    @property
    def series(self) -> str:
        """Name and labels, as written."""
        return f"{self.name}{{{self.label_text}}}" if self.label_text else self.name

    @property
    def labels(self) -> Mapping[str, str]:
        """What each label says, its escapes undone."""
        return {part["name"]: _unescaped(part["value"][1:-1]) for part in _LABEL.finditer(self.label_text)}


def sample_of(line: str) -> Sample | None:
    """Return a line's sample; None for comments and whatever is no sample, such as OpenMetrics' with an exemplar."""
    match = _SAMPLE.fullmatch(line.strip())
    if match is None:
        return None
    try:
        return Sample(match["name"], match["labels"] or "", float(match["value"]))
    except ValueError:
        return None


def samples_of(text: str) -> list[Sample]:
    """Return every sample; lines that are none are passed over."""
    # Not splitlines: a label's value may hold what that takes for an end of line.
    return [sample for line in text.split("\n") if (sample := sample_of(line)) is not None]


def total_of(samples: Iterable[Sample], name: str) -> float | None:
    """Return the sum of a metric over its labels; None: there is no such metric."""
    values = [sample.value for sample in samples if sample.name == name]
    return sum(values) if values else None


def _unescaped(text: str) -> str:
    return re.sub(r"\\[\\\"n]", lambda match: _ESCAPES[match[0]], text)
