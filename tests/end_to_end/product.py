"""Test bench: the product as a user runs it, `callquake run` as a child process against a real agent."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import yaml

ENVIRONMENT = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
DEADLINE_S = 170


def family_of(process):
    """Every descendant of `process`, and itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        return [root, *root.children(recursive=True)]
    return []


class Run:
    """One `callquake run`, of a scenario's mapping or of its text as a file has it."""

    deadline_s = DEADLINE_S

    def __init__(self, folder, scenario, *words):
        folder.mkdir(parents=True, exist_ok=True)
        self.run_dir = folder / "run"
        path = folder / "scenario.yaml"
        path.write_text(scenario if isinstance(scenario, str) else yaml.safe_dump(scenario))
        self.out = folder / "out.txt"
        command = [sys.executable, "-m", "harness.cli", "run", str(path), "--run-dir", str(self.run_dir), *words]
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=ENVIRONMENT
            )
        self.family = []

    def wait_for(self, condition):
        """Wait until `condition()` holds, remembering every process of the run."""
        end = time.monotonic() + self.deadline_s
        while not condition():
            assert time.monotonic() < end, self.text
            assert self.process.poll() is None, self.text
            self.family = family_of(self.process)
            time.sleep(0.1)

    def rows(self, name):
        path = self.run_dir / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def json(self, name):
        return json.loads((self.run_dir / name).read_text())

    @property
    def text(self):
        return self.out.read_text()

    def engine(self):
        return next(p for p in self.family if "harness.engine" in p.cmdline())

    def end(self):
        """Wait for the end; return the exit code; nothing of the run may be left."""
        code = self.process.wait(self.deadline_s)
        _, alive = psutil.wait_procs(self.family, timeout=10)
        assert not alive, alive
        return code


@contextlib.contextmanager
def target_stack(*options):
    """Start the bundled agent; yields (origin, process)."""
    command = [sys.executable, "-m", "target_stack", "up", "--profile", "cpu", "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    family = []
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            ready = re.search(r"ready on (http://\S+)", line)
            if ready:
                break
        else:
            raise AssertionError("the target stack did not start: " + "".join(said))
        family = family_of(process)
        yield ready[1], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stderr.close()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, f"the target stack left processes behind: {alive}"


def scenario(url, *, calls=2, turns=2, **changes):
    """A small scenario: clean native callers, nobody gives up."""
    return {
        "name": "product",
        "seed": 7,
        "target": {"url": url},
        "callers": [{"name": "all", "turns": turns, "patience": "unlimited", "select": {"noise": ["clean"]}}],
        "load": {"arrivals": {"distribution": "uniform", "rate_per_minute": 120, "calls": calls}},
        "limits": {"answer_timeout_s": 5, "greeting_timeout_s": 3, "call_timeout_s": 60},
        "thresholds": ["response_ratio >= 0.5", "ttfb_ms p50 < 20000"],
        **changes,
    }
