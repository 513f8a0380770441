"""Faults of a run end to end: injected on time, recorded, reported, judged, and undone whatever happens to the run."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from harness.report.store import read_run

pytestmark = pytest.mark.loopback

HERE = Path(__file__).parent
ENGINE, TARGET = HERE / "load" / "scripted_engine.py", HERE / "faults" / "faulty_target.py"
DEADLINE_S = 90
SCENARIO = """\
name: broken
target: {{url: "{url}/api/offer"}}
callers: [{{name: any, turns: 1, select: {{native: [true]}}}}]
load: {{arrivals: {{distribution: uniform, rate_per_minute: {rate}, calls: {calls}}}}}
limits: {{call_timeout_s: 60}}
thresholds: [response_ratio >= 0.9]
faults:
{faults}
"""
DELAY = "  - {kind: stage.delay, start_s: 0.5, duration_s: 1.5, parameters: {stage: llm, delay_ms: 50}}"

A_NUMBER = "legal: a number from 0 to 600000"
UNKNOWN = "stage.delay has no such parameter; legal: stage, delay_ms, jitter_ms (did you mean delay_ms?)"


@contextlib.contextmanager
def faulty_target(*words):
    """The bundled agent's admin API and stages, without calls; yields its URL."""
    command = [sys.executable, str(TARGET), *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()


def in_force(url):
    with urllib.request.urlopen(f"{url}/admin/faults", timeout=5) as answer:
        return [fault["id"] for fault in json.load(answer)["faults"]]


def environment(folder, mode="complete"):
    engine = shlex.join([sys.executable, str(ENGINE), mode])
    return {**os.environ, "CALLQUAKE_ENGINE_COMMAND": engine, "CALLQUAKE_STATE": str(folder / "state")}


def start(folder, url, faults=DELAY, calls=12, rate=240, mode="complete"):
    scenario = folder / "broken.yaml"
    scenario.write_text(SCENARIO.format(url=url, faults=faults, calls=calls, rate=rate))
    command = [sys.executable, "-m", "harness.cli", "run", str(scenario), "--run-dir", str(folder / "run")]
    with (folder / "out.txt").open("w") as out:
        return psutil.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment(folder, mode)
        )


def run(folder, url, **options):
    """Return the exit code, the verdict and the run of a whole `callquake run`."""
    code = start(folder, url, **options).wait(timeout=DEADLINE_S)
    verdict = json.loads((folder / "run" / "verdict.json").read_text())
    return code, verdict, read_run(folder / "run")


def wait_until(condition, folder):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, (folder / "out.txt").read_text()
        time.sleep(0.05)


@pytest.mark.slow
def test_a_fault_is_injected_on_time_recorded_and_reported(tmp_path):
    with faulty_target() as url:
        code, verdict, found = run(tmp_path, url)
        assert in_force(url) == []
    assert (code, verdict["verdict"]) == (0, "PASSED"), verdict
    (fault,) = found.faults
    begun_ns = found.info.first_due_monotonic_ns
    assert fault.is_injected
    assert fault.fault.seed == found.info.seed
    assert fault.evidence.what == "requests delayed"
    assert fault.evidence.touched == fault.evidence.counts["seen"] > 0
    assert (fault.started_at_ns - begun_ns) / 1e9 >= 0.5
    assert fault.stopped_at_ns > fault.started_at_ns
    events = [json.loads(line)["event"] for line in (tmp_path / "run" / "faults.jsonl").read_text().splitlines()]
    assert (events[:2], events[-1]) == (["declared", "started"], "stopped")
    assert "What was broken on purpose" in (tmp_path / "run" / "report.html").read_text()
    assert "stage.delay (stage.delay)" in (tmp_path / "out.txt").read_text()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["faults"][0]["injected"]
    assert "stage.delay (stage.delay) was injected" in (tmp_path / "run" / "junit.xml").read_text()


NOTHING = """\
  - {name: nothing, kind: stage.delay, duration_s: 2, parameters: {stage: llm, delay_ms: 0}}
  - {name: nobody, kind: stage.error, duration_s: 2, parameters: {stage: llm}, filter: {share: 0}}
  - {name: late, kind: stage.error, start_s: 600, parameters: {stage: llm}}
  - {name: real, kind: stage.delay, duration_s: 2, parameters: {stage: stt, delay_ms: 10}}"""


def test_faults_without_effect_are_not_injected_and_the_run_does_not_pass(tmp_path):
    with faulty_target() as url:
        code, verdict, found = run(tmp_path, url, faults=NOTHING)
    assert (code, verdict["verdict"]) == (97, "NO DATA")
    why = {
        "nothing": "requests delayed: 0 of",
        "nobody": "requests failed: 0 of",
        "late": "the run ended before it was",
    }
    assert len(verdict["reasons"]) == len(why)
    for said, (name, reason) in zip(verdict["reasons"], why.items(), strict=True):
        assert said.startswith(f"fault {name} (")
        assert "was not injected" in said
        assert reason in said
    assert [one.is_injected for one in found.faults] == [False, False, False, True]
    assert (tmp_path / "run" / "junit.xml").read_text().count('type="not-injected"') == len(why)


@pytest.mark.slow
def test_a_target_without_an_admin_api_is_told(tmp_path):
    with faulty_target("secret") as url:
        code, verdict, found = run(tmp_path, url)
    assert code == 97
    assert "HTTP 401: the admin API needs its token" in verdict["deciding"]
    assert found.faults[0].started_at_ns is None


@pytest.mark.parametrize("who", ["parent", pytest.param("locust", marks=pytest.mark.slow)])
def test_a_killed_run_leaves_nothing_broken(tmp_path, who):
    faults = "  - {kind: stage.stall, parameters: {stage: llm}}"
    with faulty_target() as url:
        parent = start(tmp_path, url, faults=faults, calls=400, rate=60)
        wait_until(lambda: in_force(url), tmp_path)
        family = parent.children(recursive=True)
        locust = next(p for p in family if "locust" in " ".join(p.cmdline()))
        (parent if who == "parent" else locust).send_signal(signal.SIGKILL)
        parent.wait(timeout=DEADLINE_S)
        # Killed Locust: its parent mends. Killed parent: Locust sees that and ends. Both: the lease runs out.
        wait_until(lambda: not in_force(url), tmp_path)
        psutil.wait_procs(family, timeout=DEADLINE_S)
        assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        assert list((tmp_path / "state" / "faults").glob("*.json")) == []


def callquake(folder, *words, **options):
    command = [sys.executable, "-m", "harness.cli", *words]
    return subprocess.run(  # noqa: PLW1510 - a test says whether it checks
        command, env=environment(folder), capture_output=True, text=True, timeout=60, **options
    )


@pytest.mark.slow
def test_faults_by_hand_are_kept_told_and_stopped(tmp_path):
    with faulty_target() as url:
        words = ["stage.stall", "stage=llm", "--admin", url, "--name", "held"]
        kept = callquake(tmp_path, "fault", "start", *words, "--keep", check=True)
        assert "kept: callquake fault stop held" in kept.stdout
        assert len(in_force(url)) == 1
        assert "held  stage.stall" in callquake(tmp_path, "fault", "status", check=True).stdout
        assert "held: undone" in callquake(tmp_path, "fault", "stop", "held", check=True).stdout
        assert in_force(url) == []
        assert "nothing to undo" in callquake(tmp_path, "fault", "status", check=True).stdout
        nothing = callquake(
            tmp_path, "fault", "start", "stage.delay", "stage=llm", "delay_ms=0", "--admin", url, "--for", "500ms"
        )
        assert nothing.returncode == 97
        assert "not injected" in nothing.stderr


def test_a_foreground_fault_is_undone_by_stop_and_after_kill_9(tmp_path):
    with faulty_target() as url:
        command = [sys.executable, "-m", "harness.cli", "fault", "start", "stage.stall", "stage=llm", "--admin", url]
        for ending in ("stop", "kill"):
            process = subprocess.Popen(
                [*command, "--name", ending],
                env=environment(tmp_path),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_until(lambda: in_force(url), tmp_path)
            if ending == "stop":
                assert "undone by process" in callquake(tmp_path, "fault", "stop", "--all", check=True).stdout
            else:
                process.kill()
            process.wait(timeout=30)
            assert "undid stage.stall" in callquake(tmp_path, "version").stderr or ending == "stop"
            assert in_force(url) == []


@pytest.mark.slow
def test_a_fault_by_hand_is_the_runs_own(tmp_path):
    with faulty_target() as url:
        # Longer than a slow machine needs for two commands; then it is interrupted.
        parent = start(tmp_path, url, calls=400, rate=60)
        run_dir = tmp_path / "run"
        wait_until((run_dir / "faults.jsonl").exists, tmp_path)
        words = ["stage.error", "stage=stt", "--run", str(run_dir), "--name", "extra", "--for", "1500ms"]
        by_hand = callquake(tmp_path, "fault", "start", *words)
        again = callquake(tmp_path, "fault", "start", *words)
        parent.send_signal(signal.SIGINT)
        code = parent.wait(timeout=DEADLINE_S)
        assert in_force(url) == []
    assert by_hand.returncode == 0, by_hand.stderr
    assert "extra: in force since" in by_hand.stderr
    assert "requests failed" in by_hand.stderr
    assert (again.returncode, "the run has, or had, a fault of this name" in again.stderr) == (104, True)
    assert code == 105
    extra = next(one for one in read_run(run_dir).faults if one.fault.name == "extra")
    assert (extra.is_injected, extra.fault.kind) == (True, "stage.error")
    over = callquake(tmp_path, "fault", "stop", "extra", "--run", str(run_dir))
    assert (over.returncode, "the run is over" in over.stderr) == (104, True)


def test_a_wrong_fault_is_found_before_any_call(tmp_path):
    scenario = tmp_path / "broken.yaml"
    faults = (
        "  - {kind: stage.dely, parameters: {stage: llm}}\n  - {kind: stage.delay, parameters: {stage: x, dely_ms: 1}}"
    )
    scenario.write_text(SCENARIO.format(url="http://127.0.0.1:9", faults=faults, calls=1, rate=60))
    done = callquake(tmp_path, "scenario", "check", str(scenario))
    assert done.returncode == 104
    told = (done.stdout + done.stderr).splitlines()
    assert told == [
        f"{scenario}:8: faults[0].kind: got 'stage.dely'; legal: " + told[0].partition("legal: ")[2],
        f"{scenario}:9: faults[1].parameters.stage: got 'x'; legal: stt, llm, tts",
        f"{scenario}:9: faults[1].parameters.delay_ms: missing; stage.delay needs it: how long; {A_NUMBER}",
        f"{scenario}:9: faults[1].parameters.dely_ms: {UNKNOWN}",
    ]
    assert "(did you mean stage.delay?)" in told[0]
