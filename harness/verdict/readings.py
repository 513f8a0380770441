"""A metric's readings out of a run's records: each value with its time, chosen by tags. The one place that knows both.

What counts as a reading is the metric's own rule, and stands with it (harness/measure); here it is asked record by
record, so that the figure of any part of a run is made of the same values as the figure of the whole.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from harness.measure import calls as call_metrics
from harness.measure import fallbacks, sip, stages
from harness.measure.distribution import Sample
from harness.measure.rolling import Figure, Reading, count, greatest, ratio, trend
from harness.measure.segments import call_tags, turn_tags
from harness.measure.target_series import Series
from harness.measure.ttfb import Entry, entry_of
from harness.measure.wer import WerResult
from harness.measure.windows import Window
from harness.model.clock import NS_PER_MS
from harness.model.records import CallRecord, Outcome, TurnRecord
from harness.verdict.metrics import COUNT, RATIO, Metric

Tags = Mapping[str, str]


class Records(Protocol):
    """What readings are taken from: a measured run, or what has arrived of one that still goes on."""

    @property
    def calls(self) -> Sequence[CallRecord]:
        """Calls that have ended."""

    @property
    def turns(self) -> Sequence[TurnRecord]:
        """Turns that have ended."""

    @property
    def wer(self) -> WerResult:
        """Utterances aligned with what was heard of them."""

    @property
    def expects_greeting(self) -> call_metrics.Expects:
        """Whether callers await a greeting."""

    @property
    def target_series(self) -> Series:
        """What the target told of itself."""

    @property
    def windows(self) -> Sequence[Window]:
        """Stretches that have a name."""


# A reading and the tags of its record.
Tagged = tuple[Reading, Tags]
_SIP_DELAYS: Mapping[str, Callable[[Sequence[CallRecord]], Sample]] = {
    "sip_rrd_ms": sip.registration_delay,
    "sip_srd_ms": sip.request_delay,
    "sip_sdd_ms": sip.disconnect_delay,
    "sip_sdt_ms": sip.session_duration,
}
_SIP_RATIOS: Mapping[str, Callable[[Sequence[CallRecord]], sip.Ratio]] = {
    "sip_ira": sip.ira,
    "sip_ser": sip.ser,
    "sip_seer": sip.seer,
    "sip_isa": sip.isa,
    "sip_scr": sip.scr,
}
_SPOKEN = frozenset({Entry.ANSWERED, Entry.CENSORED, Entry.FALSE_ENDPOINT})


def readings_of(metric: Metric, run: Records, tags: Tags) -> list[Tagged]:
    """Return the readings of `metric` whose records have all of `tags`, in no order."""
    wanted = {key.removeprefix("tag_"): value for key, value in tags.items() if key != "stage"}
    stage = tags.get("stage", "")
    if metric.scope == "target":
        found: Iterable[Tagged] = _of_target(metric, run)
    elif metric.scope == "call":
        found = _of_calls(metric.name, run)
    else:
        found = _of_turns(metric.name, run, stage)
    return [one for one in found if all(one[1].get(key) == value for key, value in wanted.items())]


def figure_of(metric: Metric, aggregate: Callable[[Sample], object]) -> Figure:
    """Return how readings of `metric` become one figure; `aggregate` is of durations."""
    if metric.name == "connection_ratio":
        return greatest
    if metric.kind == COUNT:
        return count
    return ratio if metric.kind == RATIO else trend(aggregate)  # type: ignore[arg-type]


def is_measured(metric: Metric, run: Records) -> bool:
    """Return whether anything could have told this metric: what no one watches is not 0."""
    return metric.scope != "target" or metric.name in run.target_series


def _of_target(metric: Metric, run: Records) -> Iterator[Tagged]:
    for sample in run.target_series.get(metric.name, ()):
        yield Reading(sample.at_ns, sample.at_ns, sample.value), {"instance": sample.instance}


# --- turns ---------------------------------------------------------------------------------------------------------


def _of_turns(name: str, run: Records, stage: str) -> Iterator[Tagged]:
    if name == "wer":
        for one in run.wer.scored:
            yield _turn_reading(one.turn, one.errors, one.n_words), turn_tags(one.turn)
    elif name == "entity_accuracy":
        for entity in run.wer.entity_list:
            yield _turn_reading(entity.turn, entity.is_right), entity.tags
    else:
        for turn in run.turns:
            reading = _of_turn(name, turn, stage)
            if reading is not None:
                yield reading, turn_tags(turn)


def _of_turn(name: str, turn: TurnRecord, stage: str) -> Reading | None:
    entry = entry_of(turn)
    if name == "stage_ms":
        parts = stages.breakdown_of(turn)
        value = parts.parts[stage] if parts else None
        return None if value is None else _turn_reading(turn, value)
    if name == "yield_ms":
        return None if turn.yield_ms is None else _turn_reading(turn, turn.yield_ms)
    if name == "false_endpoint_ratio":
        return _turn_reading(turn, turn.false_endpoint) if entry in _SPOKEN else None
    if entry is Entry.CENSORED:
        if name == "turns_answered":
            return None
        return _turn_reading(turn, turn.waited_ms if name == "ttfb_ms" else 0.0, is_bound=name == "ttfb_ms")
    if entry is not Entry.ANSWERED or turn.ttfb_ms is None:
        return None
    return _turn_reading(turn, turn.ttfb_ms if name == "ttfb_ms" else 1.0)


def _turn_reading(turn: TurnRecord, value: float, weight: float = 1.0, *, is_bound: bool = False) -> Reading:
    """Return a turn's reading, at the instant its user stopped speaking; known when it was answered or given up."""
    at = turn.speech_ended_at_ns if turn.speech_ended_at_ns is not None else turn.speech_started_at_ns
    known = at + max(0.0, turn.waited_ms if turn.ttfb_ms is None else turn.ttfb_ms) * NS_PER_MS
    return Reading(at, known, value, weight, is_bound)


# --- calls ---------------------------------------------------------------------------------------------------------


def _of_calls(name: str, run: Records) -> Iterator[Tagged]:
    one_by_one = _ONE_CALL.get(name)
    if name == "greeting_ms":
        yield from _greetings(run)
        return
    for call in run.calls:
        if name in _SIP_DELAYS:
            found: Iterable[Reading] = _of_sample(_SIP_DELAYS[name]([call]), _begun(call), call.ended_at_ns)
        elif name in _SIP_RATIOS:
            share = _SIP_RATIOS[name]([call])
            found = [Reading(call.ended_at_ns, call.ended_at_ns, share.hits, share.n)] if share.n else ()
        else:
            found = one_by_one(call) if one_by_one else ()
        tags = call_tags(call)
        for reading in found:
            yield reading, tags


def _greetings(run: Records) -> Iterator[Tagged]:
    expects = run.expects_greeting
    if expects is None:
        # As calls.greeting_sample has it: an agent greets that greeted any caller.
        expects = any(call.greeting_ms is not None for call in run.calls)
    turns: dict[str, list[TurnRecord]] = {}
    for turn in run.turns:
        turns.setdefault(turn.call_id, []).append(turn)
    for call in run.calls:
        sample = call_metrics.greeting_sample([call], turns.get(call.call_id, ()), expects)
        up = call.connected_at_ns if call.connected_at_ns is not None else call.started_at_ns
        for value, is_bound in _values(sample):
            yield Reading(up, up + value * NS_PER_MS, value, 1.0, is_bound), call_tags(call)


def _begun(call: CallRecord) -> int:
    return call.started_at_ns if call.due_at_ns is None else min(call.due_at_ns, call.started_at_ns)


def _values(sample: Sample) -> Iterator[tuple[float, bool]]:
    yield from ((value, False) for value in sample.observed)
    yield from ((value, True) for value in sample.censored)


def _of_sample(sample: Sample, at: int, known: int) -> list[Reading]:
    return [Reading(at, known, value, 1.0, is_bound) for value, is_bound in _values(sample)]


def _set_up(call: CallRecord) -> list[Reading]:
    known = call.ended_at_ns if call.connected_at_ns is None else call.connected_at_ns
    return _of_sample(call_metrics.setup_sample([call]), _begun(call), known)


def _dropped(call: CallRecord) -> list[Reading]:
    if call_metrics.is_ours(call):
        return []
    gone = call.outcome in {Outcome.DROPPED, Outcome.FAILED}
    return [Reading(call.ended_at_ns, call.ended_at_ns, gone)]


def _errors(call: CallRecord) -> list[Reading]:
    if call_metrics.is_ours(call):
        return []
    return [Reading(call.ended_at_ns, call.ended_at_ns, call_metrics.is_error(call))]


def _fell_back(call: CallRecord) -> list[Reading]:
    known = call.ended_at_ns if call.connected_at_ns is None else call.connected_at_ns
    return [] if call_metrics.is_ours(call) else [Reading(_begun(call), known, fallbacks.went_on(call))]


def _gave_webrtc_up(call: CallRecord) -> list[Reading]:
    known = call.ended_at_ns if call.connected_at_ns is None else call.connected_at_ns
    return [] if call.fallback is None else [Reading(_begun(call), known, call.fallback.after_ms)]


def _self_answers(call: CallRecord) -> list[Reading]:
    # Recorded calls alone: of the others nobody knows.
    if call.echo is None or call.connected_at_ns is None:
        return []
    return [Reading(call.ended_at_ns, call.ended_at_ns, call.echo.self_answers > 0)]


def _completed(call: CallRecord) -> list[Reading]:
    return [Reading(call.ended_at_ns, call.ended_at_ns, 1.0)] if call.outcome is Outcome.COMPLETED else []


_ONE_CALL: Mapping[str, Callable[[CallRecord], list[Reading]]] = {
    "setup_ms": _set_up,
    "drop_off": _dropped,
    "error_rate": _errors,
    "self_answer_ratio": _self_answers,
    "fallback_ratio": _fell_back,
    "fallback_ms": _gave_webrtc_up,
    "calls_completed": _completed,
}
