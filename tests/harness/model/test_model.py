import json
import random

import pytest

from harness.model.codec import from_json, to_json
from harness.model.histogram import RELATIVE_ERROR, Histogram
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, PlannedTurn, TargetSpec
from harness.model.records import CallRecord, Cause, MediaStats, Outcome, SetupTimes, StageTimes

pytestmark = pytest.mark.unit

PERSONA = Persona("n", "p", "r", "a", "p")


def test_plan_survives_json():
    plan = CallPlan(
        "c1",
        0,
        12.5,
        "x",
        PERSONA,
        Patience("p", 1, 2, 3),
        (PlannedTurn("u", 1.0),),
        TargetSpec("http://x"),
        CallLimits(),
    )
    assert from_json(CallPlan, json.loads(json.dumps(to_json(plan)))) == plan


def test_record_survives_json():
    record = CallRecord(
        "c1", 0, "w0", "x", PERSONA, Outcome.DROPPED, Cause.ICE_FAILED, "why", "webrtc", None, None, 1, None, 2, 0.5,
        SetupTimes(1.0), None, 3, 0, MediaStats(packets_sent=4), ("host", "srflx"),
    )  # fmt: skip
    assert from_json(CallRecord, json.loads(json.dumps(to_json(record)))) == record


def test_unknown_fields_are_left_out_and_missing_ones_named():
    assert from_json(StageTimes, {"stt_ms": 1, "new": 2}) == StageTimes(stt_ms=1.0)
    with pytest.raises(TypeError, match=r"Persona\.name is missing"):
        from_json(Persona, {})
    with pytest.raises(TypeError, match="expected an object"):
        from_json(Persona, [])


def test_histogram_percentiles_are_right_within_the_stated_error():
    rng = random.Random(2)
    values = sorted(rng.lognormvariate(1, 2) for _ in range(5000))
    histogram = Histogram.of(values)
    for q in (0.01, 0.5, 0.95, 0.99, 1.0):
        exact = values[max(0, -(-int(q * 5000 * 1000) // 1000) - 1)]
        assert histogram.percentile(q) == pytest.approx(exact, rel=RELATIVE_ERROR + 0.002)
    assert histogram.maximum == values[-1]


def test_histograms_merge_exactly():
    a, b = [1.0, 2.0, 50.0], [0.0, 2.0, 900.0]
    merged = Histogram.of(a)
    merged.merge(Histogram.from_json(json.loads(json.dumps(Histogram.of(b).to_json()))))
    assert merged == Histogram.of(a + b)
    assert Histogram().percentile(0.5) is None
