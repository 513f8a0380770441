"""What summary.json says of WER and of entities."""

from typing import Any

from harness.measure.bands import WER, band_of
from harness.measure.entities import EntityRate
from harness.measure.normaliser import identity
from harness.measure.pooled import WerRate
from harness.measure.wer import EntityResult, ScoredTurn, WerResult
from harness.measure.worst import WorstUtterance
from harness.model.codec import to_json


def wer_json(result: WerResult) -> dict[str, Any]:
    """Return the `wer` of summary.json; `wer` null where it was not measured, `not_measured` says why."""
    base: dict[str, Any] = {"normaliser": identity(), "not_measured": result.reason or None}
    if result.overall is None:
        return {**base, "n_words": 0, "wer": None, "ci95": None, "by_segment": [], "entities": None}
    return {
        **base,
        **rate_json(result.overall),
        "n_unscored": result.n_unscored,
        "n_scorable": result.n_scorable,
        "is_sample": result.is_sample,
        "by_segment": [{"segment": key, "value": value, **rate_json(rate)} for key, value, rate in result.by_segment],
        "worst_words": [to_json(word) for word in result.worst_words],
        "worst_utterances": [_utterance(one) for one in result.worst_utterances],
        "entities": None if result.entities is None else _entities(result.entities),
    }


def rate_json(rate: WerRate) -> dict[str, Any]:
    """Return pooled counts with their interval and band."""
    return {
        "n_utterances": rate.n_utterances,
        "n_clips": rate.n_clips,
        "n_words": rate.n_words,
        "substitutions": rate.substitutions,
        "deletions": rate.deletions,
        "insertions": rate.insertions,
        "wer": _round(rate.wer),
        "ci95": _ends(rate.ci95),
        "band": band_of(WER, rate.wer).name if rate.wer is not None else None,
    }


def _utterance(one: WorstUtterance[ScoredTurn]) -> dict[str, Any]:
    turn = one.example.turn
    return {
        "utterance_id": one.utterance_id,
        "n": one.n,
        "n_wrong": one.n_wrong,
        "errors": one.errors,
        "n_words": one.n_words,
        "wer": _round(one.wer),
        "reference": turn.reference,
        "hypothesis": turn.hypothesis,
        "call_id": turn.call_id,
        "turn": turn.turn,
    }


def _entities(result: EntityResult) -> dict[str, Any]:
    return {
        **_entity_rate(result.overall),
        "n_not_in_reference": result.n_not_in_reference,
        "by_segment": [
            {"segment": key, "value": value, **_entity_rate(rate)} for key, value, rate in result.by_segment
        ],
        "worst": [to_json(one) for one in result.worst],
    }


def _entity_rate(rate: EntityRate) -> dict[str, Any]:
    return {"n": rate.n, "n_right": rate.n_right, "accuracy": _round(rate.accuracy), "ci95": _ends(rate.ci95)}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else [round(end, 6) for end in interval]
