"""Work in processes that may die: every job has an answer, and no process is left."""

import multiprocessing
import os
import signal
import time
from functools import partial

import pytest

from harness.corpus.importing.progress import Progress
from harness.corpus.workers import WorkerLostError, work

pytestmark = pytest.mark.loopback


class Doer:
    """What a job says is done: doubled, or the process ended in one way or another."""

    def __init__(self, offset):
        self.offset = offset

    def __call__(self, job):
        if job == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if job == "leave":
            os._exit(3)
        if job == "hang":
            time.sleep(60)
        if job == "disk":
            raise OSError(28, "No space left on device")
        return 2 * job + self.offset


@pytest.fixture(autouse=True)
def _no_process_left():
    yield
    assert multiprocessing.active_children() == []


def test_every_job_is_answered_once():
    done = dict(work(range(20), partial(Doer, 1), count=2))
    assert done == {n: 2 * n + 1 for n in range(20)}


def test_job_that_kills_its_process_is_lost_alone():
    jobs = [1, "crash", 2, "leave", 3]
    done = dict(work(jobs, partial(Doer, 0), count=1))
    assert [done[1], done[2], done[3]] == [2, 4, 6]
    assert isinstance(done["crash"], WorkerLostError)
    assert str(done["crash"]) == "the decoder ended with a segmentation fault"
    assert str(done["leave"]) == "the decoder ended with exit code 3"


def test_job_that_takes_too_long_is_ended():
    done = list(work(["hang", 1], partial(Doer, 0), count=1, limit_s=1.5))
    assert str(done[0][1]) == "the decoder was still at it after 1.5 s"
    assert done[1] == (1, 2)


def test_what_the_work_raises_is_raised_here():
    with pytest.raises(OSError, match="No space left"):
        list(work(["disk", 1, 2], partial(Doer, 0), count=2))


def test_whoever_stops_asking_leaves_no_process():
    for _ in work(range(10), partial(Doer, 0), count=2):
        break


def test_no_jobs_no_processes():
    assert list(work([], partial(Doer, 0), count=2)) == []


class Stream:
    def __init__(self, is_terminal):
        self.is_terminal = is_terminal
        self.text = ""

    def isatty(self):
        return self.is_terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_progress_tells_rate_and_time_left():
    now = [0.0]
    stream = Stream(is_terminal=False)
    progress = Progress(101, stream, clock=lambda: now[0])
    for second in range(11):
        # The first answer is late, which is no matter of the rate.
        now[0] = 100.0 + second
        progress.step(refused=second % 2)
    assert stream.text.splitlines()[-1] == "[11/101] 10 %, 5 refused, 1.0 files/s, about 90 s left".replace(
        "90 s", "2 min"
    )


def test_progress_on_a_terminal_is_one_line_that_makes_way():
    now = [0.0]
    stream = Stream(is_terminal=True)
    progress = Progress(2, stream, clock=lambda: now[0])
    now[0] = 1.0
    progress.step(refused=0)
    progress.line("refused: x")
    progress.end()
    assert stream.text == "[1/2] 50 %, 0 refused\r\033[Krefused: x\n"
