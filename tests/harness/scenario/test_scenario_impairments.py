"""`impairments` of a scenario: what is legal, which of target and caller is heard, and the seed of each direction."""

import json

import pytest

from harness.corpus.manifest import load_corpus
from harness.model.codec import from_json, to_json
from harness.model.errors import ScenarioError
from harness.model.impairment import Bandwidth, BurstLoss, Impairment, Jitter
from harness.model.plan import CallPlan
from harness.scenario.loader import load_scenario
from harness.scenario.plans import Planner

pytestmark = pytest.mark.unit

HEAD = """
name: s
target:
  url: http://127.0.0.1:9/offer
  impairments: {target}
callers:
  - name: a
    impairments: {caller}
load: {{arrivals: {{rate_per_minute: 60, calls: 2}}}}
"""


def load(tmp_path, target="null", caller="null"):
    path = tmp_path / "s.yaml"
    path.write_text(HEAD.format(target=target, caller=caller))
    return load_scenario(path).scenario


def plans(tmp_path, seed=1, **said):
    planner = Planner(load(tmp_path, **said), load_corpus(None), seed)
    return [planner.plan_for_index(i) for i in range(2)]


@pytest.mark.parametrize(
    ("caller", "message"),
    [
        ("{outgoing: {loss_ratio: 2}}", "8: callers[0].impairments.outgoing.loss_ratio: got 2; legal: a number of at"),
        ("{outgoing: {los_ratio: 0.1}}", "(did you mean loss_ratio?)"),
        ("{incoming: {burst_loss: {p: 0.1}}}", "8: callers[0].impairments.incoming.burst_loss.r: missing"),
        ("{incoming: {burst_loss: {p: 0.1, r: 0}}}", "burst_loss.r: got 0; legal: a number above 0"),
        (
            "{both: {delay_ms: 50, jitter: {ms: 10, distribution: gauss}}}",
            "distribution: got 'gauss'; legal: uniform, n",
        ),
        ("{both: {jitter: {ms: 10}}}", "into the past; legal: a delay_ms of at least 10"),
        ("{both: {}, outgoing: {}}", "8: callers[0].impairments: has both and a direction; legal:"),
        ("{both: {bandwidth: {kbps: 0}}}", "bandwidth.kbps: got 0; legal: a number of at least 1"),
        ("{both: {delay_ms: 20000}}", "delay_ms: got 20000; legal: a number of at most 10000"),
    ],
)
def test_wrong_impairments_are_refused_by_line_with_what_is_legal(tmp_path, caller, message):
    with pytest.raises(ScenarioError) as refused:
        load(tmp_path, caller=caller)
    assert message in str(refused.value)


def test_every_key_reaches_the_plan_and_survives_the_wire(tmp_path):
    said = (
        "{outgoing: {loss_ratio: 0.01, burst_loss: {p: 0.02, r: 0.3, loss_good: 0.001, loss_bad: 0.9}, delay_ms: 50,"
        " jitter: {ms: 20, distribution: normal, reorder: kept}, reorder_ratio: 0.03, reorder_ms: 40,"
        " duplicate_ratio: 0.04, bandwidth: {kbps: 64, queue_ms: 100}}}"
    )
    plan = plans(tmp_path, caller=said)[0]
    planned = plan.impair_outgoing
    assert planned == Impairment(
        loss_ratio=0.01,
        burst_loss=BurstLoss(0.02, 0.3, 0.001, 0.9),
        delay_ms=50,
        jitter=Jitter(20, "normal", "kept"),
        reorder_ratio=0.03,
        reorder_ms=40,
        duplicate_ratio=0.04,
        bandwidth=Bandwidth(64, 100),
        seed=planned.seed,
    )
    assert plan.impair_incoming is None
    assert from_json(CallPlan, json.loads(json.dumps(to_json(plan)))) == plan


def test_a_callers_direction_replaces_the_targets_and_an_empty_one_clears_it(tmp_path):
    target = "{outgoing: {loss_ratio: 0.1}, incoming: {loss_ratio: 0.2}}"
    first = plans(tmp_path, target=target, caller="{outgoing: {delay_ms: 30}}")[0]
    assert (first.impair_outgoing.loss_ratio, first.impair_outgoing.delay_ms) == (0, 30)
    assert first.impair_incoming.loss_ratio == 0.2
    cleared = plans(tmp_path, target=target, caller="{outgoing: {}}")[0]
    assert (cleared.impair_outgoing, cleared.impair_incoming.loss_ratio) == (None, 0.2)


def test_each_direction_of_each_call_has_a_seed_of_its_own_and_a_run_is_repeatable(tmp_path):
    first, again = (plans(tmp_path, caller="{both: {loss_ratio: 0.1}}") for _ in range(2))
    assert first == again
    seeds = {i.seed for plan in first for i in (plan.impair_outgoing, plan.impair_incoming)}
    assert len(seeds) == 4
    other = plans(tmp_path, seed=2, caller="{both: {loss_ratio: 0.1}}")
    assert seeds.isdisjoint({other[0].impair_outgoing.seed, other[0].impair_incoming.seed})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Impairment(loss_ratio=1.5), "loss_ratio: got 1.5; legal: 0 to 1"),
        (lambda: Impairment(delay_ms=-1), "delay_ms: got -1; legal: 0 to 10000"),
        (lambda: Jitter(10, "gauss"), "jitter.distribution: got 'gauss'; legal: uniform, normal"),
        (lambda: Jitter(10, reorder="no"), "jitter.reorder: got 'no'; legal: allowed, kept"),
        (lambda: BurstLoss(0.1, 0), "burst_loss.r: got 0, so the bad state would never end"),
        (lambda: BurstLoss(0.1, float("nan")), "burst_loss.r: got nan; legal: 0 to 1"),
        (lambda: Bandwidth(0), "bandwidth.kbps: got 0; legal: 1 to"),
    ],
)
def test_the_dataclasses_refuse_what_no_network_does(build, message):
    with pytest.raises(ValueError, match="got ") as refused:
        build()
    assert message in str(refused.value)


def test_impairments_are_named_in_words():
    assert (
        Impairment(loss_ratio=0.02, delay_ms=50, jitter=Jitter(5)).words()
        == "2% loss, delay 50 ms, jitter 5 ms uniform"
    )
    assert Impairment(burst_loss=BurstLoss(0.02, 0.18)).words() == "10% loss in bursts"
    assert not Impairment(burst_loss=BurstLoss(0, 0.5)).does_something
