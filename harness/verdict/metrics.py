"""The metrics a threshold may name: unit, legal aggregations and tags, and how many samples make it believable."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.measure.entities import KINDS
from harness.measure.segments import CALL_TAGS, TURN_TAGS
from harness.measure.stages import STAGES
from harness.measure.target_series import CONNECTION_RATIO, CONTEXT_OVERFLOWS, GPU_UTILISATION, RATE_LIMIT_HITS
from harness.measure.wer import ENTITY_TAG

TREND = "trend"
RATIO = "ratio"
COUNT = "count"
TURN, CALL, TARGET = "turn", "call", "target"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `scope` "turn", "call" or "target" decides its tags; `unit` is "ms", "ratio" or "count"."""

    name: str
    kind: str
    scope: str
    min_samples: int
    # What a sample is, as reports write it.
    sample: str
    meaning: str
    # The largest value the metric can take, None without bound.
    maximum: float | None = None
    # It may be judged stretch by stretch; a count of the whole run may not.
    is_windowed: bool = True

    @property
    def unit(self) -> str:
        """Return "ms" for durations, else the kind."""
        return "ms" if self.kind == TREND else self.kind

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the tag keys a filter on this metric may use."""
        own = {TURN: TURN_TAGS, CALL: CALL_TAGS, TARGET: TARGET_TAGS}[self.scope]
        return (*OWN_TAGS.get(self.name, {}), *own)


_MIN_TURNS, _MIN_CALLS, _MIN_WORDS, _MIN_ENTITIES = 5, 3, 20, 10
# Of what is read off the target itself.
TARGET_TAGS = ("instance",)
# Tags that only one metric has, and their legal values.
OWN_TAGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "stage_ms": {"stage": STAGES},
    "entity_accuracy": {ENTITY_TAG: KINDS},
}

METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("ttfb_ms", TREND, TURN, _MIN_TURNS, "turns", "end of user speech to agent onset"),
        Metric("stage_ms", TREND, TURN, _MIN_TURNS, "turns", f"one stage of it: {', '.join(STAGES)}"),
        Metric("setup_ms", TREND, CALL, _MIN_CALLS, "calls", "due start to media up"),
        Metric("greeting_ms", TREND, CALL, _MIN_CALLS, "calls", "connected to onset of the greeting"),
        Metric("fallback_ms", TREND, CALL, _MIN_CALLS, "calls", "begin of the set-up to giving WebRTC up"),
        Metric("fallback_ratio", RATIO, CALL, _MIN_CALLS, "calls", "calls that went on over a WebSocket", 1),
        Metric("wer", RATIO, TURN, _MIN_WORDS, "words", "word error rate of the agent's STT"),
        Metric("entity_accuracy", RATIO, TURN, _MIN_ENTITIES, "entities", "numbers and names that were right", 1),
        Metric("response_ratio", RATIO, TURN, _MIN_TURNS, "turns", "answered turns of those that awaited one", 1),
        Metric("false_endpoint_ratio", RATIO, TURN, _MIN_TURNS, "turns", "turns the agent cut into", 1),
        Metric("yield_ms", TREND, TURN, 1, "barge-ins", "the caller began over the agent's voice to its silence"),
        Metric("drop_off", RATIO, CALL, _MIN_CALLS, "calls", "calls that ended before their goal", 1),
        Metric("error_rate", RATIO, CALL, _MIN_CALLS, "calls", "calls that ended in an error", 1),
        Metric("self_answer_ratio", RATIO, CALL, 1, "calls", "recorded calls in which the agent answered itself", 1),
        Metric("sip_rrd_ms", TREND, CALL, 1, "registrations", "REGISTER to its 2xx (RFC 6076 4.1)"),
        Metric("sip_srd_ms", TREND, CALL, _MIN_CALLS, "calls", "INVITE to first status response (RFC 6076 4.3)"),
        Metric("sip_sdd_ms", TREND, CALL, _MIN_CALLS, "calls", "BYE to its answer (RFC 6076 4.4)"),
        Metric("sip_sdt_ms", TREND, CALL, _MIN_CALLS, "calls", "2xx to BYE: a session's length (RFC 6076 4.5)"),
        Metric("sip_ira", RATIO, CALL, 1, "registrations", "failed registrations (RFC 6076 4.2)", 1),
        Metric("sip_ser", RATIO, CALL, _MIN_CALLS, "calls", "session requests that were answered (RFC 6076 4.6)", 1),
        Metric("sip_seer", RATIO, CALL, _MIN_CALLS, "calls", "the same, busy ones included (RFC 6076 4.7)", 1),
        Metric("sip_isa", RATIO, CALL, _MIN_CALLS, "calls", "ineffective session attempts (RFC 6076 4.8)", 1),
        Metric("sip_scr", RATIO, CALL, _MIN_CALLS, "calls", "sessions completed by a BYE (RFC 6076 4.9)", 1),
        Metric("turns_answered", COUNT, TURN, 0, "turns", "answered turns", is_windowed=False),
        Metric("calls_completed", COUNT, CALL, 0, "calls", "calls that reached their goal", is_windowed=False),
        Metric(CONNECTION_RATIO, RATIO, TARGET, 1, "samples", "calls up at most, of the most the target says it holds"),
        Metric(GPU_UTILISATION, RATIO, TARGET, 3, "samples", "mean utilisation of the target's GPUs", 1),
        Metric(RATE_LIMIT_HITS, COUNT, TARGET, 0, "hits", "requests that a provider's rate limit turned away"),
        Metric(CONTEXT_OVERFLOWS, COUNT, TARGET, 0, "replies", "replies lost to conversations too long for the model"),
    )
}
