"""`callquake demo` leaves nothing behind, whichever way it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.loopback

# The demo's way of starting the stack, with a stand-in for the stack.
PARENT = """
import subprocess, sys, time
from harness.commands.target_child import end_with_parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True,
                         preexec_fn=end_with_parent)
print(child.pid, flush=True)
time.sleep(120)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a parent's death is told by Linux only")
def test_what_the_demo_started_ends_with_it_even_by_kill_9():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while is_running(child):
        assert time.monotonic() < deadline, "the child outlived the demo"
        time.sleep(0.05)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan whose new parent has not reaped it yet is over, too.
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
