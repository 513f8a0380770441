"""Call plans: call i depends on scenario, seed and i alone."""

from collections import Counter
from pathlib import Path
from types import MappingProxyType

import pytest

from harness.corpus.manifest import Corpus, Utterance
from harness.model.codec import from_json, to_json
from harness.model.plan import CallPlan
from harness.scenario.plans import Planner, plan_calls
from harness.scenario.schema import Scenario, json_schema

pytestmark = pytest.mark.unit

ACCENTS = ("american", "british", "hindi-l1", "chinese-l1")


def utterance(accent, number, noise):
    base = f"{accent}-{number}"
    return Utterance(
        id=base if noise == "clean" else f"{base}-{noise}",
        path="x.opus",
        transcript=f"sentence {number}",
        accent=accent,
        native=not accent.endswith("l1"),
        speaker="voice",
        noise=noise,
        snr_db=None if noise == "clean" else 10.0,
        speech_level_dbfs=-26.0,
        speech_start_ms=200.0,
        speech_end_ms=3000.0,
        duration_ms=3200.0,
        sample_rate=24000,
        vocabulary="general",
        base_id=base,
        sha256="0" * 64,
        licence="none",
    )


def corpus():
    clips = [utterance(a, n, noise) for a in ACCENTS for n in range(4) for noise in ("clean", "street")]
    return Corpus(Path("corpus"), "0" * 64, MappingProxyType({c.id: c for c in clips}))


def scenario(**changes):
    base = {
        "name": "s",
        "target": {"url": "http://127.0.0.1:9/offer", "headers": {"X-Key": "k"}},
        "callers": [
            {"name": "a", "weight": 3, "turns": [2, 4], "patience": "impatient"},
            {"name": "b", "weight": 1, "select": {"native": [False], "noise": ["street"]}, "turns": 3},
            {"name": "never", "weight": 0},
        ],
        "load": {"arrivals": {"rate_per_minute": 60, "calls": 40}},
        "record": 0.5,
    }
    return Scenario.model_validate(base | changes)


def test_the_same_seed_gives_the_same_calls_and_another_seed_others():
    first, second = plan_calls(scenario(), corpus(), 11), plan_calls(scenario(), corpus(), 11)
    assert first == second
    assert len(first) == 40
    other = plan_calls(scenario(), corpus(), 12)
    assert [c.turns for c in first] != [c.turns for c in other]
    assert [c.due_ms for c in first] != [c.due_ms for c in other]


def test_a_call_does_not_depend_on_which_were_planned_before_it():
    planner = Planner(scenario(), corpus(), 11)
    alone = Planner(scenario(), corpus(), 11).plan_for_index(17)
    backwards = [planner.plan_for_index(i) for i in reversed(range(40))]
    assert backwards[40 - 1 - 17] == alone


def test_callers_come_in_the_mix_of_their_weights_even_in_a_short_run():
    for seed in range(20):
        names = Counter(c.caller for c in plan_calls(scenario(), corpus(), seed)[:8])
        assert names["a"] in {5, 6, 7}, names
        assert names["never"] == 0


def test_a_call_keeps_one_accent_says_nothing_twice_and_takes_only_what_is_selected():
    clips = corpus().utterances
    for plan in plan_calls(scenario(), corpus(), 3):
        spoken = [clips[t.utterance_id] for t in plan.turns]
        assert {c.accent for c in spoken} == {plan.persona.accent}
        # Four sentences an accent: none is said twice, in whatever noise.
        assert len({c.base_id for c in spoken}) == len(spoken)
        if plan.caller == "b":
            assert {(c.native, c.noise) for c in spoken} == {(False, "street")}
            assert len(spoken) == 3
        else:
            assert 2 <= len(spoken) <= 4
        assert all(300 <= t.think_ms <= 900 for t in plan.turns)


def test_patience_is_a_draw_from_the_unit_exponential():
    one_caller = [{"name": "a", "turns": 1, "patience": "patient"}]
    arrivals = {"arrivals": {"rate_per_minute": 60, "calls": 2000, "distribution": "uniform"}}
    plans = plan_calls(scenario(callers=one_caller, load=arrivals), corpus(), 1)
    budgets = [p.patience.budget for p in plans]
    assert sum(budgets) / len(budgets) == pytest.approx(1.0, abs=0.1)
    assert sum(b > 1 for b in budgets) / len(budgets) == pytest.approx(0.368, abs=0.05)
    assert {(p.patience.scale, p.patience.max_repeats) for p in plans} == {(0.3, 2)}
    assert len({p.seed for p in plans}) == 2000


def test_numbers_belong_to_nobody_and_regions_fit_the_accent():
    plans = plan_calls(scenario(), corpus(), 5)
    assert all("55501" in p.persona.phone_number or "7700900" in p.persona.phone_number for p in plans)
    regions = {p.persona.accent: p.persona.region for p in plans}
    assert regions == {"american": "US", "british": "GB", "hindi-l1": "IN", "chinese-l1": "CN"}


def test_record_is_a_share_of_the_calls():
    load = {"arrivals": {"rate_per_minute": 60, "calls": 400}}
    plans = plan_calls(scenario(load=load), corpus(), 5)
    assert 160 < sum(p.record for p in plans) < 240
    assert not any(p.record for p in plan_calls(scenario(record="none"), corpus(), 5))
    assert all(p.record for p in plan_calls(scenario(record="all"), corpus(), 5))


def test_limits_target_and_overrides_reach_the_plan_and_cross_the_wire():
    limits = {"answer_timeout_s": 7.5, "quiet_ms": 500}
    plan = plan_calls(scenario(limits=limits), corpus(), 1, "http://127.0.0.1:10/other")[0]
    assert (plan.limits.answer_timeout_ms, plan.limits.quiet_ms) == (7500, 500)
    assert (plan.target.url, plan.target.headers) == ("http://127.0.0.1:10/other", {"X-Key": "k"})
    assert from_json(CallPlan, to_json(plan)) == plan


def test_closed_loop_has_no_due_times():
    closed = scenario(load={"users": {"stages": [{"duration_s": 5, "users": 2}], "calls": 3}})
    assert plan_calls(closed, corpus(), 1) == []
    assert Planner(closed, corpus(), 1).plan_for_index(2).due_ms is None


def test_the_schema_names_every_key_and_refuses_others():
    schema = json_schema()
    assert set(schema["required"]) == {"name", "callers", "load"}
    assert schema["oneOf"] == [{"required": ["target"]}, {"required": ["targets"]}]
    assert schema["additionalProperties"] is False
    assert {"arrivals", "users"} == set(schema["$defs"]["Load"]["properties"])
    assert schema["$defs"]["Caller"]["properties"]["patience"]["anyOf"][0]["enum"][0] == "impatient"
