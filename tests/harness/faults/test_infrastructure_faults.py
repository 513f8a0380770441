"""Processes, hooks and netem: each fault has its effect, is counted and undone, also when its owner is killed."""

import errno
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.faults.catalogue import KINDS
from harness.faults.check import check_parameters
from harness.faults.effect import Means
from harness.faults.errors import FaultError
from harness.faults.families import netem
from harness.faults.injection import Injector
from harness.faults.journal import Journal, replay
from harness.model.fault import Fault, FaultMoment

pytestmark = pytest.mark.loopback

DEADLINE_S = 30
SLEEPER = "import time\nwhile True: time.sleep(0.02)"


def fault(kind, **parameters):
    found, problems = check_parameters(KINDS[kind], parameters)
    assert not problems, problems
    return Fault("broken", kind, KINDS[kind].where, parameters=found)


class Bench:
    """Injects in this process, and in another one that is killed."""

    def __init__(self, folder):
        self.folder, self.told = folder, []
        self.journal = Journal(folder)

    def inject(self, one):
        return Injector(one, Means(environ=dict(os.environ), folder=str(self.folder)), self.journal, self.told.append)

    def inject_and_be_killed(self, kind, **parameters):
        words = [f"{name}={value}" for name, value in parameters.items()]
        command = [sys.executable, "-m", "harness.cli", "fault", "start", kind, *words]
        environ = {**os.environ, "CALLQUAKE_STATE": str(self.folder)}
        process = subprocess.Popen(command, env=environ, cwd=self.folder, stderr=subprocess.PIPE, text=True)
        line = process.stderr.readline()
        assert "in force since" in line, line
        process.kill()
        process.wait()
        process.stderr.close()
        assert len(self.journal.left_behind()) == 1

    def next_command(self):
        told = []
        assert replay({**os.environ, "CALLQUAKE_STATE": str(self.folder)}, told.append) == 0, told
        assert self.journal.entries() == []
        return told


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def process(tmp_path):
    running = subprocess.Popen([sys.executable, "-c", SLEEPER, str(tmp_path)])
    (tmp_path / "it.pid").write_text(str(running.pid))
    yield running
    running.kill()
    running.wait()


def state_of(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def until(condition):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_process_stands_still_and_goes_on(bench, process):
    injector = bench.inject(fault("process.stop", pid_file="it.pid"))
    assert injector.start()
    until(lambda: state_of(process) == "T")
    assert injector.gather().touched == 1
    injector.stop()
    until(lambda: state_of(process) != "T")
    assert [event.event for event in bench.told] == [FaultMoment.STARTED, FaultMoment.EVIDENCE, FaultMoment.STOPPED]
    assert bench.journal.entries() == []


def test_a_stopped_process_goes_on_after_kill_9(bench, process):
    bench.inject_and_be_killed("process.stop", pattern=str(bench.folder))
    assert state_of(process) == "T"
    assert "undid process.stop" in bench.next_command()[0]
    until(lambda: state_of(process) != "T")


def test_a_process_is_ended_and_started_again_once(bench, process):
    mark = bench.folder / "restarted"
    injector = bench.inject(fault("process.kill", pid=process.pid, restart=f"sh -c 'echo x >> {mark}'"))
    assert injector.start()
    assert process.wait(timeout=DEADLINE_S) == -signal.SIGKILL
    assert injector.gather().touched == 1
    injector.stop()
    injector.stop()
    until(mark.exists)
    assert mark.read_text() == "x\n"


def test_an_ended_process_is_started_again_after_kill_9(bench, process):
    mark = bench.folder / "restarted"
    bench.inject_and_be_killed("process.kill", pid=process.pid, restart=f"touch {mark}")
    process.wait(timeout=DEADLINE_S)
    bench.next_command()
    until(mark.exists)


def test_a_process_that_ended_before_is_left_in_peace(bench, process):
    mark = bench.folder / "restarted"
    injector = bench.inject(fault("process.kill", pid=process.pid, restart=f"touch {mark}"))
    process.kill()
    process.wait()
    assert not injector.start()
    assert not mark.exists()
    assert f"process {process.pid} is gone" in bench.told[0].detail
    assert bench.journal.entries() == []


def test_a_process_that_somebody_else_stopped_stays_stopped(bench, process):
    process.send_signal(signal.SIGSTOP)
    until(lambda: state_of(process) == "T")
    injector = bench.inject(fault("process.stop", pid=process.pid))
    assert not injector.start()
    assert f"process {process.pid} stands still already, by somebody else" in bench.told[0].detail
    assert state_of(process) == "T"
    assert bench.journal.entries() == []


@pytest.mark.parametrize("kind", ["process.stop", "process.kill"])
def test_a_process_that_we_may_not_signal_is_told_once(kind, bench, process, monkeypatch):
    def refused(_pid, _number):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    injector = bench.inject(fault(kind, pid=process.pid))
    monkeypatch.setattr(os, "kill", refused)
    assert not injector.start()
    monkeypatch.undo()
    assert [event.detail for event in bench.told] == [f"broken: process {process.pid}: Operation not permitted"]
    assert bench.journal.entries() == []


def test_a_process_that_nobody_starts_again_is_told(bench, process):
    injector = bench.inject(fault("process.kill", pid=process.pid))
    assert injector.start()
    process.wait()
    evidence = injector.stop()
    assert (evidence.touched, evidence.detail) == (1, "it is not started again here: no `restart` was given")


def test_a_restart_that_fails_is_told_as_not_undone(bench, process):
    injector = bench.inject(fault("process.kill", pid=process.pid, restart="sh -c 'exit 3'"))
    assert injector.start()
    process.wait()
    injector.stop()
    assert bench.told[-1].event is FaultMoment.NOT_UNDONE
    assert bench.told[-1].detail.endswith("status 3")
    assert len(bench.journal.entries()) == 1


def test_a_process_that_is_not_there_is_told(bench):
    with pytest.raises(FaultError, match="no process number in it"):
        bench.inject(fault("process.stop", pid_file="none.pid"))
    with pytest.raises(FaultError, match="0 processes have"):
        bench.inject(fault("process.stop", pattern="no such text in any command line, surely"))
    assert check_parameters(KINDS["process.stop"], {})[1] == [
        (("parameters",), "needs exactly one of: pid_file, pid, pattern")
    ]


def test_a_hook_breaks_counts_and_mends(bench):
    file = bench.folder / "rule"
    one = fault("hook.command", command=f"touch {file}", revert=f"rm -f {file}", count="echo 17")
    injector = bench.inject(one)
    assert injector.start()
    assert file.exists()
    assert injector.gather().touched == 17
    assert injector.stop().touched == 17
    assert not file.exists()


def test_a_hook_that_counts_nothing_was_not_injected(bench):
    injector = bench.inject(fault("hook.command", command="true", count="echo 0"))
    assert injector.start()
    assert injector.stop().touched == 0


def test_a_hook_may_leave_something_running(bench):
    injector = bench.inject(fault("hook.command", command="sh -c 'sleep 20 & echo $!'", revert="true", timeout_s=10.0))
    begun = time.monotonic()
    assert injector.start(), bench.told
    injector.stop()
    assert time.monotonic() - begun < 10


def test_a_revert_may_take_as_long_as_its_hook(bench):
    injector = bench.inject(fault("hook.command", command="true", revert="sleep 5", timeout_s=0.3))
    assert injector.start()
    injector.stop()
    assert "timed out after 0." in bench.told[-1].detail


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("hook.command", {"command": "echo 'half"}),
        ("hook.command", {"command": "true", "revert": " "}),
        ("hook.kubectl", {"arguments": "scale", "count": '"'}),
        ("process.kill", {"pid": 7, "restart": "'"}),
    ],
)
def test_words_that_are_no_program_are_found_before_any_call(kind, said):
    (problem,) = check_parameters(KINDS[kind], said)[1]
    assert problem[1].endswith("legal: words as a shell takes them")


def test_a_hook_without_a_revert_is_not_told_as_undone(bench):
    injector = bench.inject(fault("hook.command", command="true"))
    assert injector.start()
    assert injector.stop().detail == "nothing was given that undoes it: what it did stays"
    assert not injector.outlives_us


def test_a_hook_that_fails_is_told_and_mended_all_the_same(bench):
    file = bench.folder / "half"
    injector = bench.inject(fault("hook.command", command=f"sh -c 'touch {file}; exit 3'", revert=f"rm -f {file}"))
    assert not injector.start()
    assert "status 3" in bench.told[0].detail
    assert not file.exists()
    assert bench.journal.entries() == []


def test_a_hook_is_mended_after_kill_9(bench):
    file = bench.folder / "rule"
    bench.inject_and_be_killed("hook.command", command=f"touch {file}", revert=f"rm -f {file}")
    assert file.exists()
    bench.next_command()
    assert not file.exists()


def test_kubectl_is_a_command_with_words_before_it(bench):
    log = bench.folder / "log"
    kubectl = f"sh -c 'echo $0 $@ >> {log}'"
    one = fault(
        "hook.kubectl",
        arguments="scale deploy/stt --replicas=0",
        revert="scale deploy/stt --replicas=2",
        kubectl=kubectl,
    )
    injector = bench.inject(one)
    assert injector.start()
    injector.stop()
    assert log.read_text().splitlines() == ["scale deploy/stt --replicas=0", "scale deploy/stt --replicas=2"]


@pytest.fixture
def service():
    """Something with a switch: POST breaks it, DELETE mends it, and a second DELETE is 404."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(("POST", body.decode(), self.headers.get("Authorization")))
            self.answer(201)

        def do_DELETE(self):
            is_broken = [one[0] for one in asked][-1:] == ["POST"]
            asked.append(("DELETE", "", self.headers.get("Authorization")))
            self.answer(200 if is_broken else 404)

        def answer(self, status):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/switch", asked
        server.shutdown()
        thread.join()


def test_a_request_breaks_and_mends_with_its_secret_and_none_is_on_disk(bench, service, monkeypatch):
    url, asked = service
    monkeypatch.setenv("HOOK_TOKEN", "s3cret")
    header = "Authorization: Bearer ${HOOK_TOKEN}"
    injector = bench.inject(fault("hook.http", url=url, revert_url=url, body='{"a": 1}', headers=[header]))
    assert injector.start()
    (entry,) = (bench.folder / "faults").glob("*.json")
    assert "s3cret" not in entry.read_text()
    assert injector.stop().touched == 1
    assert asked == [("POST", '{"a": 1}', "Bearer s3cret"), ("DELETE", "", "Bearer s3cret")]


def test_a_request_is_undone_after_kill_9(bench, service):
    url, asked = service
    bench.inject_and_be_killed("hook.http", url=url, revert_url=url)
    bench.next_command()
    assert [one[0] for one in asked] == ["POST", "DELETE"]


FAKE_TC = """#!/bin/sh
# A device with somebody else's qdisc on it, as tc tells of one.
echo "$*" >> "{log}"
case "$*" in
*"qdisc add"*) {add} ;;
*"qdisc del"*) echo "Error: Invalid handle." >&2; exit 2 ;;
*) echo " Sent 300 bytes 3 pkt (dropped 1, overlimits 0 requeues 0)" ;;
esac
"""


@pytest.fixture
def fake_tc(tmp_path, monkeypatch):
    """Return what makes a `tc` whose `add` does so, and its log."""

    def make(add):
        folder, log = tmp_path / "bin", tmp_path / "tc.log"
        folder.mkdir()
        (folder / "tc").write_text(FAKE_TC.format(log=log, add=add))
        (folder / "tc").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        return log

    return make


def test_netem_deletes_nobody_elses_qdisc(bench, fake_tc):
    log = fake_tc('echo "Error: Exclusivity flag on, cannot modify." >&2; exit 2')
    injector = bench.inject(fault("netem.qdisc", device="eth0", delay_ms=80))
    assert not injector.start()
    assert "Exclusivity flag on" in bench.told[0].detail
    add, delete = (line for line in log.read_text().splitlines() if not line.startswith("-s"))
    handle = add.split()[add.split().index("handle") + 1]
    assert delete == f"qdisc del dev eth0 root handle {handle}"
    assert bench.journal.entries() == []


def test_netem_that_was_not_added_in_time_is_deleted(bench, fake_tc, monkeypatch):
    log = fake_tc("sleep 5")
    monkeypatch.setattr(netem, "TC_TIMEOUT_S", 0.3)
    assert not bench.inject(fault("netem.qdisc", device="eth0", delay_ms=80)).start()
    assert "qdisc del dev eth0" in log.read_text()


@pytest.mark.parametrize(
    ("said", "touched", "detail"),
    [
        ({"delay_ms": 5}, 4, ""),
        ({"loss_ratio": 0.1}, 1, ""),
        ({"loss_ratio": 0.1, "rate_kbps": 50}, 4, ""),
        ({"duplicate_ratio": 0.5}, 1, "the kernel counts no duplicates"),
        ({}, 1, ""),
    ],
)
def test_netem_counts_what_it_does(said, touched, detail, bench, fake_tc):
    fake_tc("true")
    injector = bench.inject(fault("netem.qdisc", device="eth0", **said))
    assert injector.start()
    found = injector.gather()
    assert (found.touched, detail in found.detail) == (touched, True)


@pytest.fixture
def namespace():
    """A network namespace with one end of a veth pair in it, the other here without an address."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    name = f"cqtest{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
    try:
        for words in (["link", "set", "lo", "up"],):
            subprocess.run(["ip", "-n", name, *words], check=True)
        probe = ["ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "0ms"]
        probed = subprocess.run(probe, capture_output=True, text=True, check=False)
        if probed.returncode != 0:
            pytest.skip(f"no netem here: {probed.stderr.strip()}")
        subprocess.run(["ip", "netns", "exec", name, "tc", "qdisc", "del", "dev", "lo", "root"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def qdiscs(namespace):
    shown = subprocess.run(
        ["ip", "netns", "exec", namespace, "tc", "-j", "qdisc", "show", "dev", "lo"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [one["kind"] for one in json.loads(shown.stdout or "[]")]


def round_trip_ms(namespace):
    code = (
        "import socket,time\n"
        "a,b=(socket.socket(socket.AF_INET,socket.SOCK_DGRAM) for _ in range(2))\n"
        "a.bind(('127.0.0.1',0)); t=time.monotonic(); b.sendto(b'x',a.getsockname()); a.recv(9)\n"
        "print((time.monotonic()-t)*1000)"
    )
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_netem_delays_is_counted_and_deleted(bench, namespace):
    injector = bench.inject(fault("netem.qdisc", device="lo", namespace=namespace, delay_ms=80))
    assert injector.start(), bench.told
    assert qdiscs(namespace) == ["netem"]
    assert injector.gather().touched == 0
    assert round_trip_ms(namespace) >= 79
    assert injector.stop().touched >= 1
    assert "netem" not in qdiscs(namespace)


def test_netem_is_deleted_after_kill_9(bench, namespace):
    bench.inject_and_be_killed("netem.qdisc", device="lo", namespace=namespace, delay_ms=80)
    assert qdiscs(namespace) == ["netem"]
    bench.next_command()
    assert "netem" not in qdiscs(namespace)
