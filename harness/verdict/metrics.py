"""The metrics a threshold may name: unit, legal aggregations and tags, and how many samples make it believable."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.measure.entities import KINDS
from harness.measure.segments import CALL_TAGS, TURN_TAGS
from harness.measure.stages import STAGES
from harness.measure.wer import ENTITY_TAG

TREND = "trend"
RATIO = "ratio"
COUNT = "count"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `scope` "turn" or "call" decides its tags; `unit` is "ms", "ratio" or "count"."""

    name: str
    kind: str
    scope: str
    min_samples: int
    # What a sample is, as reports write it.
    sample: str
    meaning: str
    # The largest value the metric can take, None without bound.
    maximum: float | None = None

    @property
    def unit(self) -> str:
        """Return "ms" for durations, else the kind."""
        return "ms" if self.kind == TREND else self.kind

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the tag keys a filter on this metric may use."""
        own = TURN_TAGS if self.scope == "turn" else CALL_TAGS
        return (*OWN_TAGS.get(self.name, {}), *own)


_MIN_TURNS, _MIN_CALLS, _MIN_WORDS, _MIN_ENTITIES = 5, 3, 20, 10
# Tags that only one metric has, and their legal values.
OWN_TAGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "stage_ms": {"stage": STAGES},
    "entity_accuracy": {ENTITY_TAG: KINDS},
}

METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("ttfb_ms", TREND, "turn", _MIN_TURNS, "turns", "end of user speech to agent onset"),
        Metric("stage_ms", TREND, "turn", _MIN_TURNS, "turns", f"one stage of it: {', '.join(STAGES)}"),
        Metric("setup_ms", TREND, "call", _MIN_CALLS, "calls", "due start to media up"),
        Metric("greeting_ms", TREND, "call", _MIN_CALLS, "calls", "connected to onset of the greeting"),
        Metric("wer", RATIO, "turn", _MIN_WORDS, "words", "word error rate of the agent's STT"),
        Metric("entity_accuracy", RATIO, "turn", _MIN_ENTITIES, "entities", "numbers and names that were right", 1),
        Metric("response_ratio", RATIO, "turn", _MIN_TURNS, "turns", "answered turns of those that awaited one", 1),
        Metric("false_endpoint_ratio", RATIO, "turn", _MIN_TURNS, "turns", "turns the agent cut into", 1),
        Metric("drop_off", RATIO, "call", _MIN_CALLS, "calls", "calls that ended before their goal", 1),
        Metric("error_rate", RATIO, "call", _MIN_CALLS, "calls", "calls that ended in an error", 1),
        Metric("sip_rrd_ms", TREND, "call", 1, "registrations", "REGISTER to its 2xx (RFC 6076 4.1)"),
        Metric("sip_srd_ms", TREND, "call", _MIN_CALLS, "calls", "INVITE to first status response (RFC 6076 4.3)"),
        Metric("sip_sdd_ms", TREND, "call", _MIN_CALLS, "calls", "BYE to its answer (RFC 6076 4.4)"),
        Metric("sip_sdt_ms", TREND, "call", _MIN_CALLS, "calls", "2xx to BYE: a session's length (RFC 6076 4.5)"),
        Metric("sip_ira", RATIO, "call", 1, "registrations", "failed registrations (RFC 6076 4.2)", 1),
        Metric("sip_ser", RATIO, "call", _MIN_CALLS, "calls", "session requests that were answered (RFC 6076 4.6)", 1),
        Metric("sip_seer", RATIO, "call", _MIN_CALLS, "calls", "the same, busy ones included (RFC 6076 4.7)", 1),
        Metric("sip_isa", RATIO, "call", _MIN_CALLS, "calls", "ineffective session attempts (RFC 6076 4.8)", 1),
        Metric("sip_scr", RATIO, "call", _MIN_CALLS, "calls", "sessions completed by a BYE (RFC 6076 4.9)", 1),
        Metric("turns_answered", COUNT, "turn", 0, "turns", "answered turns"),
        Metric("calls_completed", COUNT, "call", 0, "calls", "calls that reached their goal"),
    )
}
