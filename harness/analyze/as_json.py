"""An analysis as JSON: every time in ms from the recording's first sample, null = not measured."""

from dataclasses import asdict
from typing import Any

from harness.analyze.analyse import Analysis, Sides
from harness.analyze.totals import Totals
from harness.analyze.transcripts import Wer, Words
from harness.analyze.turns import Turn
from harness.measure.distribution import Estimate, Sample
from harness.measure.ttfb import PERCENTILES

SCHEMA_VERSION = 1


def as_json(analysis: Analysis, totals: Totals, words: dict[int, Words], wer: Wer | None) -> dict[str, Any]:
    """Return one recording's document."""
    told = analysis.conversation
    return {
        "schema_version": SCHEMA_VERSION,
        "recording": analysis.recording.name,
        "duration_ms": _ms(told.duration_ms),
        "rate": analysis.recording.rate,
        "by_packets": analysis.by_packets,
        "echo": _sides(analysis.leaks),
        "background": _sides(analysis.backgrounds),
        "greeting_ms": _ms(told.greeting_ms),
        "turns": [_turn(turn, words.get(turn.number, Words())) for turn in told.turns],
        "caller_speech_ms": [[_ms(one.start_ms), _ms(one.end_ms)] for one in told.caller],
        "agent_speech_ms": [[_ms(one.start_ms), _ms(one.end_ms)] for one in told.agent],
        "dead_air": [{k: _ms(v) if isinstance(v, float) else v for k, v in asdict(s).items()} for s in told.dead_air],
        "totals": totals_json(totals),
        "wer": None
        if wer is None
        else {**asdict(wer.rate), "heard_by": wer.heard_by, "turns_left_out": wer.n_left_out},
    }


def totals_json(totals: Totals) -> dict[str, Any]:
    """Return the figures over all turns."""
    return {
        "calls": totals.n_calls,
        "turns": totals.n_turns,
        "ttfb_ms": _sample(totals.ttfb),
        "ttfb_unsure": totals.n_unsure,
        "greeting_ms": _sample(totals.greeting),
        "yield_ms": _sample(totals.yields),
        "false_endpoints": totals.n_false_endpoints,
        "false_endpoint_ratio": totals.false_endpoint_ratio,
        "barge_ins": totals.n_barge_ins,
        "talk_over_ms": _ms(totals.talk_over_ms),
        "dead_air": totals.n_dead_air,
        "dead_air_ms": _ms(totals.dead_air_ms),
        "duration_ms": _ms(totals.duration_ms),
    }


def _turn(turn: Turn, words: Words) -> dict[str, Any]:
    barge_in = turn.barge_in
    return {
        "turn": turn.number,
        "entry": turn.entry.value,
        "start_ms": _ms(turn.start_ms),
        "end_ms": _ms(turn.end_ms),
        "end_from": turn.end_from,
        "measured_end_ms": _ms(turn.measured_end_ms),
        "measured_onset_ms": _ms(turn.measured_onset_ms),
        "utterance_id": turn.utterance_id,
        "stretches_ms": [[_ms(one.start_ms), _ms(one.end_ms)] for one in turn.stretches],
        "onset_ms": _ms(turn.onset_ms),
        "ttfb_ms": _ms(turn.ttfb_ms),
        "ttfb_within_ms": _ms(turn.ttfb_within_ms),
        "waited_ms": _ms(turn.waited_ms),
        "false_endpoint": turn.false_endpoint,
        "barge_in": None
        if barge_in is None
        else {"at_ms": _ms(barge_in.at_ms), "yield_ms": _ms(barge_in.yield_ms), "yielded": barge_in.yielded},
        "talk_over_ms": _ms(turn.talk_over_ms),
        "said": words.said,
        "heard": words.heard,
    }


def _sides(sides: Sides) -> dict[str, Any]:
    return {
        name: None if fact is None else {key: round(value, 1) for key, value in asdict(fact).items()}
        for name, fact in (("caller", sides.caller), ("agent", sides.agent))
    }


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "n": sample.n,
        "censored": len(sample.censored),
        "response_ratio": sample.response_ratio,
        **{name: _estimate(sample.percentile(q)) for name, q in PERCENTILES.items()},
        "max": _estimate(sample.maximum()),
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {"value": _ms(estimate.value), "is_lower_bound": estimate.is_lower_bound}


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
