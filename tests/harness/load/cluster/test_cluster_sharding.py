"""The calls of all workers together are those of one worker alone; a worker that dies loses what it held."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.cluster.fingerprint import fingerprint
from harness.load.cluster.share import Share
from harness.load.retarget import retarget
from harness.load.schedule import Schedule, indices_of
from harness.model.codec import to_json
from harness.scenario.check import prepare

pytestmark = pytest.mark.unit

SCENARIO = """\
name: shared
target: {url: "http://127.0.0.1:9/o"}
callers:
  - {name: calm, weight: 3, turns: [1, 3], patience: normal}
  - {name: hasty, weight: 1, turns: 2, patience: impatient, think_ms: [100, 900]}
load: {arrivals: {distribution: poisson, rate_per_minute: 600, duration_s: 4}}
"""
S = 1_000_000_000


def prepared(folder: Path, text: str = SCENARIO, **options):
    path = folder / "shared.yaml"
    path.write_text(text)
    return prepare(path, **options)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("plan"))


@given(total=st.integers(0, 500), count=st.integers(1, 20))
def test_shares_are_disjoint_and_whole(total, count):
    shares = [indices_of(total, index, count) for index in range(count)]
    assert sorted(i for share in shares for i in share) == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("index", "count"), [(2, 2), (-1, 2), (0, 0)])
def test_a_share_that_is_none_is_refused(index, count):
    with pytest.raises(ValueError, match="legal: from 0"):
        indices_of(10, index, count)


def calls_of(plan, index, count, start_ns):
    schedule = Schedule(plan, index, count)
    schedule.start(start_ns)
    while (call := schedule.take()) is not None:
        yield to_json(call.plan), call.due_at_ns - start_ns


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_plans_of_all_workers_are_the_plan_of_one(plan, count):
    alone = list(calls_of(plan, 0, 1, 0))
    assert len(alone) > 20
    # Each worker's clock began somewhere else.
    together = [call for index in range(count) for call in calls_of(plan, index, count, 77 * index * S)]
    # Same ids, due times, callers, personas, words and pauses.
    assert sorted(together, key=lambda call: call[0]["index"]) == alone


def test_a_fingerprint_tells_plans_apart_and_not_their_targets(plan, tmp_path):
    assert fingerprint(plan) == fingerprint(prepared(tmp_path))
    assert fingerprint(plan) == fingerprint(retarget(plan, "http://127.0.0.1:10/other"))
    assert fingerprint(plan) != fingerprint(prepared(tmp_path, seed=2))
    assert fingerprint(plan) != fingerprint(prepared(tmp_path, calls=5))
    assert fingerprint(plan) != fingerprint(prepared(tmp_path, SCENARIO.replace("[1, 3]", "[1, 2]")))


def placed(share, *indices):
    for index in indices:
        share.take("placed", {"call_id": f"call-{index:06d}", "index": index, "at_ns": 5 * S})


def connected(share, index, at_ns):
    share.take("milestone", {"call_id": f"call-{index:06d}", "name": "connected", "at_ns": at_ns, "value_ms": 10.0})


def test_a_worker_that_dies_loses_what_had_begun_and_nothing_else(tmp_path):
    text = SCENARIO.replace("poisson", "uniform").replace("600", "60").replace("duration_s: 4", "calls: 10")
    plan = prepared(tmp_path, text)
    # Due on the worker's clock: 100 s, 102 s, 104 s, ...
    share, started_ns = Share(plan, 0, 2), 100 * S
    placed(share, 0, 2, 4, 6)
    share.take("call", {"call_id": "call-000000", "outcome": "completed"})
    connected(share, 2, 102 * S + 50_000_000)
    share.take("milestone", {"call_id": "call-000002", "name": "turn_answered", "at_ns": 0, "value_ms": 1.0})
    assert (share.n_active(2_500.0), share.n_active(4_000.0)) == (1, 2)
    lost = list(share.lose("worker-0", started_ns, 105 * S, "worker-0: was killed by SIGKILL"))
    assert [(c.index, c.due_at_ns, c.outcome, c.cause) for c in lost] == [
        (2, 102 * S, "lost", "engine_died"),
        (4, 104 * S, "lost", "engine_died"),
    ]
    assert (lost[0].connected_at_ns, lost[0].turns_answered) == (102 * S + 50_000_000, 1)
    assert {c.worker for c in lost} == {"worker-0"}
    assert {c.ended_at_ns for c in lost} == {105 * S}
    # Call 6 was handed over and due a second later; call 8 not even that.
    assert (share.n_planned, share.n_ended, share.n_never_placed) == (5, 3, 2)
    assert list(share.lose("worker-0", started_ns, 105 * S, "again")) == []


def test_in_closed_loop_every_call_begun_is_lost(tmp_path):
    text = SCENARIO.replace(
        "arrivals: {distribution: poisson, rate_per_minute: 600, duration_s: 4}",
        "users: {stages: [{duration_s: 5, users: 2, spawn_rate: 2}]}",
    )
    share = Share(prepared(tmp_path, text), 1, 2)
    placed(share, 1, 3)
    lost = list(share.lose("worker-1", 0, 9 * S, "gone"))
    assert [(c.index, c.due_at_ns, c.started_at_ns) for c in lost] == [(1, None, 5 * S), (3, None, 5 * S)]
    # Only time ends this run: nothing says how many calls there should have been.
    assert (share.n_planned, share.n_never_placed) == (None, None)
