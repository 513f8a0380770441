"""A mergeable log-bucket histogram for durations that many workers report.

Bucket i holds values v with GROWTH**(i-1) < v <= GROWTH**i, in the caller's unit; so any percentile is
right to within `RELATIVE_ERROR` of its value. Values at or below 1e-3 share one bucket, reported as 0.
Merging is exact: counts add.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GROWTH = 1.02
RELATIVE_ERROR = GROWTH - 1
_FLOOR = 1e-3
_LOG_GROWTH = math.log(GROWTH)
ZERO_BUCKET = -(10**6)


def _bucket(value: float) -> int:
    return ZERO_BUCKET if value <= _FLOOR else math.ceil(math.log(value) / _LOG_GROWTH)


@dataclass(slots=True)
class Histogram:
    """Counts by log bucket, plus the exact maximum."""

    counts: dict[int, int] = field(default_factory=dict)
    n: int = 0
    maximum: float = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        index = _bucket(value)
        self.counts[index] = self.counts.get(index, 0) + 1
        self.n += 1
        self.maximum = max(self.maximum, value)

    def merge(self, other: "Histogram") -> None:
        """Add the counts of `other`; exact."""
        for index, count in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + count
        self.n += other.n
        self.maximum = max(self.maximum, other.maximum)

    def percentile(self, q: float) -> float | None:
        """Return the value at quantile `q` in 0..1 (upper bucket edge, capped at the maximum), None when empty."""
        if self.n == 0:
            return None
        rank = max(1, math.ceil(q * self.n))
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= rank:
                return 0.0 if index == ZERO_BUCKET else min(GROWTH**index, self.maximum)
        return self.maximum

    def to_json(self) -> dict[str, object]:
        """Return a JSON-ready form: bucket index (as text) to count."""
        return {
            "n": self.n,
            "max": self.maximum,
            "counts": {str(i): c for i, c in sorted(self.counts.items())},
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, object]) -> "Histogram":
        """Read what `to_json` wrote."""
        counts = raw["counts"]
        if not isinstance(counts, Mapping):
            raise TypeError("histogram counts must be a mapping")
        maximum = raw["max"]
        result = cls({int(i): int(c) for i, c in counts.items()}, 0, float(maximum))  # type: ignore[arg-type]
        result.n = sum(result.counts.values())
        return result

    @classmethod
    def of(cls, values: Iterable[float]) -> "Histogram":
        """Count every value of `values`."""
        result = cls()
        for value in values:
            result.add(value)
        return result
