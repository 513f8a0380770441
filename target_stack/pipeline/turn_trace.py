"""A turn's spans put together when it is over, with what its stages took in all. Pure."""

from itertools import chain

from target_stack.pipeline.turn import Turn
from target_stack.telemetry.spans import STAGE_SUM, TTFB, Span, Trace, trace_of

# Attributes of spans.
WORK = "callquake.stt.work"
CANCELLED = "callquake.cancelled"


def trace_turn(turn: Turn, call_id: str, now_ns: int) -> Trace:
    """Return the trace of a turn that is over at `now_ns`."""
    # What still runs, as a partial that nobody waits for, has no end to tell.
    spans = [*(span for span in turn.spans if span.end_ns), *_edges(turn)]
    root = Span("turn", min(span.start_ns for span in spans), max(now_ns, *(span.end_ns for span in spans)))
    root.attributes = {
        "callquake.outcome": turn.outcome,
        "callquake.user_audio_ms": turn.user_audio_ms,
        "callquake.gap_ms": turn.gap_ms,
    }
    if turn.failed_stage:
        root.error = turn.failed_stage
    if turn.playing_ns:
        root.attributes |= {TTFB: turn.total_ms, STAGE_SUM: stage_sum_ms(turn)}
    return trace_of(call_id, turn.number, root, sorted(spans, key=lambda span: span.start_ns))


def _edges(turn: Turn) -> list[Span]:
    """Return the spans that follow from stamps."""
    spans = [Span("endpointing", turn.last_voiced_ns, turn.ended_ns)]
    if turn.playing_ns:
        spans.append(Span("playout", _playable_ns(turn), turn.playing_ns))
    return spans


def _playable_ns(turn: Turn) -> int:
    """Return when speech was there and certain to be wanted."""
    return max(turn.audio_ns, turn.transcribed_ns, turn.ended_ns)


def stage_sum_ms(turn: Turn) -> float:
    """Return what the turn's stages took by themselves, as if each had waited for the whole of the one before.

    Of the recogniser only what the reply's words came from counts, not what was asked while the user still spoke; of
    model and voice the whole reply, not only its first clause.
    """
    replied = [span for span in turn.spans if span.name in ("llm", "tts") and not span.attributes.get(CANCELLED)]
    return sum(span.duration_ms for span in chain(_edges(turn), _recognised(turn), replied))


def _recognised(turn: Turn) -> list[Span]:
    asked = [span for span in turn.spans if span.name == "stt" and span.end_ns and not span.error]
    after = [span for span in asked if span.start_ns >= turn.ended_ns and span.attributes[WORK] != "partial"]
    drafts = [span for span in asked if span.attributes[WORK] == "draft"]
    return after or drafts[-1:]
