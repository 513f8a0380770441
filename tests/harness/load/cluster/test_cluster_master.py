"""The master's side of a run: one start, no end before the last record, bounds on every wait. No process, no port."""

import gevent
import pytest

from harness.load.cluster import master
from harness.load.cluster.master import Cluster
from harness.load.cluster.processes import Process
from harness.load.cluster.seats import Seat
from harness.model.clock import monotonic_ns
from harness.model.errors import ScenarioError
from harness.scenario.check import prepare

pytestmark = pytest.mark.unit

SCENARIO = """\
name: s
target: {url: "http://127.0.0.1:9/o"}
callers: [{name: a, turns: 1}]
load: {arrivals: {rate_per_minute: 60000, distribution: uniform, calls: 4}}
"""
LIMITS = {"FIT_TIMEOUT_S": 0.3, "START_TIMEOUT_S": 0.3, "DRAIN_TIMEOUT_S": 0.3, "LEAD_S": 0.01, "_POLL_S": 0.005}


class Line:
    """Stands for Seats: a list of workers, and of what they were told."""

    def __init__(self, n):
        self.living = [
            Seat(f"client-{i}", f"host-{i}", Process(100 + i, "", ""), "clock", monotonic_ns(), shares_clock=True)
            for i in range(n)
        ]
        for seat in self.living:
            seat.is_fit = True
        self.told, self.cluster = [], None

    def send(self, seat, kind, **fields):
        self.told.append((seat.client_id, kind, fields))

    def drop(self, seat, why):
        seat.end = why
        self.cluster.lose(seat)

    def kinds(self, client_id):
        return [kind for to, kind, _ in self.told if to == client_id]


@pytest.fixture
def make(tmp_path, monkeypatch):
    for name, value in LIMITS.items():
        monkeypatch.setattr(master, name, value)
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO)
    prepared = prepare(path)

    def make_cluster(n=2):
        line, records = Line(n), []
        cluster = Cluster(line, prepared, 1, lambda kind, row: records.append((kind, row)))
        line.cluster = cluster
        return cluster, line, records

    return make_cluster


def report(cluster, seat, state, n_rows=0, status="finished", notes=(), run=1):
    message = {"t": "report", "run": run, "state": state, "status": status, "notes": list(notes), "n_rows": n_rows}
    cluster.take(seat, message | {"started_ns": 5_000, "error_ms": 0.0, "drift_ms": None, "run_dir": None})


def batch(cluster, seat, first, *rows):
    cluster.take(seat, {"t": "batch", "run": 1, "first": first, "rows": list(rows)})


def placed(index):
    return "placed", {"call_id": f"call-{index:06d}", "index": index, "at_ns": 1}


def call(index):
    return "call", {"call_id": f"call-{index:06d}", "index": index, "outcome": "completed"}


def begin(cluster, line, tmp_path):
    cluster.gather(2)
    starting = gevent.spawn(cluster.start, "run", tmp_path, lambda: None)
    gevent.sleep(0.01)
    for seat in line.living:
        report(cluster, seat, "ready")
    starting.get()
    for seat in line.living:
        report(cluster, seat, "running")


def test_all_workers_get_one_start_once_the_last_is_ready(make, tmp_path):
    cluster, line, _ = make()
    cluster.gather(2)
    starting = gevent.spawn(cluster.start, "run", tmp_path, lambda: None)
    gevent.sleep(0.01)
    report(cluster, line.living[0], "ready")
    gevent.sleep(0.03)
    assert "go" not in line.kinds("client-0")
    report(cluster, line.living[1], "ready")
    starting.get()
    begins = [fields for _, kind, fields in line.told if kind == "begin"]
    assert [(b["name"], b["index"], b["count"]) for b in begins] == [("worker-0", 0, 2), ("worker-1", 1, 2)]
    starts = {fields["start_ns"] for _, kind, fields in line.told if kind == "go"}
    assert starts == {cluster.started_ns}
    # The signal got lost: it is said again.
    line.told.clear()
    report(cluster, line.living[1], "ready")
    assert line.kinds("client-1") == ["go"]


def test_the_end_waits_for_the_last_record_of_a_slow_worker(make, tmp_path):
    cluster, line, records = make()
    begin(cluster, line, tmp_path)
    quick, slow = line.living
    batch(cluster, quick, 0, placed(0), call(0))
    report(cluster, quick, "done", 2)
    report(cluster, slow, "done", 2)
    assert not cluster.is_over
    finishing = gevent.spawn(cluster.finish)
    gevent.sleep(0.1)
    assert not finishing.ready()
    batch(cluster, slow, 0, placed(1), call(1))
    finishing.get(timeout=5)
    assert [row["index"] for kind, row in records if kind == "call"] == [0, 1]
    assert (cluster.status, cluster.notes) == ("finished", [])


def test_a_worker_that_never_delivers_is_given_up_and_named(make, tmp_path):
    cluster, line, records = make()
    begin(cluster, line, tmp_path)
    quick, silent = line.living
    batch(cluster, silent, 0, placed(1))
    report(cluster, silent, "over", 9)
    report(cluster, quick, "done", 0)
    gevent.sleep(0.05)
    cluster.finish()
    assert cluster.status == "worker_lost"
    lost = [row for kind, row in records if kind == "call"]
    assert [(row["index"], row["outcome"], row["worker"]) for row in lost] == [(1, "lost", "worker-1")]
    described = cluster.describe()[1]
    assert described["end"] == "did not deliver its last records within 0.3 s (1 of at least 9 are here)"
    assert (described["calls_planned"], described["calls_never_placed"]) == (2, 1)
    # What comes too late changes nothing any more.
    batch(cluster, silent, 1, call(1))
    assert len([kind for kind, _ in records if kind == "call"]) == 1


def test_a_worker_that_dies_loses_its_own_calls_and_the_run_goes_on(make, tmp_path):
    cluster, line, records = make()
    begin(cluster, line, tmp_path)
    living, dying = line.living
    batch(cluster, living, 0, placed(0))
    batch(cluster, dying, 0, placed(1))
    gevent.sleep(0.05)
    line.drop(dying, "was killed by SIGKILL")
    assert not cluster.is_over
    assert [row["detail"] for kind, row in records if kind == "call"] == ["worker-1: was killed by SIGKILL"]
    batch(cluster, living, 1, call(0), placed(2), call(2))
    report(cluster, living, "over", 4)
    assert cluster.is_over
    report(cluster, living, "done", 4)
    cluster.finish()
    assert cluster.status == "worker_lost"
    assert [w["end"] for w in cluster.describe()] == [None, "was killed by SIGKILL"]


def test_a_run_whose_workers_all_lost_the_target_says_so(make, tmp_path):
    cluster, line, _ = make()
    begin(cluster, line, tmp_path)
    for seat in line.living:
        report(cluster, seat, "done", status="target_unreachable", notes=["10 calls in a row"])
    cluster.finish()
    assert cluster.status == "target_unreachable"
    assert cluster.notes == ["worker-0: 10 calls in a row", "worker-1: 10 calls in a row"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["ready", None], "worker-1 on host-1: its engine was not ready within 0.3 s"),
        (["ready", "done"], "worker-1 on host-1 did not start: the engine did not start: no ports"),
    ],
)
def test_a_run_without_all_its_engines_ends_before_any_call(make, tmp_path, states, expected):
    cluster, line, _ = make()
    cluster.gather(2)
    starting = gevent.spawn(cluster.start, "run", tmp_path, lambda: None)
    gevent.sleep(0.01)
    for seat, state in zip(line.living, states, strict=True):
        if state is not None:
            notes = ["the engine did not start: no ports"] if state == "done" else []
            report(cluster, seat, state, status="engine_died" if notes else "finished", notes=notes)
    starting.get(timeout=5)
    assert (cluster.status, cluster.notes[0]) == ("engine_died", expected)
    assert "go" not in line.kinds("client-0")
    cluster.finished.wait(5)
    assert cluster.is_over


def test_a_word_of_another_run_is_left_alone(make, tmp_path):
    cluster, line, _ = make()
    begin(cluster, line, tmp_path)
    report(cluster, line.living[0], "done", run=7)
    report(cluster, line.living[1], "done", run=7)
    assert not cluster.is_over


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"unfit": "no corpus here"}, r"worker on host-1 \(pid 101\) cannot take part: no corpus here"),
        ({"is_fit": False}, "1 of 2 workers were fit for the run within 0.3 s"),
    ],
)
def test_a_run_does_not_begin_without_fit_workers(make, change, expected):
    cluster, line, _ = make()
    for name, value in change.items():
        setattr(line.living[1], name, value)
    with pytest.raises(ScenarioError, match=expected):
        cluster.gather(2)
