"""What a report says of WebRTC calls that went on over a WebSocket, and thresholds on them."""

from typing import Any

import pytest
from run_records import make_call, make_health, make_turn

from harness.measure.run import Measured, measure
from harness.model.records import CallRecord, Cause, FallbackUse, Outcome
from harness.report.fallback_words import fallbacks_json, notes_of_fallbacks
from harness.verdict.evaluate import evaluate
from harness.verdict.thresholds import ThresholdVerdict, parse

pytestmark = pytest.mark.unit


def fallen(name: str, after_ms: float, took_ms: float | None, cause: Cause = Cause.ICE_FAILED) -> CallRecord:
    use = FallbackUse(cause, "no pair", after_ms, took_ms)
    if took_ms is None:
        return make_call(name, Outcome.FAILED, cause, fallback=use)
    return make_call(name, fallback=use, transport="media_stream")


CALLS = [
    make_call("a"),
    fallen("b", 5_000.0, 40.0),
    fallen("c", 5_100.0, 80.0),
    fallen("d", 300.0, 60.0, Cause.DTLS_FAILED),
    fallen("e", 5_200.0, None),
    # Ours: in no figure.
    make_call("f", Outcome.INTERRUPTED, Cause.OPERATOR, fallback=FallbackUse(Cause.ICE_FAILED, "", 1.0, 1.0)),
]


def test_runs_without_any_need_no_words() -> None:
    assert notes_of_fallbacks([make_call("a")]) == []
    assert fallbacks_json([make_call("a")]) is None


def test_how_many_went_on_and_after_how_long() -> None:
    first, second = notes_of_fallbacks(CALLS)
    assert first == (
        "4 of 5 calls gave WebRTC up (ice failed 3, dtls failed 1) after 5,000 ms at the median and 5,200 ms at most: "
        "3 went on over a WebSocket, 60 ms at the median and 80 ms at most later, 1 failed there, too."
    )
    assert "media_stream" in second
    assert notes_of_fallbacks([fallen("a", 5_000.0, None)]) == [
        "1 of 1 calls gave WebRTC up (ice failed 1) after 5,000 ms: 0 went on over a WebSocket, 1 failed there, too."
    ]


def test_the_summary_has_the_same_figures() -> None:
    found = fallbacks_json(CALLS)
    assert found is not None
    assert (found["n_calls"], found["tried"], found["went_on"], found["ratio"]) == (5, 4, 3, 0.6)
    assert found["by_cause"] == {"ice_failed": 3, "dtls_failed": 1}
    assert found["after_ms"] == {"p50": 5000.0, "p95": 5200.0, "min": 300.0, "max": 5200.0}
    assert found["took_ms"]["p50"] == 60.0


@pytest.mark.parametrize(
    ("text", "value", "verdict"),
    [
        ("fallback_ratio < 0.5", 0.6, ThresholdVerdict.FAILED),
        ("fallback_ratio{transport:webrtc} <= 0", None, ThresholdVerdict.NO_DATA),
        ("fallback_ms p50 <= 5000", 5_000.0, ThresholdVerdict.PASSED),
        ("fallback_ms max < 5200", 5_200.0, ThresholdVerdict.FAILED),
    ],
)
def test_thresholds(text: str, value: float | None, verdict: ThresholdVerdict) -> None:
    found = evaluate(parse(text), _measured())
    assert found.verdict is verdict
    if value is not None:
        assert found.value == pytest.approx(value)


def _measured(**options: Any) -> Measured:
    return measure(CALLS, [make_turn("a")], [make_health()], **options)
