"""A generator that could not do its part gives VOID with reason and remedy, and no bad figure for the target."""

import contextlib
import json
import os
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = pytest.mark.loopback

DEADLINE_S = 150
# How long the engine's core is taken away; long enough for turns to be timed meanwhile.
STARVED_S = 5
SCENARIO = """\
name: void
target: {target}
callers: [{{name: any, turns: 2, patience: unlimited, think_ms: [50, 50], select: {{native: [true], noise: [clean]}}}}]
load: {load}
limits: {{answer_timeout_s: 5, quiet_ms: 250, call_timeout_s: 60}}
thresholds: ["response_ratio >= 0.5", "ttfb_ms p95 < 100"]
"""
# A busy loop that takes turns with the engine's most urgent thread; ends by itself, whatever becomes of the test.
SPINNER = """\
import os, sys, time
core, priority, seconds = map(int, sys.argv[1:])
os.sched_setaffinity(0, {core})
os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
end = time.monotonic() + seconds
while time.monotonic() < end:
    pass
"""


@contextlib.contextmanager
def child(*words, **options):
    """Run a Python process that is gone afterwards; its output can be read."""
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def callquake(folder, target, load):
    """Run a scenario; yields the process and where its output is."""
    scenario = folder / "void.yaml"
    scenario.write_text(SCENARIO.format(target=target, load=load))
    out = folder / "out.txt"
    words = ["-m", "harness.cli", "run", str(scenario), "--run-dir", str(folder / "run")]
    with out.open("w") as output:
        process = psutil.Popen([sys.executable, *words], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process, out
    finally:
        for left in [*process.children(recursive=True), process] if process.is_running() else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait(10)


def wait_for(condition, process, out):
    end = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < end, out.read_text()
        assert process.is_running(), out.read_text()
        time.sleep(0.1)
    return found


def engine_of(process):
    for found in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "harness.engine" in found.cmdline():
                return found
    return None


def pin(process, cores):
    """Bind every thread of a process, and what they start, to `cores`."""
    for thread in process.threads():
        os.sched_setaffinity(thread.id, cores)


def priority_of(process):
    """Return the highest real-time priority of a process's threads, None where it has none."""
    threads = [thread.id for thread in process.threads()]
    if os.SCHED_RR not in {os.sched_getscheduler(thread) for thread in threads}:
        return None
    return max(os.sched_getparam(thread).sched_priority for thread in threads)


def verdict(folder):
    return json.loads((folder / "run" / "verdict.json").read_text())


def test_a_starved_engine_is_void_for_lateness_and_says_nothing_of_the_target(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs two cores: one is taken from the engine, the target must keep one")
    responder = child("-m", "harness.calibrate.responder", "--delay-ms", "500:500", "--hangover-ms", "100")
    load = "{arrivals: {distribution: uniform, rate_per_minute: 240, calls: 3}}"
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(responder)
        pin(psutil.Process(target.pid), set(cores[1:]))
        url = target.stdout.readline().strip()
        process, out = stack.enter_context(callquake(tmp_path, f'{{url: "{url}"}}', load))
        engine = wait_for(lambda: engine_of(process), process, out)
        wait_for((tmp_path / "run" / "health.jsonl").exists, process, out)
        wait_for(lambda: (tmp_path / "run" / "turns.jsonl").read_text().count("\n") >= 1, process, out)
        if priority_of(engine) is None:
            pytest.skip("without real-time scheduling no busy loop can starve an engine that sleeps between ticks")
        pin(engine, {cores[0]})
        with child("-c", SPINNER, str(cores[0]), str(priority_of(engine)), str(STARVED_S)) as spinner:
            assert spinner.wait(STARVED_S + 30) == 0
        pin(engine, set(cores))
        assert process.wait(DEADLINE_S) == 98, out.read_text()
    told = verdict(tmp_path)
    assert told["verdict"] == "VOID"
    late = [reason for reason in told["reasons"] if "20 ms packets left late: lateness p99" in reason]
    assert late, told["reasons"]
    assert "keep other programs off this machine" in late[0]
    assert "VOID" in out.read_text()
    # The figure that the thresholds would have judged is bad, and judged nothing.
    assert not [reason for reason in told["reasons"] if "ttfb_ms" in reason]


def test_a_run_that_needs_more_open_files_than_there_can_be_is_refused_before_its_first_call(tmp_path):
    load = "{users: {stages: [{duration_s: 5, users: 400, spawn_rate: 100}]}}"
    target = '{url: "rtp://127.0.0.1:9", transport: rtp, source_ports: per_call}'
    with callquake(tmp_path, target, load) as (process, out):
        # Before its children are born: they inherit it.
        process.rlimit(psutil.RLIMIT_NOFILE, (400, 400))
        assert process.wait(DEADLINE_S) == 98, out.read_text()
    told = verdict(tmp_path)
    assert "400 calls at once need at least 408 open files, and there are 400" in told["deciding"]
    assert "ulimit -Hn 1056" in told["deciding"]
    calls = tmp_path / "run" / "calls.jsonl"
    assert not calls.exists() or not calls.read_text()
