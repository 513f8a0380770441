"""summary.json's `by_target`: every figure of every target, and how far each lies from the first."""

import math
from collections.abc import Mapping
from typing import Any

from harness.measure.by_target import ByTarget, Comparison, TargetFigures
from harness.measure.difference import Difference
from harness.measure.distribution import Sample
from harness.measure.ttfb import PERCENTILES
from harness.model.codec import to_json
from harness.report.calibration_words import MeasurementError, error_json
from harness.report.sip_words import sip_json


def by_target_json(found: ByTarget | None, errors: Mapping[str, MeasurementError | None]) -> dict[str, Any] | None:
    """Return the object, null for a run with one target; `errors` is how true the TTFB of each is."""
    if found is None:
        return None
    return {
        "targets": {target.name: _target(target, errors.get(target.name)) for target in found.targets},
        "differences": [_comparison(comparison) for comparison in found.comparisons],
    }


def _target(target: TargetFigures, error: MeasurementError | None) -> dict[str, Any]:
    return {
        "transports": list(target.transports),
        "codecs": list(target.codecs),
        "calls": to_json(target.counts),
        "error_rate": _round(target.error_rate, 6),
        "ttfb_ms": {**_sample(target.ttfb.sample), "measurement_error": error_json(error)},
        "ttfb_heard_ms": None if target.ttfb.heard is None else _sample(target.ttfb.heard),
        "stage_means_ms": to_json(target.stages),
        "response_ratio": _round(target.ttfb.sample.response_ratio, 6),
        "false_endpoints": target.ttfb.n_false_endpoints,
        "greeting_ms": _sample(target.greeting),
        "setup_ms": _sample(target.setup),
        "setup_steps_ms": {name: _sample(sample) for name, sample in target.steps.items() if sample.n},
        "wer": None if target.wer is None else to_json(target.wer),
        "wer_not_measured": target.why_no_wer or None,
        "drop_off": to_json(target.drop_off),
        "packets": {
            "received": target.media.received,
            "lost": target.media.lost,
            "lost_on_purpose": target.media.lost_on_purpose,
            "loss_ratio": _round(target.media.loss_ratio, 6),
        },
        "jitter_ms": _sample(target.media.jitter),
        "round_trip_ms": _sample(target.media.round_trip),
        "sip": sip_json(target.sip),
    }


def _sample(sample: Sample) -> dict[str, Any]:
    figures: dict[str, Any] = {"n": sample.n, "n_censored": len(sample.censored)}
    for name, q in PERCENTILES.items():
        estimate, ends = sample.percentile(q), sample.interval(q)
        figures[name] = None if estimate is None else _round(estimate.value)
        figures[f"{name}_is_lower_bound"] = bool(estimate and estimate.is_lower_bound)
        figures[f"{name}_ci95"] = None if ends is None else [_round(ends[0]), _round(ends[1])]
    return figures


def _comparison(comparison: Comparison) -> dict[str, Any]:
    """Return second minus first; an open end of an interval is null."""
    return {
        "first": comparison.first,
        "second": comparison.second,
        "ms": {name: _difference(found) for name, found in comparison.times.items()},
        "ratio": {name: _difference(found) for name, found in comparison.shares.items()},
    }


def _difference(found: Difference) -> dict[str, Any]:
    ends = None if found.low is None or found.high is None else [_finite(found.low), _finite(found.high)]
    return {"value": _round(found.value, 6), "ci95": ends, "is_shown": found.is_shown, "why": found.why or None}


def _finite(value: float) -> float | None:
    return _round(value, 6) if math.isfinite(value) else None


def _round(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
