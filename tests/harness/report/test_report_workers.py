"""What a report says of several workers: what a dead one took with it, and times of several clocks on one axis."""

import json

import pytest
from sample_run import write_run

from harness.model.errors import ScenarioError
from harness.report.finish import finish_run
from harness.report.store import read_run
from harness.report.workers import WorkerInfo

pytestmark = pytest.mark.unit

DAY_NS = 86_400_000_000_000


def worker(name, **changes):
    base = {
        "name": name,
        "host": "loadbox",
        "pid": 77,
        "clock": "a",
        "shares_clock": True,
        "started_monotonic_ns": 5_000_000_000_000,
        "clock_error_ms": 0.0,
        "clock_drift_ms": None,
        "status": "finished",
        "end": None,
        "calls_planned": 12,
        "calls_never_placed": 0,
        "run_dir": None,
    }
    return base | changes


def with_worker(run_dir, name):
    """Make the sample's records those of one worker."""
    for path in run_dir.glob("*.jsonl"):
        lines = [json.loads(line) | {"worker": name} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_dir


def test_a_worker_that_died_voids_the_run_by_name_and_stands_in_every_report(tmp_path, capsys):
    dead = worker("worker-1", end="was killed by SIGKILL", status="died", calls_planned=9, calls_never_placed=4)
    run_dir = with_worker(write_run(tmp_path, status="worker_lost", workers=[worker("worker-0"), dead]), "worker-0")
    result = finish_run(run_dir)
    reason = (
        "worker-1 on loadbox (pid 77) did not come to its end: was killed by SIGKILL; calls lost with it: 0, "
        "calls of its share never placed: 4; see its engine's log, then run again"
    )
    assert (result.verdict.kind, result.exit_code, result.verdict.deciding) == ("VOID", 98, reason)
    told = capsys.readouterr().out
    assert "worker-0 on loadbox (pid 77)  12 of 12 calls" in told
    assert "worker-1 on loadbox (pid 77)  0 of 9 calls: was killed by SIGKILL" in told
    assert "was killed by SIGKILL" in result.report_path.read_text()
    assert [w["calls_recorded"] for w in result.summary["workers"]] == [12, 0]


def test_a_worker_that_died_with_nothing_to_lose_is_a_note(tmp_path):
    gone = worker("worker-0", end="exited with status 1", status="died")
    run_dir = with_worker(write_run(tmp_path, status="worker_lost", workers=[gone]), "worker-0")
    result = finish_run(run_dir, print_report=False)
    assert result.verdict.kind != "VOID"
    assert any("nothing of its share was missing: exited with status 1" in note for note in result.summary["notes"])


@pytest.mark.parametrize(
    ("changes", "has_fault"),
    [
        ({}, False),
        ({"end": "died"}, False),
        ({"end": "died", "calls_lost": 1}, True),
        ({"end": "died", "calls_never_placed": 1}, True),
        # Only time would have ended its share: nothing says that none is missing.
        ({"end": "died", "calls_planned": None, "calls_never_placed": None}, True),
        # An operator's end leaves calls unplaced, and that is nobody's fault.
        ({"calls_never_placed": None}, False),
    ],
)
def test_what_is_a_fault(changes, has_fault):
    fields = {name: value for name, value in worker("w").items() if name != "clock"}
    assert (WorkerInfo(**(fields | changes)).fault is not None) == has_fault


def test_times_of_another_clock_stand_on_the_runs_axis_and_durations_stay(tmp_path):
    ours = read_run(with_worker(write_run(tmp_path / "ours"), "worker-0"))
    foreign = worker(
        "worker-0",
        shares_clock=False,
        started_monotonic_ns=5_000_000_000_000 - DAY_NS,
        clock_error_ms=0.31,
        clock_drift_ms=-1.2,
        run_dir="/srv/run",
    )
    run_dir = write_run(tmp_path / "theirs", workers=[foreign], first_due_monotonic_ns=5_000_000_000_000)
    for path in with_worker(run_dir, "worker-0").glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        moved = [
            {k: v - DAY_NS if k.endswith("at_ns") and v is not None else v for k, v in row.items()} for row in rows
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in moved))
    theirs = read_run(run_dir)
    assert (theirs.calls, theirs.turns, theirs.health) == (ours.calls, ours.turns, ours.health)
    notes = finish_run(run_dir, print_report=False).summary["notes"]
    assert any("right to 0.31 ms (drift during the run -1.20 ms)" in note for note in notes)
    assert any("lie there, in /srv/run" in note for note in notes)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, "workers: expected a list"),
        ([7], r"workers\[0\]: WorkerInfo: expected an object, got int"),
        ([worker("w", pid="x")], r"workers\[0\]: WorkerInfo.pid: a whole number expected"),
        ([{"name": "w"}], r"workers\[0\]: WorkerInfo.host is missing"),
    ],
)
def test_a_list_of_workers_that_is_none_is_refused_by_its_place(tmp_path, raw, expected):
    with pytest.raises(ScenarioError, match=expected):
        read_run(write_run(tmp_path, workers=raw))
