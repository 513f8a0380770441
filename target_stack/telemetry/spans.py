"""What a turn's stages did when, as OpenTelemetry spans: one trace a turn, `turn` at its root.

    turn         user's first voice ─────────────────────────────────────────── last packet of the reply
    stt               part ──┐     draft ──┐
    endpointing                   last voice ───┐ turn's end
    llm                                     ────────┐
    tts                                        clause ───┐  sentence ──┐
    playout                                              ─┐ first audible packet

Attributes hold sizes and times, never words. Times are CLOCK_MONOTONIC; who exports them adds the wall clock's offset.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from harness.model.clock import ms_between

StageName = Literal["turn", "endpointing", "stt", "llm", "tts", "playout"]
Attribute = str | int | float | bool

# What all stages together took, had each waited for the one before; and the caller's wait (attributes of `turn`).
STAGE_SUM = "callquake.stage_sum_ms"
TTFB = "callquake.ttfb_ms"


@dataclass(slots=True)
class Span:
    """One piece of work. `error`: the type of what it raised, "" for none."""

    name: StageName
    start_ns: int
    end_ns: int
    attributes: dict[str, Attribute] = field(default_factory=dict)
    error: str = ""

    @property
    def duration_ms(self) -> float:
        """Length."""
        return ms_between(self.start_ns, self.end_ns)


@dataclass(frozen=True, slots=True)
class Trace:
    """One turn's spans. Ids as W3C Trace Context has them: 32 and 16 hexadecimal digits."""

    call_id: str
    turn: int
    trace_id: str
    root_id: str
    root: Span
    children: Sequence[tuple[str, Span]]


class SpanSink(Protocol):
    """Takes the spans of turns that are over."""

    def write(self, trace: Trace) -> None:
        """Take one turn's; never blocks."""

    def close(self) -> None:
        """Send what is left."""


def trace_of(call_id: str, turn: int, root: Span, children: Sequence[Span]) -> Trace:
    """Give each span its id."""
    # W3C Trace Context: an id of zeros is none.
    trace_id, *ids = (f"{random.getrandbits(bits) or 1:0{bits // 4}x}" for bits in (128, *[64] * (len(children) + 1)))
    return Trace(call_id, turn, trace_id, ids[0], root, list(zip(ids[1:], children, strict=True)))


def rows(trace: Trace) -> list[Mapping[str, Any]]:
    """Return a JSON object for each span, the root first."""
    spans = [(trace.root_id, "", trace.root), *((name, trace.root_id, span) for name, span in trace.children)]
    return [
        {
            "event": "span",
            "call_id": trace.call_id,
            "turn": trace.turn,
            "name": span.name,
            "trace_id": trace.trace_id,
            "span_id": span_id,
            "parent_span_id": parent,
            "start_ns": span.start_ns,
            "end_ns": span.end_ns,
            "duration_ms": round(span.duration_ms, 2),
            "error": span.error,
            "attributes": {
                name: round(value, 2) if isinstance(value, float) else value for name, value in span.attributes.items()
            },
        }
        for span_id, parent, span in spans
    ]
