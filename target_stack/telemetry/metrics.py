"""The counters as Prometheus text (exposition format 0.0.4)."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from target_stack.telemetry.stats import DurationHistogram, Stats

# One sample: what follows the metric's name ("" or "_bucket"), its labels, its value.
_Sample = tuple[str, Mapping[str, str], float]


class EdgeNumbers(Protocol):
    """What an edge counts."""

    @property
    def active_calls(self) -> int:
        """Calls from their accepted offer to their release."""

    @property
    def offers(self) -> Mapping[int, int]:
        """Offers by HTTP status."""

    @property
    def calls_ended(self) -> Mapping[str, int]:
        """Ended calls by reason."""


def render_stats(stats: Stats) -> str:
    """Return the pipeline's numbers."""
    return "".join(
        (
            _gauge("active_sessions", "Sessions now.", [({}, stats.active_sessions)]),
            _counter("sessions", "Sessions since start-up.", [({}, stats.sessions)]),
            _counter("turns", "Turns by outcome.", _by("outcome", stats.turns)),
            _counter("barge_ins", "Replies the user interrupted.", [({}, stats.barge_ins)]),
            _counter("merged_turns", "Turns the user went on with before a reply.", [({}, stats.merged_turns)]),
            _counter("llm_fallbacks", "Stock sentences in place of a reply.", [({}, stats.llm_fallbacks)]),
            _counter("refused", "Work refused because a queue was full.", _by("queue", stats.refused)),
            _counter("stage_failures", "Turns a stage gave up on.", _by("stage", stats.stage_failures)),
            _gauge("queue_depth", "Waiting now.", _by("queue", stats.queue_depths)),
            _durations(stats.durations),
        )
    )


def render_edge(edge: EdgeNumbers) -> str:
    """Return the edge's numbers."""
    offers = {str(status): count for status, count in edge.offers.items()}
    return "".join(
        (
            _gauge("active_calls", "Calls now.", [({}, edge.active_calls)]),
            _counter("offers", "Offers by HTTP status.", _by("status", offers)),
            _counter("calls_ended", "Ended calls by reason.", _by("reason", edge.calls_ended)),
        )
    )


def _by(label: str, counts: Mapping[str, int]) -> list[tuple[Mapping[str, str], float]]:
    return [({label: name}, count) for name, count in sorted(counts.items())]


def _gauge(name: str, text: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> str:
    return _family(f"callquake_{name}", "gauge", text, [("", labels, value) for labels, value in rows])


def _counter(name: str, text: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> str:
    return _family(f"callquake_{name}_total", "counter", text, [("", labels, value) for labels, value in rows])


def _durations(durations: Mapping[str, DurationHistogram]) -> str:
    samples: list[_Sample] = []
    for stage, histogram in durations.items():
        for bound_ms, count in histogram.cumulative():
            bound = "+Inf" if bound_ms == float("inf") else _number(bound_ms / 1e3)
            samples.append(("_bucket", {"stage": stage, "le": bound}, count))
        samples.append(("_sum", {"stage": stage}, histogram.sum_ms / 1e3))
        samples.append(("_count", {"stage": stage}, histogram.count))
    return _family("callquake_turn_stage_seconds", "histogram", "Own duration of each stage of a turn.", samples)


def _family(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{suffix}{_labels(labels)} {_number(value)}" for suffix, labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(float(value))
