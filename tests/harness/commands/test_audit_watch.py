"""The leak audit's sampler on real processes: one that leaks is found, one that does not passes, none is a word."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness.commands.live.audit_watch import AuditWatch
from harness.commands.live.process_readings import OwnProcesses, read_process
from harness.commands.live.target_poll import TARGET_FILE, TargetPoll
from harness.commands.live.target_processes import TargetProcesses, from_option, processes_of
from harness.measure import leak_audit
from harness.measure.audit_rows import Check, Load
from harness.measure.generator_health import HealthPoint
from harness.model.audit_sample import AuditSample
from harness.model.clock import monotonic_ns
from harness.model.errors import ScenarioError
from harness.report.audit_words import read_rules
from harness.report.record_lines import read_records
from harness.scenario.audit_block import AuditBlock, ProcessBlock

pytestmark = pytest.mark.loopback

# An agent that tells its process, and holds a file more each look where it is told to.
AGENT = """
import http.server, json, os, sys
held = []
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if sys.argv[1] == "leaks":
            held.extend(open(os.devnull) for _ in range(20))
        told = json.dumps({"processes": [{"name": "agent", "pid": os.getpid()}]}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(told))); self.end_headers()
        self.wfile.write(told)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Page)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize("kind", ["leaks", "is level"])
def test_agent_that_holds_more_with_each_look_fails_and_a_level_one_passes(kind, tmp_path):
    agent = subprocess.Popen([sys.executable, "-c", AGENT, kind], stdout=subprocess.PIPE, text=True)
    try:
        origin = f"http://127.0.0.1:{int(agent.stdout.readline())}"
        bounds = {"growth_per_hour": {"descriptors": 1000.0, "rss_mib": None}}
        block = AuditBlock.model_validate({"of": ["target"], "every_s": 0.2, "drain_s": 0.5, "windows": 10, **bounds})
        (tmp_path / "run.json").write_text('{"status": "finished"}')
        watch = AuditWatch(tmp_path, block, TargetProcesses([origin], [], tmp_path), say=lambda _: None)
        watch.start()
        begun_ns = monotonic_ns()
        time.sleep(3.2)
        watch.close()
    finally:
        agent.kill()
        agent.wait()
        agent.stdout.close()
    notes = []
    samples = read_records(tmp_path / "audit.jsonl", AuditSample, notes)
    health = [HealthPoint("local", begun_ns - 1, 5, None, 0.0)]
    result = leak_audit.measure(samples, read_rules(tmp_path, {}, notes), Load(health, begun_ns))
    assert notes == []
    failed = {(row.quantity, row.check) for row in result.rows if row.is_kept is False}
    leak = {("descriptors", Check.GROWTH), ("descriptors", Check.REST)}
    assert failed == (leak if kind == "leaks" else set())
    assert {one.process for one in result.processes} == {"agent"}


def test_readings_of_this_process_and_of_none():
    held, why = read_process(os.getpid())
    assert why == ""
    assert held["rss_mib"] > 5
    assert held["threads"] >= 1
    assert held["descriptors"] >= 3
    assert read_process(os.getpid(), started_at=1.0)[1].startswith(f"pid {os.getpid()} is another process here")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert read_process(child.pid) == ({}, f"there is no process {child.pid} here")
    assert ("callquake run", os.getpid()) in list(OwnProcesses().now())


def test_what_a_target_tells_of_its_processes_is_read_with_care():
    told = [
        {"name": "front", "pid": 7, "started_at": 1.7e9, "tasks": 12, "calls": 3},
        {"name": "s1", "pid": 8, "tasks": float("nan"), "calls": True},
        {"name": "", "pid": 9},
        {"name": "x", "pid": "9"},
        "s2",
    ]
    first, second = processes_of({"processes": told})
    assert (first.name, first.pid, first.started_at, first.told) == ("front", 7, 1.7e9, {"tasks": 12, "calls": 3})
    assert (second.name, second.told) == ("s1", {})
    assert processes_of({"processes": "none"}) == processes_of([]) == []


def test_an_end_by_order_is_told_once_and_sampled_as_one(tmp_path, monkeypatch):
    health = {
        "processes": [{"name": "s1", "pid": os.getpid()}],
        "ended_by_order": [{"name": "s2", "pid": 4711}, {"name": "s2", "pid": "x"}],
    }
    page = json.dumps(health).encode()
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO(page))
    target = TargetProcesses(["http://agent"], [], tmp_path)
    watch = AuditWatch(tmp_path, AuditBlock.model_validate({"of": ["target"]}), target)
    first, second = watch._round(), watch._round()
    assert [(one.process, one.pid, one.is_ordered) for one in first] == [
        ("s1", os.getpid(), False),
        ("s2", 4711, True),
    ]
    assert first[1].values == {}
    assert [one.process for one in second] == ["s1"]
    notes = []
    assert read_records(tmp_path / "audit.jsonl", AuditSample, notes) == [*first, *second]
    assert notes == []


NO_HTTP = b"220 mail.test ready\r\n"
CUT = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"


def answering(*answers, heard=None):
    """Listen, and give each connection the next answer; returns the origin. `heard`: takes what was asked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for answer in answers:
            peer, _ = listener.accept()
            with peer:
                asked = peer.recv(4096)
                if heard is not None:
                    heard.append(asked)
                peer.sendall(answer)
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("answer", [NO_HTTP, CUT])
def test_an_answer_that_is_no_http_or_breaks_off_is_none(answer, tmp_path):
    origin = answering(answer)
    (nobody,) = TargetProcesses([origin], [], tmp_path).now()
    assert nobody.pid == 0
    assert nobody.why.startswith(f"{origin}/healthz: ")


def test_metrics_that_break_off_are_asked_for_again(tmp_path):
    page = b"callquake_gpu_utilisation_ratio 0.5\n"
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page)
    poll = TargetPoll(answering(CUT, NO_HTTP, whole), tmp_path, every_s=0.01)
    poll.start()
    deadline = time.monotonic() + 10
    while not (tmp_path / TARGET_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    poll.close()
    assert '"value": 0.5' in (tmp_path / TARGET_FILE).read_text()


def test_metrics_behind_a_token_are_asked_for_with_it_and_only_then(tmp_path, monkeypatch):
    monkeypatch.setenv("CALLQUAKE_ADMIN_TOKEN", "secret")
    page = b"callquake_gpu_utilisation_ratio 0.5\n"
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page)
    asked = []
    poll = TargetPoll(answering(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", whole, heard=asked), tmp_path)
    assert poll._page() == page.decode()
    assert [b"Authorization: Bearer secret" in request for request in asked] == [False, True]


def test_the_token_does_not_follow_the_target_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CALLQUAKE_ADMIN_TOKEN", "secret")
    asked, elsewhere = [], []
    other = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", heard=elsewhere)
    sent_on = b"HTTP/1.1 302 Found\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n" % other.encode()
    poll = TargetPoll(answering(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", sent_on, heard=asked), tmp_path)
    poll._page()
    assert [b"Bearer secret" in request for request in (*asked, *elsewhere)] == [False, True, False]


def test_processes_that_the_user_names(tmp_path):
    (tmp_path / "agent.pid").write_text("4711\n")
    blocks = [ProcessBlock(name="a", pid_file="agent.pid"), ProcessBlock(name="b", pid_file="none.pid")]
    a, b = TargetProcesses([], blocks, tmp_path).now()
    assert a.pid == 4711
    assert (b.pid, "no process number in it" in b.why) == (0, True)
    (tmp_path / "agent.pid").write_text("-4711\n")
    assert "got -4711; legal: 2 and up" in TargetProcesses([], blocks[:1], tmp_path).now()[0].why
    (nobody,) = TargetProcesses([], [], tmp_path).now()
    assert "--audit-pid NAME=PID" in nobody.why
    assert [(one.name, one.pid) for one in from_option(["agent=4711", "12"])] == [("agent", 4711), ("pid-12", 12)]
    for wrong in (["agent"], ["agent=1"], ["a b=12"], ["a=12", "a=13"]):
        with pytest.raises(ScenarioError, match="--audit-pid: "):
            from_option(wrong)


def test_rules_that_cannot_be_read_are_said(tmp_path):
    notes = []
    assert read_rules(tmp_path, {}, notes) is None
    (tmp_path / "audit-rules.json").write_text("{")
    assert read_rules(tmp_path, {"audit": {"every_s": 2.0}}, notes).every_s == 2
    (tmp_path / "audit-rules.json").write_text(json.dumps({"of": ["nobody"]}))
    assert read_rules(tmp_path, {}, notes).every_s == 5
    assert len(notes) == 2
