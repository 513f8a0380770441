"""Alerts while a run goes, from files that grow; the target's metrics; a webhook that is slow, fails or is away."""

import http.server
import json
import threading
import time
from pathlib import Path

import pytest
from run_records import MS, make_turn

from harness.commands.live.arrived import Arrivals
from harness.commands.live.target_poll import MetricsReader
from harness.commands.live.watch import LIVE_FILE, AlertWatch, Watcher
from harness.commands.live.webhook import ATTEMPTS, Webhook, check_url
from harness.model.codec import to_json
from harness.model.errors import ScenarioError
from harness.verdict.runbook_file import parse_runbook

pytestmark = pytest.mark.loopback

S = 1_000 * MS
RULES = parse_runbook(
    "triggers:\n  - {name: slow, when: ttfb_ms p95 > 400 sustained 30s over 10s, severity: P2, action: Scale}\n"
).rules


def write(run_dir: Path, seconds: range, slow: range) -> None:
    with (run_dir / "turns.jsonl").open("a") as file:
        for i in seconds:
            turn = make_turn(f"c{i}", 1, 900.0 if i in slow else 300.0, speech_ended_at_ns=(1_000 + i) * S)
            file.write(json.dumps(to_json(turn)) + "\n")


def test_an_alert_is_told_when_it_fires_and_when_it_is_over(tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    now = 0
    watcher = Watcher(RULES, lambda state, _alert: told.append((now, state)))
    arrivals = Arrivals(tmp_path, watcher.keep_s() * 1e9)
    slow = range(100, 200)
    for now in range(10, 400, 10):
        write(tmp_path, range(now - 10, now), slow)
        watcher.look(arrivals.read())
    (fired, first), (over, second) = told
    assert (first, second) == ("firing", "resolved")
    assert 130 <= fired <= 150
    assert 200 < over <= 220


def test_a_torn_line_waits_for_its_rest(tmp_path: Path) -> None:
    write(tmp_path, range(3), range(0))
    path = tmp_path / "turns.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    arrivals = Arrivals(tmp_path, 1e12)
    assert len(arrivals.read().turns) == 2
    path.write_bytes(whole)
    assert len(arrivals.read().turns) == 3


def test_the_past_is_forgotten(tmp_path: Path) -> None:
    write(tmp_path, range(500), range(0))
    assert len(Arrivals(tmp_path, 100 * S).read().turns) == pytest.approx(100, abs=2)


class Hook(http.server.BaseHTTPRequestHandler):
    """Refuses the first `refusals` requests."""

    got: list[dict[str, object]]
    refusals = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).refusals -= 1
        if type(self).refusals >= 0:
            self.send_error(503)
            return
        self.got.append(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook():
    handler = type("H", (Hook,), {"got": [], "refusals": 0})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/alerts"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_gets_every_alert_in_order_though_it_fails_at_first(hook) -> None:
    handler, url = hook
    handler.refusals = ATTEMPTS - 1
    sender = Webhook(url, first_wait_s=0.01)
    sender.start()
    for n in range(3):
        sender.post({"n": n})
    sender.close()
    assert handler.got == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert (sender.delivered, sender.lost) == (3, 0)


def test_what_a_webhook_never_takes_is_counted(hook) -> None:
    handler, url = hook
    handler.refusals = 1_000
    sender = Webhook(url, first_wait_s=0.01)
    sender.start()
    sender.post({"n": 0})
    sender.close()
    assert (sender.delivered, sender.lost) == (0, 1)
    assert "503" in sender.last_error


def test_posting_never_waits_whoever_is_there() -> None:
    sender = Webhook("http://127.0.0.1:9/nobody", first_wait_s=0.01)
    for n in range(500):
        sender.post({"n": n})
    # Nothing was delivered yet: the thread does not even run.
    assert sender.lost == 300


@pytest.mark.parametrize("url", ["alerts", "ftp://x/y", "http://", "file:///etc/passwd"])
def test_what_is_no_webhook_is_refused(url: str) -> None:
    with pytest.raises(ScenarioError, match="--webhook"):
        check_url(url)


def test_a_watched_run_tells_stderr_a_file_and_the_webhook(
    tmp_path: Path, hook, capsys: pytest.CaptureFixture[str]
) -> None:
    handler, url = hook
    (tmp_path / "run.json").write_text(json.dumps({"first_due_monotonic_ns": 1_000 * S}))
    write(tmp_path, range(200), range(100, 200))
    watch = AlertWatch(tmp_path, "run-7", RULES, webhook=Webhook(url), every_s=0.05)
    watch.start()
    deadline = time.monotonic() + 20
    while not handler.got and time.monotonic() < deadline:
        time.sleep(0.02)
    watch.close()
    (line,) = (tmp_path / LIVE_FILE).read_text().splitlines()
    row = json.loads(line)
    assert handler.got == [row]
    assert (row["run_id"], row["state"], row["rule"], row["severity"]) == ("run-7", "firing", "slow", "P2")
    assert 98 <= row["began_s"] <= 104
    assert "ALERT P2 slow: 900 ms at worst" in capsys.readouterr().err


def test_the_target_s_metrics_become_samples() -> None:
    reader = MetricsReader()
    text = (
        "# TYPE callquake_gpu_utilisation_ratio gauge\n"
        'callquake_gpu_utilisation_ratio{gpu="0"} 0.8\ncallquake_gpu_utilisation_ratio{gpu="1"} NaNx\n'
        'callquake_rate_limited_total{stage="llm"} 3\ncallquake_rate_limited_total{stage="tts"} 1\n'
    )
    first = list(reader.read(text, 5))
    assert [(s.name, s.value, s.instance) for s in first] == [("gpu_utilisation", 0.8, 'gpu="0"')]
    (hits,) = reader.read('callquake_rate_limited_total{stage="llm"} 9\n', 6)
    assert (hits.name, hits.value) == ("rate_limit_hits", 5)
    (again,) = reader.read('callquake_rate_limited_total{stage="llm"} 2\n', 7)
    assert again.value == 2
    assert not list(reader.read("callquake_llm_lost_to_overflow_total 2\n", 7))
    (lost,) = reader.read("callquake_llm_lost_to_overflow_total 5\n", 8)
    assert (lost.name, lost.value) == ("context_overflows", 3)
    assert not list(reader.read("callquake_gpu_utilisation_ratio NaN\ncallquake_rate_limited_total NaN\n", 8))
