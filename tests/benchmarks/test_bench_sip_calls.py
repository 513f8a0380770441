"""The climb in rate of short SIP calls: what counts as sustained, and what each side really did."""

import shutil
import sys

import pytest

from benchmarks.bench import Ground
from benchmarks.call_rate import Climb, Held
from benchmarks.engine_calls import Placed, plan_of
from benchmarks.failure import BenchmarkError
from benchmarks.peers import sipp_short
from benchmarks.processes import Child
from benchmarks.sip_calls import OurEngine
from harness.engine.wire import AlikeWriter, Decoder
from harness.model.codec import from_json
from harness.model.plan import CallPlan


def held(rate, **changes):
    values = {"placed": 10_000, "completed": 10_000, "seconds": 10_000 / rate, "resent": 0, "cpu_s": 2.0}
    return Held(asked_per_s=rate, **{**values, "peer_cpu_s": 1.0, **changes})


@pytest.mark.unit
def test_what_counts_as_sustained():
    assert held(1000).faults == []
    assert held(1000).cpu_us_per_call == 200
    assert held(1000, completed=9_990, resent=10).faults == []
    assert held(1000, completed=9_980).faults == ["99.80% completed"]
    assert held(1000, seconds=10.5).faults == ["952 calls a second achieved"]
    assert held(1000, resent=11).faults == ["11 messages sent again"]
    assert held(1000, completed=0).as_json()["achieved_per_s"] == 0


@pytest.mark.unit
@pytest.mark.parametrize("most", [400, 1_000, 1_850, 3_000])
def test_the_climb_ends_close_to_the_highest_rate(most):
    asked = []

    def hold(rate):
        asked.append(rate)
        return held(rate, completed=10_000 if rate <= most else 5_000)

    climb = Climb(first=100, factor=2, halvings=4, tries=1)
    best = climb.run(hold)
    assert best.faults == []
    assert best.asked_per_s <= most < best.asked_per_s * 1.1
    assert [each.asked_per_s for each in climb.held] == asked


@pytest.mark.unit
def test_a_rate_fails_only_when_every_try_does_and_the_first_must_be_held():
    fails = iter([True, False, True, True, True, True])

    def hold(rate):
        return held(rate, completed=0 if next(fails) else 10_000)

    climb = Climb(first=100, factor=2, halvings=1, tries=2)
    assert climb.run(hold).asked_per_s == 100
    assert [each.asked_per_s for each in climb.held] == [100, 100, 200, 200, 150, 150]
    assert Climb(first=100, factor=2, halvings=3, tries=1).run(lambda rate: held(rate, completed=0)) is None
    assert Climb(first=100, factor=2, halvings=3, tries=1, highest=500).run(held).asked_per_s == 400


@pytest.mark.unit
def test_plans_are_a_scenarios_own_and_due_evenly(tmp_path):
    plan = plan_of("sip:127.0.0.1:5060", tmp_path)
    assert (plan.target.transport, plan.target.sip.media, plan.target.sip.hold_ms) == ("sip", False, 0)
    placed = Placed("x", plan, 200.0, 6)
    frames = placed.frames(AlikeWriter(), 1_000_000_000)
    # Some are told of together, none later than when it is due.
    assert [due for due, _frame in frames] == [1_000_000_000, 1_020_000_000]
    alike, *rows = Decoder().feed(b"".join(frame for _due, frame in frames))
    assert from_json(CallPlan, alike["plan"]).target == plan.target
    calls = [call for message in rows for call in message["calls"]]
    assert [call[:2] for call in calls] == [[f"x-{i:06d}", i] for i in range(6)]
    assert [call[3] for call in calls] == [1_000_000_000 + 5_000_000 * i for i in range(6)]


@pytest.mark.unit
def test_a_call_whose_goodbye_was_not_answered_is_not_completed(tmp_path):
    def row(outcome, bye):
        sip = {"retransmissions": 2, "bye": bye}
        times = {"arrival_lateness_ms": 1.0, "ended_at_ns": 3_000_000_000}
        return {"t": "call", "record": {"outcome": outcome, "cause": "none", "sip": sip, **times}}

    placed = Placed("x", plan_of("sip:127.0.0.1:5060", tmp_path), 200.0, 3)
    rows = [row("completed", "answered"), row("completed", "unanswered"), row("failed", "none"), {"t": "milestone"}]
    told = placed.outcome(1_000_000_000, rows)
    assert (told["placed"], told["completed"], told["seconds"], told["resent"]) == (3, 1, 2.0, 6)


@pytest.mark.unit
def test_the_shells_times_are_read():
    assert sipp_short.cpu_of("0m1.250s 1m0.500s\n") == 61.75
    with pytest.raises(BenchmarkError, match="said 'no'"):
        sipp_short.cpu_of("no")


@pytest.mark.slow
@pytest.mark.loopback
@pytest.mark.skipif(shutil.which("sipp") is None, reason="SIPp is not installed")
def test_both_sides_call_sipps_agent_and_tell_what_it_took(tmp_path):
    ground = Ground(None, None, tmp_path, is_own_network=False)
    with sipp_short.Uas(ground) as uas:
        theirs = sipp_short.hold(uas, ground, 50, 1.0)
        with OurEngine(uas, ground) as engine:
            told = engine.hold(50, 1.0)
    assert (theirs.placed, theirs.completed) == (50, 50)
    assert (told["placed"], told["completed"], told["byes"]) == (50, 50, {"answered": 50})
    assert theirs.cpu_s > 0
    assert told["cpu_s"] > 0
    assert told["peer_cpu_s"] > 0


@pytest.mark.loopback
def test_an_engine_that_cannot_start_is_told_with_its_last_words(tmp_path):
    command = [sys.executable, "-m", "benchmarks.engine_calls", "sip:127.0.0.1:9", "/dev/null/folder"]
    with (
        pytest.raises(BenchmarkError, match="ended; the end of"),
        Child(command, None, tmp_path / "log") as child,
    ):
        child.hear("ready", 60)
