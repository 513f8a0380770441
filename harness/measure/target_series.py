"""Known of the target over the run: calls against its limit, GPUs, rate limits, overflows; absent = unmeasured."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.measure.generator_health import HealthPoint
from harness.model.target_sample import TargetSample

CONNECTION_RATIO, GPU_UTILISATION, RATE_LIMIT_HITS = "connection_ratio", "gpu_utilisation", "rate_limit_hits"
# Replies that were lost because the conversation was too long for the language model.
CONTEXT_OVERFLOWS = "context_overflows"
NAMES = (CONNECTION_RATIO, GPU_UTILISATION, RATE_LIMIT_HITS, CONTEXT_OVERFLOWS)
Series = Mapping[str, Sequence[TargetSample]]


def series_of(
    samples: Iterable[TargetSample], timeline: Iterable[HealthPoint], target_info: Mapping[str, Any] | None
) -> dict[str, list[TargetSample]]:
    """Return the samples by name, ascending; connections are our own calls where the target tells its limit."""
    found: dict[str, list[TargetSample]] = {}
    for sample in sorted(samples, key=lambda one: one.at_ns):
        found.setdefault(sample.name, []).append(sample)
    limit = (target_info or {}).get("max_calls")
    if CONNECTION_RATIO not in found and isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0:
        ours = _connections(timeline, limit)
        if ours:
            found[CONNECTION_RATIO] = ours
    return found


def _connections(timeline: Iterable[HealthPoint], limit: float) -> list[TargetSample]:
    """Return the calls of all engines together, as a share of `limit`, whenever one of them told its own."""
    latest: dict[str, int] = {}
    found: list[TargetSample] = []
    for point in sorted(timeline, key=lambda one: one.at_ns):
        latest[point.worker] = point.calls_active
        found.append(TargetSample(point.at_ns, CONNECTION_RATIO, sum(latest.values()) / limit))
    return found
