"""Locust's web UI with our tabs, driven over HTTP: start, watch, stop, start again."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.loopback

ENGINE = Path(__file__).parent / "scripted_engine.py"
LOCUSTFILE = Path(__file__).resolve().parents[3] / "harness" / "load" / "locustfile.py"
SCENARIO = """\
name: by-hand
target: {{url: "{url}"}}
callers: [{{name: any, turns: 2}}]
load: {{users: {{stages: [{{duration_s: 600, users: 3, spawn_rate: 2}}]}}}}
limits: {{call_timeout_s: 30}}
thresholds: [response_ratio >= 0.9]
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class WebUi:
    def __init__(self, folder, target_port):
        self.base, self.reports = f"http://127.0.0.1:{free_port()}", folder / "reports"
        scenario = folder / "by-hand.yaml"
        scenario.write_text(SCENARIO.format(url=f"http://127.0.0.1:{target_port}/api/offer"))
        words = ["-f", str(LOCUSTFILE), "--scenario", str(scenario), "--run-dir", str(self.reports / "first")]
        words += ["--web-host", "127.0.0.1", "--web-port", self.base.rsplit(":", 1)[1]]
        self.log = folder / "locust.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "locust", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "CALLQUAKE_ENGINE_COMMAND": shlex.join([sys.executable, str(ENGINE), "complete"])},
            )

    def get(self, path):
        with urllib.request.urlopen(self.base + path, timeout=30) as answer:
            return answer.read().decode()

    def post(self, path, **form):
        data = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(self.base + path, data=data, timeout=60) as answer:
            return json.loads(answer.read())

    def wait_for(self, condition):
        end = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError):
                if found := condition():
                    return found
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.2)

    def tables(self):
        rows = {t["key"]: t["data"] for t in json.loads(self.get("/stats/requests")).get("extended_stats", [])}
        return rows if rows and rows["callquake-ttfb"][0]["n"] >= 8 else None

    def runs(self):
        return sorted(p.parent.name for p in self.reports.glob("*/run.json"))

    def info(self, name):
        return json.loads((self.reports / name / "run.json").read_text())


@contextlib.contextmanager
def web_ui(folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as target:
        thread = threading.Thread(target=target.serve_forever, daemon=True)
        thread.start()
        ui = WebUi(folder, target.server_port)
        try:
            yield ui
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(ui.process.pid, signal.SIGKILL)
            ui.process.wait()
            target.shutdown()
            thread.join()


def test_the_web_ui_shows_our_tabs_and_every_start_is_a_run(tmp_path):
    with web_ui(tmp_path) as ui:
        page = ui.wait_for(lambda: ui.get("/"))
        arguments = json.loads(page.split("window.templateArgs = ", 1)[1].split("\n", 1)[0].rstrip(";"))
        assert [tab["title"] for tab in arguments["extended_tabs"]] == ["TTFB", "WER", "Drop-off"]
        tabs = {tab["key"] for tab in arguments["extended_tabs"]}
        assert {table["key"] for table in arguments["extended_tables"]} == tabs
        # The form is filled from the scenario, and shown: users and spawn rate are the person's to change.
        assert (arguments["num_users"], arguments["spawn_rate"]) == (3, 2)
        assert not arguments["hide_common_options"]
        assert arguments["host"].endswith("/api/offer")
        with pytest.raises(urllib.error.HTTPError):
            ui.get("/callquake/report")

        assert ui.post("/swarm", user_count=2, spawn_rate=2)["success"]
        tables = ui.wait_for(ui.tables)
        ttfb = tables["callquake-ttfb"][0]
        assert ttfb["response"] == "100.0 %"
        assert float(ttfb["p95"]) > 600
        assert tables["callquake-wer"][0]["wer"] == "0.0 %"
        assert any(row["name"].startswith("accent: ") for row in tables["callquake-wer"])
        assert tables["callquake-drop-off"][0]["calls"] == 0
        # Locust remembers an answer for two seconds; our own route asks us.
        assert json.loads(ui.get("/callquake/live"))["callquake-ttfb"][0]["n"] >= ttfb["n"]
        columns = {t["key"]: {c["key"] for c in t["structure"]} for t in arguments["extended_tables"]}
        assert all(set(rows[0]) == columns[key] for key, rows in tables.items())

        stats = {s["name"]: s for s in json.loads(ui.get("/stats/requests"))["stats"]}
        assert {"call set-up", "turn TTFB", "call"} <= set(stats)

        assert ui.post("/stop")["success"]
        assert ui.runs() == ["first"]
        assert ui.info("first")["status"] == "finished"
        assert "<html" in ui.wait_for(lambda: ui.get("/callquake/report"))

        assert ui.post("/swarm", user_count=1, spawn_rate=1)["success"]
        ui.wait_for(
            lambda: (
                len(ui.runs()) == 2
                and any((ui.reports / r / "calls.jsonl").stat().st_size for r in ui.runs() if r != "first")
            )
        )
        second = next(name for name in ui.runs() if name != "first")
        assert ui.info("first")["run_id"] != ui.info(second)["run_id"]

        # Ctrl-C ends the run and the server.
        ui.process.send_signal(signal.SIGINT)
        assert ui.process.wait(60) == 105
        assert ui.info(second)["status"] == "interrupted"
        assert (ui.reports / second / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ([], 104, "--scenario: missing"),
        (["--scenario", "nowhere.yaml"], 104, "nowhere.yaml: cannot read the scenario"),
    ],
)
def test_plain_locust_refuses_what_callquake_run_refuses(words, code, expected):
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert expected in done.stderr
