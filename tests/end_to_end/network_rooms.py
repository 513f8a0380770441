"""Test bench: network namespaces, each with a line to the machine's own; gone on every way out, even a killed test."""

import contextlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

# Set aside for tests of network gear (RFC 2544); routed nowhere.
_PREFIX = "198.18"


@dataclass(frozen=True)
class Room:
    """A network namespace and the two ends of its line."""

    name: str
    outside: str
    inside: str

    def command(self, *words, clock_offset_s=None):
        """Return what runs `words` in it; with an offset, on a CLOCK_MONOTONIC of its own."""
        words = [str(word) for word in words]
        if clock_offset_s is not None:
            words = ["unshare", "--time", "--monotonic", str(clock_offset_s), "--boottime", str(clock_offset_s), *words]
        return ["ip", "netns", "exec", self.name, *words]


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def why_not():
    """Say why no namespace can be made here, None when one can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and iproute2"
    name = f"cqt{os.getpid()}x"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"this machine makes no network namespaces: {error.stderr.strip()}"
    return None


def has_time_namespaces():
    """Say whether a process here may have a clock of its own."""
    done = subprocess.run(["unshare", "--time", "--monotonic", "10", "true"], capture_output=True, check=False)
    return done.returncode == 0


@contextlib.contextmanager
def rooms(n):
    """Make `n` namespaces; yields Rooms. Skips the test where that cannot be done."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    pid = os.getpid()
    net = f"{_PREFIX}.{pid % 250}"
    made = [Room(f"cqt{pid}n{i}", f"{net}.{4 * i + 1}", f"{net}.{4 * i + 2}") for i in range(n)]
    # Sweeps up when this process is gone, whatever ended it: its end of the pipe closes then.
    sweeping = "; ".join(
        ["cat > /dev/null", *(f"ip netns del {r.name}; ip link del {r.name} 2> /dev/null" for r in made)]
    )
    sweeper = subprocess.Popen(["sh", "-c", sweeping], stdin=subprocess.PIPE, start_new_session=True)
    try:
        for room in made:
            _ip("netns", "add", room.name)
            _ip("link", "add", room.name, "type", "veth", "peer", "name", "eth0", "netns", room.name)
            _ip("addr", "add", f"{room.outside}/30", "dev", room.name)
            _ip("link", "set", room.name, "up")
            _ip("-n", room.name, "addr", "add", f"{room.inside}/30", "dev", "eth0")
            _ip("-n", room.name, "link", "set", "eth0", "up")
            _ip("-n", room.name, "link", "set", "lo", "up")
            _ip("-n", room.name, "route", "add", "default", "via", room.outside)
        yield made
    finally:
        sweeper.stdin.close()
        sweeper.wait(30)
        left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        assert not [room for room in made if room.name in left.split()], left
        end = time.monotonic() + 10
        while any(Path(f"/sys/class/net/{room.name}").exists() for room in made):
            assert time.monotonic() < end
            time.sleep(0.1)
