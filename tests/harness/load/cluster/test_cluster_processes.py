"""Whether a process of this machine runs, and how it ended; a number that means another process here proves nothing."""

import dataclasses
import subprocess
import sys

import pytest

from harness.load.cluster import processes
from harness.load.cluster.processes import Process, can_see, end_of, own_process

pytestmark = pytest.mark.unit


def process_of(child):
    started = processes._stat(child.pid)[processes._STARTED_FIELD]
    return Process(child.pid, own_process().namespace, started)


@pytest.mark.parametrize(("words", "expected"), [("3", "exited with status 3"), (None, "was killed by SIGKILL")])
def test_a_child_that_ends_says_how_and_is_left_for_its_parent(words, expected):
    code = f"import sys; sys.stdin.read(); sys.exit({words})"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        process = process_of(child)
        assert can_see(process)
        assert end_of(process) is None
        if words is None:
            child.kill()
        else:
            child.stdin.close()
        while (end := end_of(process)) is None:
            pass
        assert end == expected
        # Nobody took its status away.
        assert child.wait() == (-9 if words is None else 3)
    assert end_of(process) == "its process is gone"


def test_a_number_taken_by_another_process_is_not_the_one_meant():
    own = own_process()
    assert end_of(own) is None
    assert end_of(dataclasses.replace(own, started="1")) == "its process is gone"
    assert Process.from_json(own.to_json()) == own


@pytest.mark.parametrize("changes", [{"namespace": "another boot"}, {"namespace": ""}, {"started": ""}])
def test_a_process_elsewhere_can_only_be_listened_to(changes):
    assert not can_see(dataclasses.replace(own_process(), **changes))


def test_another_time_namespace_counts_begin_of_processes_otherwise():
    assert "time:" in own_process().namespace or not processes.Path("/proc/self/ns/time").is_symlink()
