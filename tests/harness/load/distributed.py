"""Test bench: runs over several workers with the scripted engine, and a look at every process of them."""

import contextlib
import http.server
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

ENGINE = Path(__file__).parent / "scripted_engine.py"
DEADLINE_S = 120
# `said` is the targets' block.
SCENARIO = """\
name: shared
{said}
callers: [{{name: any, turns: 2, select: {{native: [true]}}}}]
load: {{arrivals: {{distribution: uniform, rate_per_minute: {rate}, calls: {calls}}}}}
limits: {{call_timeout_s: 60}}
thresholds: [response_ratio >= 0.9, ttfb_ms p95 < 1000]
"""


@contextlib.contextmanager
def target():
    """Something that answers HTTP; the scripted engine calls nobody."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api/offer"
        server.shutdown()
        thread.join()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Command:
    """One `callquake run` and whatever it starts; `mode` None is for real engines, `wrap` for running it elsewhere."""

    def __init__(self, out, words, mode="complete", wrap=lambda *words: list(words)):
        self.out = out
        scripted = {"CALLQUAKE_ENGINE_COMMAND": shlex.join([sys.executable, str(ENGINE), str(mode)])}
        with self.out.open("w") as log:
            self.process = psutil.Popen(
                wrap(sys.executable, "-m", "harness.cli", "run", *map(str, words)),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=out.parent,
                env={**os.environ, **(scripted if mode is not None else {})},
            )
        self.family = []

    @property
    def text(self):
        return self.out.read_text()

    def wait_for(self, condition):
        """Wait until `condition()` holds; remember every process seen on the way."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, self.text
            assert self.process.poll() is None, self.text
            time.sleep(0.05)
        self.family = self.process.children(recursive=True)

    def locust(self):
        """The Locust process that callquake started: a master, or a worker of its own."""
        return next(p for p in self.family if p.ppid() == self.process.pid and "locust" in p.cmdline())

    def end(self):
        """Return the exit code; nothing of the command may be left."""
        code = self.process.wait(DEADLINE_S)
        _, alive = psutil.wait_procs(self.family, timeout=15)
        assert not alive, alive
        return code

    def kill(self):
        for process in [*self.family, self.process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


class Run(Command):
    """A run that this machine judges: of one process, of `--processes`, or as a master."""

    def __init__(self, folder, url, *words, calls=8, rate=240, mode="complete", targets=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.run_dir, scenario = folder / "run", folder / "shared.yaml"
        said = f'target: {{url: "{url}"}}' if targets is None else f"targets: {json.dumps(targets)}"
        scenario.write_text(SCENARIO.format(said=said, calls=calls, rate=rate))
        super().__init__(folder / "out.txt", [scenario, "--run-dir", self.run_dir, *words], mode)

    def rows(self, name):
        path = self.run_dir / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def json(self, name):
        return json.loads((self.run_dir / f"{name}.json").read_text())

    def worker(self, name):
        """The process of a worker on this machine."""
        return psutil.Process(next(w["pid"] for w in self.json("run")["workers"] if w["name"] == name))

    def calls_of(self, worker):
        return [c for c in self.rows("calls") if c["worker"] == worker]
