"""`callquake run` over several workers with its real engines: as one, and from other networks and clocks."""

import contextlib
import functools
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness" / "engine"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness" / "load"))

import product
from distributed import Command, free_port
from engine_bench import bench_clips, read_truth, responder, write_wav_corpus
from network_rooms import has_time_namespaces, rooms
from product import Run, scenario

from harness.measure import ttfb
from harness.model.histogram import RELATIVE_ERROR, Histogram
from harness.report.store import read_run

pytestmark = pytest.mark.end_to_end

RESPONDER = ("--delay-ms", "300:300", "--hear", "level")
CALLERS = [{"name": "all", "turns": 2, "think_ms": [100, 300], "patience": "unlimited"}]
# A packet of the agent's every 20 ms; the truth is its send time, what is measured is the arrival.
PACKET_MS = 20.0
AWAY_S = 100_000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_wav_corpus(tmp_path_factory.mktemp("clips"), bench_clips())


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    """A handful of calls needs no compiled loop, and several engines that compile at once need minutes."""
    monkeypatch.setenv("CALLQUAKE_MEDIA", "python")
    monkeypatch.setitem(product.ENVIRONMENT, "CALLQUAKE_MEDIA", "python")


def ended(run):
    """Return the exit code; nothing of a run that does not end is left behind."""
    try:
        return run.end()
    finally:
        if run.process.poll() is None:
            for _ in range(2):
                run.process.send_signal(signal.SIGINT)
                time.sleep(0.2)
            run.process.wait(30)


def told(run):
    """What a run did, without what time did to it."""
    calls = sorted(run.rows("calls.jsonl"), key=lambda c: c["index"])
    turns = sorted((t["call_id"], t["turn"], t["utterance_id"]) for t in run.rows("turns.jsonl"))
    return [(c["call_id"], c["caller"], c["persona"], c["turns_planned"], c["outcome"]) for c in calls], turns


def ticks_of(stored, worker=None):
    merged = Histogram()
    for sample in stored.health:
        if worker in {None, sample.worker}:
            merged.merge(Histogram.from_json(sample.tick_lateness_ms))
    return merged


@pytest.mark.slow
def test_two_workers_measure_what_one_does(tmp_path, corpus):
    words = ("--corpus", str(corpus))
    plan = scenario("", calls=8, callers=CALLERS)
    with responder(tmp_path / "truth-a", *RESPONDER) as (url, _):
        alone = Run(tmp_path / "alone", plan | {"target": {"url": url}}, *words)
        assert ended(alone) == 0, alone.text
    with responder(tmp_path / "truth-b", *RESPONDER) as (url, _):
        shared = Run(tmp_path / "shared", plan | {"target": {"url": url}}, *words, "--processes", "2")
        assert ended(shared) == 0, shared.text
    assert told(shared) == told(alone)
    one, two = (read_run(run.run_dir) for run in (alone, shared))
    # Each is right about the same agent, so they agree: the median to a packet, of truth and of each other.
    medians = [ttfb.measure(run.turns).percentiles["p50"].value for run in (one, two)]
    assert medians == pytest.approx([300.0, 300.0], abs=300 * RELATIVE_ERROR + 2 * PACKET_MS)
    assert len(read_truth(tmp_path / "truth-a")) == len(read_truth(tmp_path / "truth-b")) == 16
    # Merged is what the parts add up to.
    parts = ticks_of(two, "worker-0")
    parts.merge(ticks_of(two, "worker-1"))
    assert ticks_of(two) == parts
    assert {sample.worker for sample in two.health} == {"worker-0", "worker-1"}
    assert shared.json("summary.json")["generator"]["tick_lateness_ms"]["n"] == parts.n


@contextlib.contextmanager
def workers_in(folder, places, port, corpus):
    """A worker in each room; the last with a clock of its own, where this kernel can."""
    offset = AWAY_S if has_time_namespaces() else None
    commands = []
    try:
        for i, room in enumerate(places):
            (folder / f"box-{i}").mkdir()
            join = ["--worker", "--master-host", room.outside, "--master-port", port, "--corpus", corpus]
            wrap = functools.partial(room.command, clock_offset_s=offset if room is places[-1] else None)
            commands.append(Command(folder / f"box-{i}" / "out.txt", join, mode=None, wrap=wrap))
        yield commands
    finally:
        for command in commands:
            with contextlib.suppress(psutil.NoSuchProcess):
                command.family = command.process.children(recursive=True) or command.family
            command.kill()


def test_workers_in_other_networks_and_on_another_clock(tmp_path, corpus):
    with (
        rooms(2) as places,
        responder(tmp_path / "truth", *RESPONDER, "--host", places[0].outside) as (url, _),
        workers_in(tmp_path, places, port := free_port(), corpus) as workers,
    ):
        words = ("--corpus", str(corpus), "--master", "--expect-workers", "2", "--master-port", str(port))
        run = Run(tmp_path / "here", scenario(url, calls=8, callers=CALLERS), *words)
        assert ended(run) == 0, run.text + "".join(worker.text for worker in workers)
        assert [worker.end() for worker in workers] == [0, 0]
    calls = run.rows("calls.jsonl")
    assert sorted(c["index"] for c in calls) == list(range(8))
    assert {c["worker"]: c["outcome"] for c in calls} == {"worker-0": "completed", "worker-1": "completed"}
    info = run.json("run.json")
    away = [w for w in info["workers"] if not w["shares_clock"]]
    stored = read_run(run.run_dir)
    if away:
        # Its clock was set apart by the kernel, so the truth is known: the start was carried over to what is stated.
        apart_ms = (away[0]["started_monotonic_ns"] - info["first_due_monotonic_ns"]) / 1e6
        assert abs(apart_ms - AWAY_S * 1000) <= away[0]["clock_error_ms"] + 0.001
        assert any("has a clock of its own" in note for note in run.json("summary.json")["notes"])
    # On the run's axis the calls of both are due as planned, a half second apart.
    dues = [c.due_at_ns for c in sorted(stored.calls, key=lambda c: c.index)]
    planned = [info["first_due_monotonic_ns"] + i * 500_000_000 for i in range(8)]
    assert dues == pytest.approx(planned, abs=1_000)
    assert all(c.arrival_lateness_ms >= 0 for c in stored.calls)
    assert {t.ttfb_ms is not None for t in stored.turns} == {True}
