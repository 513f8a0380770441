"""Prometheus text (exposition format 0.0.4) read back: names, labels and values."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SAMPLE = re.compile(r"^(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'(?P<name>[A-Za-z_]\w*)="(?P<value>(?:[^"\\]|\\.)*)"')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples_of(text: str) -> list[Sample]:
    """Return every sample; comments and lines that are none are passed over."""
    found = []
    for line in text.splitlines():
        match = _SAMPLE.match(line.strip())
        if match is None:
            continue
        labels = {part["name"]: _unescaped(part["value"]) for part in _LABEL.finditer(match["labels"] or "")}
        try:
            found.append(Sample(match["name"], labels, float(match["value"])))
        except ValueError:
            continue
    return found


def total_of(samples: Iterable[Sample], name: str) -> float | None:
    """Return the sum of a metric over its labels; None: there is no such metric."""
    values = [sample.value for sample in samples if sample.name == name]
    return sum(values) if values else None


def _unescaped(text: str) -> str:
    return re.sub(r"\\[\\\"n]", lambda match: _ESCAPES[match[0]], text)
