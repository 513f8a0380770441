"""The parts of a turn add up to its TTFB, whatever the agent told."""

import math
import random

import pytest
from run_records import make_turn

from harness.measure.stages import AGENT_STAGES, STAGES, breakdown_of, measure, stage_sample
from harness.model.records import StageTimes, TurnRecord

pytestmark = pytest.mark.unit


def _random_turn(rng: random.Random, number: int) -> TurnRecord:
    told = {f"{s}_ms": rng.choice([None, rng.uniform(0, 700)]) for s in AGENT_STAGES}
    return make_turn(
        turn=number,
        ttfb_ms=rng.uniform(100, 4_000),
        stages=StageTimes(**told),
        network_ms=rng.choice([None, rng.uniform(0, 90)]),
    )


def test_parts_of_every_turn_add_up_to_its_ttfb() -> None:
    rng = random.Random(3)
    found = [b for i in range(200) if (b := breakdown_of(_random_turn(rng, i)))]
    assert len(found) > 150
    for breakdown in found:
        total = math.fsum(v for v in breakdown.parts.values() if v is not None)
        assert total == pytest.approx(breakdown.ttfb_ms, abs=1e-9)


def test_the_mean_turn_of_every_group_adds_up_too() -> None:
    rng = random.Random(4)
    result = measure([_random_turn(rng, i) for i in range(60)])
    assert [g.name for g in result.groups] == ["all turns", "faster half", "slowest tenth"]
    for group in result.groups:
        assert math.fsum(group.parts.values()) == pytest.approx(group.ttfb_ms, abs=1e-6)
    assert result.groups[1].ttfb_ms < result.groups[0].ttfb_ms < result.groups[2].ttfb_ms


def test_a_breakdown_by_hand() -> None:
    stages = StageTimes(endpointing_ms=300, stt_ms=200, llm_ms=250, tts_ms=150, playout_ms=10)
    breakdown = breakdown_of(make_turn(ttfb_ms=1_000.0, stages=stages, network_ms=40.0))
    assert breakdown is not None
    assert breakdown.parts == {
        "endpointing": 300, "stt": 200, "llm": 250, "tts": 150, "playout": 10, "network": 40.0, "other": 50.0,
    }  # fmt: skip


def test_an_account_longer_than_the_ttfb_leaves_a_negative_rest() -> None:
    breakdown = breakdown_of(make_turn(ttfb_ms=500.0, stages=StageTimes(llm_ms=600)))
    assert breakdown is not None
    assert breakdown.parts["other"] == -100.0


def test_a_stage_that_nobody_told_is_not_measured() -> None:
    turns = [make_turn(ttfb_ms=v, stages=StageTimes(stt_ms=v / 2)) for v in (100.0, 200.0, 300.0)]
    result = measure(turns)
    assert {name for name in STAGES if result.stages[name] is None} == {
        "endpointing", "llm", "tts", "playout", "network",
    }  # fmt: skip
    stt = result.stages["stt"]
    assert stt is not None
    assert (stt.n, stt.p50, stt.p95, stt.mean) == (3, 100.0, 150.0, 100.0)
    assert stage_sample(turns, "llm").n == 0


def test_turns_without_an_answer_have_no_breakdown() -> None:
    told = StageTimes(stt_ms=100)
    assert breakdown_of(make_turn(ttfb_ms=None, stages=told)) is None
    assert breakdown_of(make_turn(ttfb_ms=-20.0, false_endpoint=True, stages=told)) is None
    assert breakdown_of(make_turn(stages=None)) is None
    assert measure([make_turn()]).groups == []
