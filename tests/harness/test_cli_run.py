"""`callquake run` end to end with a scripted engine: records, verdict, exit code, and nothing left behind."""

import contextlib
import http.server
import itertools
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from harness.report.store import read_run

pytestmark = pytest.mark.loopback

ENGINE = Path(__file__).parent / "load" / "scripted_engine.py"
DEADLINE_S = 90
ARRIVALS = "{{arrivals: {{distribution: uniform, rate_per_minute: 240, calls: {calls}}}}}"
SCENARIO = """\
name: tiny
target: {{url: "{url}"}}
callers: [{{name: any, turns: 2, select: {{native: [true]}}}}]
load: {load}
limits: {{call_timeout_s: 60}}
thresholds: [response_ratio >= 0.9, "{threshold}"]
"""


@contextlib.contextmanager
def target():
    """Something that answers /healthz; the scripted engine calls nobody."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"name": "stand-in", "simulated": ["everything: a test"]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api/offer"
        server.shutdown()
        thread.join()


class Callquake:
    """One `callquake run` under test."""

    def __init__(self, folder, mode="complete", calls=4, threshold="ttfb_ms p95 < 800", url=None, words=(), load=None):
        self.run_dir, self.out = folder / "run", folder / "out.txt"
        scenario = folder / "tiny.yaml"
        scenario.write_text(SCENARIO.format(url=url, load=load or ARRIVALS.format(calls=calls), threshold=threshold))
        command = [sys.executable, "-m", "harness.cli", "run", str(scenario), "--run-dir", str(self.run_dir), *words]
        engine = shlex.join([sys.executable, str(ENGINE), mode])
        with self.out.open("w") as out:
            self.process = psutil.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "CALLQUAKE_ENGINE_COMMAND": engine},
            )
        self.family = []

    def wait_for(self, condition):
        """Wait until `condition()` holds; on the way, remember every process of the run."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, self.out.read_text()
            assert self.process.poll() is None, self.out.read_text()
            time.sleep(0.05)
        self.family = self.process.children(recursive=True)

    def lines(self, name):
        path = self.run_dir / name
        return path.read_text().splitlines() if path.exists() else []

    def engine(self):
        return next(p for p in self.family if str(ENGINE) in p.cmdline())

    def locust(self):
        return next(p for p in self.family if "locust" in p.cmdline())

    def end(self):
        """Return exit code, output and run.json; assert that no process outlived the command."""
        code = self.process.wait(DEADLINE_S)
        _, alive = psutil.wait_procs(self.family, timeout=10)
        assert not alive, alive
        run = self.run_dir / "run.json"
        return code, self.out.read_text(), json.loads(run.read_text()) if run.exists() else None


def test_a_run_writes_its_records_and_exits_with_the_verdict(tmp_path):
    with target() as url:
        code, out, run = Callquake(tmp_path, url=url).end()
    assert code == 0, out
    assert (run["status"], run["notes"], run["seed"]) == ("finished", [], 1)
    assert run["target_info"]["name"] == "stand-in"
    assert run["simulated"] == ["everything: a test"]
    assert run["versions"]["locust"]
    assert run["ended_monotonic_ns"] > run["started_monotonic_ns"]
    records = read_run(tmp_path / "run")
    assert [c.index for c in records.calls] == [0, 1, 2, 3]
    assert len(records.turns) == 8
    # Calls were a quarter of a second apart by plan, and none waited for an earlier one.
    due = [c.due_at_ns for c in records.calls]
    assert [round((b - a) / 1e6) for a, b in itertools.pairwise(due)] == [250, 250, 250]
    for name in ("summary.json", "verdict.json", "junit.xml", "report.html", "locust.log", "engine-local.log"):
        assert (tmp_path / "run" / name).exists(), name
    assert "4 of 4 placed" in out
    assert "PASSED" in out


def test_the_same_seed_places_the_same_calls_with_the_same_words(tmp_path):
    said = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with target() as url:
            Callquake(tmp_path / name, url=url, calls=3, words=["--seed", "42"]).end()
        records = read_run(tmp_path / name / "run")
        turns = sorted((t.call_id, t.turn, t.utterance_id) for t in records.turns)
        said.append((turns, [(c.call_id, c.persona, c.caller) for c in records.calls]))
    assert said[0] == said[1]


def test_closed_loop_ends_by_its_stages_and_lets_every_call_end(tmp_path):
    load = "{users: {stages: [{duration_s: 3, users: 3, spawn_rate: 3}, {duration_s: 2, users: 1, spawn_rate: 3}]}}"
    with target() as url:
        run = Callquake(tmp_path, url=url, load=load)
        code, out, info = run.end()
    assert code == 0, out
    assert (info["status"], info["notes"]) == ("finished", [])
    calls = read_run(tmp_path / "run").calls
    assert [c.outcome for c in calls] == ["completed"] * len(calls)
    assert len(calls) >= 5
    # In closed loop a free slot decides when a call begins.
    assert {c.due_at_ns for c in calls} == {None}
    overlapping = max(sum(d.started_at_ns <= c.started_at_ns < d.ended_at_ns for d in calls) for c in calls)
    assert overlapping == 3


def test_a_failed_threshold_decides_the_exit_code(tmp_path):
    with target() as url:
        code, out, _ = Callquake(tmp_path, url=url, threshold="ttfb_ms p95 < 100").end()
    assert code == 99, out


def test_ctrl_c_ends_the_calls_and_still_reports(tmp_path):
    with target() as url:
        run = Callquake(tmp_path, "slow", url=url)
        # Milestones are not on disk; the first health sample says that the engine is up, progress that calls are.
        run.wait_for(lambda: "4 active" in run.out.read_text())
        run.process.send_signal(signal.SIGINT)
        code, out, info = run.end()
    assert code == 105, out
    assert info["status"] == "interrupted"
    calls = read_run(tmp_path / "run").calls
    assert [c.outcome for c in calls] == ["interrupted"] * 4
    assert (tmp_path / "run" / "report.html").exists()


def test_a_second_ctrl_c_ends_everything_at_once(tmp_path):
    with target() as url:
        run = Callquake(tmp_path, "hang", url=url, calls=200)
        run.wait_for(lambda: len(run.lines("calls.jsonl")) >= 2)
        run.process.send_signal(signal.SIGINT)
        run.wait_for(lambda: "stopping" in run.out.read_text())
        run.process.send_signal(signal.SIGINT)
        code, out, info = run.end()
    assert code == 105, out
    assert info["status"] == "interrupted"
    assert len(read_run(tmp_path / "run").calls) >= 2


def test_kill_9_of_the_engine_ends_the_run_void_and_keeps_its_records(tmp_path):
    with target() as url:
        run = Callquake(tmp_path, url=url, calls=200)
        run.wait_for(lambda: len(run.lines("calls.jsonl")) >= 2)
        run.engine().kill()
        code, out, info = run.end()
    assert code == 98, out
    assert info["status"] == "engine_died"
    assert "was killed by SIGKILL" in info["notes"][0]
    outcomes = [c.outcome for c in read_run(tmp_path / "run").calls]
    assert outcomes.count("completed") >= 2
    assert "lost" in outcomes


def test_kill_9_of_locust_ends_the_run_void_and_keeps_its_records(tmp_path):
    with target() as url:
        run = Callquake(tmp_path, url=url, calls=200)
        run.wait_for(lambda: len(run.lines("calls.jsonl")) >= 2)
        run.locust().kill()
        code, out, info = run.end()
    assert code == 98, out
    assert info["status"] == "engine_died"
    assert "Locust" in info["notes"][0]
    assert "signal 9" in info["notes"][0]
    assert len(read_run(tmp_path / "run").calls) >= 2


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="another process is limited on Linux only")
def test_a_disk_that_fills_up_ends_the_run_void(tmp_path):
    with target() as url:
        run = Callquake(tmp_path, url=url, calls=2000)
        run.wait_for(lambda: len(run.lines("calls.jsonl")) >= 2)
        # No file may grow any more: what a full disk is to a writer.
        run.locust().rlimit(psutil.RLIMIT_FSIZE, (1, 1))
        code, out, info = run.end()
    assert code == 98, out
    assert info["status"] == "engine_died"
    assert "Traceback" not in out


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="another process is limited on Linux only")
def test_a_run_that_cannot_write_its_first_file_ends_with_a_message(tmp_path):
    with target() as url:
        run = Callquake(tmp_path, url=url, calls=2000)
        # Enough for the log, too little for run.json.
        run.process.rlimit(psutil.RLIMIT_FSIZE, (2000, 2000))
        code, out, info = run.end()
    assert code == 1, out
    assert info is None
    assert "the load generator ended before the run began" in out


def test_a_target_that_goes_away_ends_the_run_after_ten_calls_in_a_row(tmp_path):
    with target() as url:
        run = Callquake(tmp_path, "unreachable", url=url, calls=200)
        code, out, info = run.end()
    assert code == 103, out
    assert info["status"] == "target_unreachable"
    assert info["notes"][0].startswith("target_unreachable_mid_run: 10 calls in a row")
    assert url in info["notes"][0]
    assert 10 <= len(read_run(tmp_path / "run").calls) < 200


def test_no_target_is_told_in_seconds_with_its_address(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api/offer"
        code, out, info = Callquake(tmp_path, url=url).end()
    assert code == 103
    assert url in out
    assert "connection refused" in out
    assert info is None


def test_a_bad_scenario_is_told_before_anything_starts(tmp_path):
    code, out, info = Callquake(tmp_path, url="http://127.0.0.1:9/o", threshold="tftb_ms p95 < 1").end()
    assert code == 104
    assert f"{tmp_path / 'tiny.yaml'}:6: thresholds[1]" in out
    assert info is None


def test_an_engine_that_does_not_start_voids_the_run(tmp_path):
    with target() as url:
        code, out, info = Callquake(tmp_path, "broken", url=url).end()
    assert code == 98, out
    assert "the engine did not start" in info["notes"][0]


def test_a_run_directory_that_is_taken_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "calls.jsonl").write_text("")
    code, out, _ = Callquake(tmp_path, url="http://127.0.0.1:9/o").end()
    assert code == 104
    assert "not an empty directory" in out
