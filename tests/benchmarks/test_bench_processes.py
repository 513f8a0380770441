"""Child processes of a benchmark: they obey, their deaths are told with their last words, and none is left behind."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from benchmarks.accounting import read_cpu, read_memory
from benchmarks.commands import CallersProcess, obey
from benchmarks.failure import BenchmarkError
from benchmarks.network import drops_of_port, free_udp_ports, read_udp
from benchmarks.processes import Child, CommandedCallers

pytestmark = pytest.mark.loopback

ROOT = Path(__file__).resolve().parents[2]
# This file is also the callers that its tests command.
COMMAND = [sys.executable, __file__]


class TinyCallers(CallersProcess):
    """Two packets a call and count; a third of a hundred calls fails."""

    def __init__(self):
        self.calls = self.failed = self.sent = 0

    async def add(self, calls):
        self.failed += calls // 100 * 33
        self.calls += calls
        return self.calls, self.failed

    async def count(self):
        self.sent += 2 * self.calls
        return {"calls": self.calls, "sent": self.sent, "received": None, "mood": "good"}

    async def close(self):
        print("closed", file=sys.stderr, flush=True)


@pytest.fixture
def callers(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with CommandedCallers(COMMAND, None, tmp_path / "log", add_limit_s=30) as child:
        yield child


def test_callers_add_and_count_and_end_when_their_input_does(callers, tmp_path):
    assert callers.add(3) == 3
    assert callers.add(2) == 5
    counts = callers.count()
    assert (counts.calls, counts.sent, counts.received, counts.more) == (5, 10, None, {"mood": "good"})
    assert len(callers.setup_seconds) == 2
    assert read_cpu(callers.pid).since(read_cpu(callers.pid)) >= 0
    assert read_memory(callers.pid).resident_kb > 1000
    callers.close()
    assert (tmp_path / "log").read_text() == "closed\n"
    with pytest.raises(ProcessLookupError):
        os.kill(callers.pid, 0)


def test_calls_that_did_not_come_up_stop_the_benchmark(callers):
    with pytest.raises(BenchmarkError, match="could not set up 33 of its calls"):
        callers.add(100)


def test_a_child_that_dies_is_told_with_its_last_words(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('no such weather')"]
    with pytest.raises(BenchmarkError, match=r"ended; the end of .*\n +no such weather"):
        CommandedCallers(command, None, tmp_path / "log")


def test_a_child_that_ignores_everything_is_killed(tmp_path):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
    child = Child([sys.executable, "-c", code], None, tmp_path / "log")
    assert child.hear_line(30) == "up"
    child.close()
    assert not child.is_running()


def test_the_kernels_counts_can_be_read():
    port = free_udp_ports(2)
    assert port % 2 == 0
    assert drops_of_port(port) == 0
    assert read_udp().since(read_udp()).out <= 0


if __name__ == "__main__":
    asyncio.run(obey(TinyCallers()))
