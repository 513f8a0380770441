"""Plans off the wire: read right, whatever they share with those before them."""

import json
from functools import partial

import engine_bench
import pytest

from harness.engine.plan_reader import PlanReader
from harness.model.codec import to_json

pytestmark = pytest.mark.unit
plan = partial(engine_bench.plan, call_id="call-1", turns=["u", "v"])


def off_the_wire(call_plan):
    return json.loads(json.dumps(to_json(call_plan)))


def test_plans_are_read_as_they_were_written():
    reader = PlanReader()
    plans = [plan(f"rtp://127.0.0.1:{port}", dialect=dialect) for port in (9, 10, 9) for dialect in ("json", "whip")]
    assert [reader.read(off_the_wire(p)) for p in plans] == plans


def test_what_calls_share_is_read_once():
    reader = PlanReader()
    first, second, other = (
        reader.read(off_the_wire(plan(url))) for url in ("rtp://127.0.0.1:9", "rtp://127.0.0.1:9", "rtp://127.0.0.1:8")
    )
    assert first.target is second.target
    assert first.limits is second.limits is other.limits
    assert other.target.url == "rtp://127.0.0.1:8"


def test_many_targets_are_told_apart_and_few_are_kept():
    reader = PlanReader()
    for port in [*range(1, 40), *range(1, 40)]:
        assert reader.read(off_the_wire(plan(f"rtp://127.0.0.1:{port}"))).target.url == f"rtp://127.0.0.1:{port}"
    assert len(reader._known["target"]) < 39


def test_what_does_not_fit_is_named():
    raw = off_the_wire(plan("rtp://127.0.0.1:9"))
    with pytest.raises(TypeError, match=r"CallPlan\.target is missing"):
        PlanReader().read({name: value for name, value in raw.items() if name != "target"})
    with pytest.raises(TypeError, match=r"TargetSpec\.url is missing"):
        PlanReader().read({**raw, "target": {}})
