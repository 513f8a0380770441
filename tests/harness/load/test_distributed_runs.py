"""Runs over several workers with a scripted engine: one plan, exact records, and what becomes of them when one dies."""

import contextlib
import itertools
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

from harness.corpus.manifest import default_corpus_dir

sys.path.insert(0, str(Path(__file__).parent))

from distributed import ENGINE, Command, Run, free_port, target

pytestmark = pytest.mark.loopback


def told(run):
    """What a run did, without what time did to it."""
    calls = sorted(run.rows("calls"), key=lambda c: c["index"])
    dues = [round((b["due_at_ns"] - a["due_at_ns"]) / 1e6) for a, b in itertools.pairwise(calls)]
    plan = [(c["call_id"], c["caller"], c["persona"], c["turns_planned"], c["outcome"]) for c in calls]
    turns = sorted((t["call_id"], t["turn"], t["utterance_id"], t["ttfb_ms"]) for t in run.rows("turns"))
    return plan, dues, turns


def test_two_workers_are_as_one_with_the_same_seed(tmp_path):
    with target() as url:
        alone = Run(tmp_path / "alone", url, "--seed", "42")
        assert alone.end() == 0, alone.text
        shared = Run(tmp_path / "shared", url, "--seed", "42", "--processes", "2")
        assert shared.end() == 0, shared.text
    assert told(shared) == told(alone)
    # The scripted engine answers call i after 640 + i ms: percentiles are the plan's, and merged without loss.
    assert shared.json("summary")["ttfb_ms"] == alone.json("summary")["ttfb_ms"]
    assert shared.json("summary")["calls"] == alone.json("summary")["calls"]
    info = shared.json("run")
    assert (info["status"], info["notes"]) == ("finished", [])
    assert [(w["name"], w["end"], w["calls_planned"]) for w in info["workers"]] == [
        ("worker-0", None, 4),
        ("worker-1", None, 4),
    ]
    # Processes of one machine have one clock, and one start on it.
    assert {w["started_monotonic_ns"] for w in info["workers"]} == {info["first_due_monotonic_ns"]}
    assert {c["worker"] for c in shared.rows("calls")} == {"worker-0", "worker-1"}
    assert {(t["worker"], int(t["call_id"][-1]) % 2) for t in shared.rows("turns")} == {
        ("worker-0", 0),
        ("worker-1", 1),
    }
    assert {h["worker"] for h in shared.rows("health")} == {"worker-0", "worker-1"}


@pytest.mark.slow
def test_two_workers_deal_to_several_targets_as_one_does(tmp_path):
    with target() as url:
        both = {"web": {"url": url}, "line": {"url": "rtp://127.0.0.1:9", "share": 2}}
        # An address of the command line has to reach the workers, too.
        words = ("--seed", "42", "--target", "line=rtp://127.0.0.1:10")
        alone = Run(tmp_path / "alone", url, *words, calls=9, targets=both)
        assert alone.end() == 0, alone.text
        shared = Run(tmp_path / "shared", url, *words, "--processes", "2", calls=9, targets=both)
        assert shared.end() == 0, shared.text
    assert told(shared) == told(alone)

    def dealt(run):
        return sorted((c["index"], c["target"], c["story"], c["transport"]) for c in run.rows("calls"))

    assert dealt(shared) == dealt(alone)
    assert [sum(name == wanted for _, name, _, _ in dealt(shared)) for wanted in ("web", "line")] == [3, 6]
    assert shared.json("run")["targets"]["line"]["target"]["url"] == "rtp://127.0.0.1:10"
    rows = [run.json("summary")["by_target"]["targets"] for run in (shared, alone)]
    assert rows[0]["line"]["ttfb_ms"] == rows[1]["line"]["ttfb_ms"]
    assert rows[0]["web"]["calls"]["completed"] == 3


@pytest.mark.parametrize("what", ["worker", "engine"])
def test_kill_9_of_a_worker_or_its_engine_loses_its_own_calls_only(tmp_path, what):
    with target() as url:
        run = Run(tmp_path, url, "--processes", "2", calls=60, rate=600)
        run.wait_for(lambda: len(run.calls_of("worker-1")) >= 3)
        kept = run.rows("turns")
        victim = run.worker("worker-1")
        if what == "engine":
            victim = next(p for p in victim.children() if str(ENGINE) in p.cmdline())
        victim.kill()
        code = run.end()
    assert code == 98, run.text
    assert run.rows("turns")[: len(kept)] == kept
    # The other made its whole share.
    assert sorted(c["index"] for c in run.calls_of("worker-0")) == list(range(0, 60, 2))
    assert {c["outcome"] for c in run.calls_of("worker-0")} == {"completed"}
    ended = [c["outcome"] for c in run.calls_of("worker-1")]
    assert ended.count("completed") >= 3
    assert ended.count("lost") >= 1
    info = run.json("run")
    assert info["status"] == "worker_lost"
    dead = info["workers"][1]
    assert "was killed by SIGKILL" in dead["end"]
    assert dead["calls_planned"] == len(ended) + dead["calls_never_placed"]
    summary = run.json("summary")
    assert summary["verdict"] == "VOID"
    assert summary["deciding"].startswith(f"worker-1 on {dead['host']} (pid {dead['pid']}) did not come to its end")
    assert f"calls lost with it: {ended.count('lost')}" in summary["deciding"]
    assert (run.run_dir / "report.html").exists()


def test_ctrl_c_leaves_a_partial_report_of_all_workers(tmp_path):
    with target() as url:
        run = Run(tmp_path, url, "--processes", "2", mode="slow")
        run.wait_for(lambda: "8 active" in run.text)
        run.process.send_signal(signal.SIGINT)
        code = run.end()
    assert code == 105, run.text
    assert run.json("run")["status"] == "interrupted"
    assert [c["outcome"] for c in run.rows("calls")] == ["interrupted"] * 8
    assert {w["end"] for w in run.json("run")["workers"]} == {None}
    assert (run.run_dir / "report.html").exists()


@contextlib.contextmanager
def master_and_workers(folder, url, *extra, n=2, **changes):
    """A master and workers of other folders, as on other machines; nothing of them outlives the test."""
    port = free_port()
    master = ["--master", "--expect-workers", n, "--master-bind-host", "127.0.0.1", "--master-port", port]
    join = ["--worker", "--master-port", port]
    commands = []
    try:
        for i in range(n):
            (folder / f"box-{i}").mkdir()
            commands.append(Command(folder / f"box-{i}" / "out.txt", [*join, *(extra if i else ())], "slow"))
        run = Run(folder / "here", url, *map(str, master), mode="slow", **changes)
        commands.append(run)
        yield run, *commands[:n]
    finally:
        for command in commands:
            with contextlib.suppress(psutil.NoSuchProcess):
                command.family = command.family or command.process.children(recursive=True)
            command.kill()


def test_kill_9_of_the_master_ends_its_workers_by_themselves(tmp_path):
    with target() as url, master_and_workers(tmp_path, url) as (run, *workers):
        run.wait_for(lambda: "8 active" in run.text)
        for worker in workers:
            worker.wait_for(lambda: True)
            assert any(str(ENGINE) in p.cmdline() for p in worker.family)
        run.locust().kill()
        assert run.end() == 98, run.text
        assert "Locust) was killed by signal 9" in run.json("summary")["notes"][1]
        for worker in workers:
            # Neither it nor its engine waits for a master that is gone.
            assert worker.end() == 1, worker.text
            assert "the master is gone" in worker.text
            # What the master took no more is kept.
            assert "records that the master never took are in" in worker.text
            assert list(worker.out.parent.glob("**/undelivered-worker-*.jsonl")) or list(
                run.run_dir.glob("undelivered-worker-*.jsonl")
            )


def test_a_worker_stopped_where_it_runs_hands_in_its_records_and_is_named(tmp_path):
    with target() as url, master_and_workers(tmp_path, url) as (run, first, second):
        run.wait_for(lambda: "8 active" in run.text)
        second.wait_for(lambda: True)
        late = Command(tmp_path / "late.txt", second.process.cmdline()[4:])
        try:
            # A worker that comes during a run has no share in it, and says so.
            assert late.end() == 104, late.text
            assert "a run is going on" in late.text
        finally:
            late.kill()
        second.process.send_signal(signal.SIGINT)
        assert second.end() == 105, second.text
        run.wait_for(lambda: len(run.rows("calls")) == 4)
        first.wait_for(lambda: True)
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 105, run.text
        assert first.end() == 0, first.text
    ends = {w["name"]: w["end"] for w in run.json("run")["workers"]}
    assert sorted(ends.values(), key=str) == [None, "was stopped where it runs (SIGINT)"]
    assert [c["outcome"] for c in run.rows("calls")] == ["interrupted"] * 8


def test_a_worker_without_the_corpus_ends_the_run_before_any_call(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    manifest = (default_corpus_dir() / "manifest.json").read_text()
    (other / "manifest.json").write_text(manifest + "\n")
    with target() as url, master_and_workers(tmp_path, url, "--corpus", other) as (run, _, lacking):
        assert run.end() == 104, run.text
        assert lacking.end() == 104, lacking.text
    for text in (run.text, lacking.text):
        assert "no corpus with the content of the master's" in text
        assert f"looked at: {other}" in text
    assert not (run.run_dir / "run.json").exists()
    shutil.rmtree(other)
