"""The agent and runs as children: told apart by their lines, ended on every way out."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from harness.commands import target_child
from harness.commands.target_child import Addresses, addresses_in, run_to_the_end, stop, target_stack, typed

pytestmark = pytest.mark.loopback


@pytest.mark.parametrize(
    ("line", "addresses"),
    [
        ("up: ready on http://127.0.0.1:8080", Addresses("http://127.0.0.1:8080")),
        (
            "up: ready on http://127.0.0.1:8080 sip:127.0.0.1:5060 sip:127.0.0.1:5060;transport=tcp\n",
            Addresses("http://127.0.0.1:8080", "127.0.0.1:5060"),
        ),
        ("up: ready on http://[::1]:80 sips:[::1]:5061", Addresses("http://[::1]:80")),
        ("up: http://127.0.0.1:8080 (loading models)", None),
    ],
)
def test_addresses_are_read_from_the_line_that_says_ready(line, addresses):
    assert addresses_in(line) == addresses


def test_what_was_typed_can_be_typed_again():
    assert typed(["--greeting", "good day"]) == "callquake up --greeting 'good day'"


def test_a_runs_lines_are_told_and_its_code_is_returned():
    lines = []
    code = run_to_the_end([sys.executable, "-c", "print('one'); import sys; sys.exit('two')"], print, lines.append)
    assert (code, sorted(lines)) == (1, ["one", "two"])


def test_ctrl_c_is_passed_on_once_and_the_runs_end_is_waited_for():
    script = """
import time
try:
    print("on", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("report")
    raise SystemExit(105)
"""
    lines, said = [], []

    def on_line(line):
        lines.append(line)
        if line == "on":
            os.kill(os.getpid(), signal.SIGINT)

    assert run_to_the_end([sys.executable, "-c", script], said.append, on_line) == 105
    assert lines == ["on", "report"]
    assert len(said) == 1


def test_a_process_that_ignores_sigint_is_ended_all_the_same(monkeypatch):
    monkeypatch.setattr(target_child, "STOP_LIMIT_S", 0.3)
    script = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('on', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "on\n"
    stop(process)
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL


def fail_beside_an_agent(family):
    with target_stack(["--profile", "emulated", "--port", "0"], print, ready_within_s=60) as at:
        assert at.origin.startswith("http://127.0.0.1:")
        family += children()
        raise RuntimeError("beside")


def test_the_agent_is_ended_when_what_goes_on_beside_it_fails():
    family = []
    with pytest.raises(RuntimeError, match="beside"):
        fail_beside_an_agent(family)
    assert family
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_an_agent_that_cannot_start_is_told():
    said = []
    with target_stack(["--profile", "nonsense"], said.append, ready_within_s=60, on_line=lambda _: None) as at:
        assert at is None
    assert said == ["the target stack ended with exit code 104; its messages are above"]


def children():
    return [one for one in psutil.Process().children(recursive=True) if "target_stack" in " ".join(one.cmdline())]


def test_no_thread_of_a_run_is_left():
    run_to_the_end([sys.executable, "-c", ""], print, print)
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("Thread-") and thread.is_alive() for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
