"""Foreign SIP software on loopback: installed where it is missing, on ports of its own, read by its output."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time

import pytest

LIMIT_S = 20


def installed(program, *packages):
    """Return the program's path; without it root gets the packages, anybody else a skipped test."""
    if shutil.which(program) is None:
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            pytest.skip(f"{program} is not installed, and only root can (apt-get install {' '.join(packages)})")
        for words in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            # No service is to start: the tests run the programs, with settings of their own.
            settings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1", "SYSTEMD_OFFLINE": "1"}
            done = subprocess.run(
                ["apt-get", *words], capture_output=True, text=True, timeout=600, check=False, env=settings
            )
            if done.returncode:
                pytest.skip(f"apt-get {words[0]} failed: {done.stderr.strip()[-200:]}")
    return shutil.which(program)


def free_port(*, pair=False):
    """Return a loopback port that nobody has over UDP and TCP; `pair`: an even one, the next three free as well.

    SIPp and baresip take port and next for audio, SIPp the two behind for video.
    """
    while True:
        with contextlib.ExitStack() as held:
            udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp.bind(("127.0.0.1", 0))
            port = udp.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
                if not pair:
                    return port
                if port % 2 == 0:
                    for beside in range(1, 4):
                        other = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                        other.bind(("127.0.0.1", port + beside))
                    return port


class Foreign:
    """A process and what it wrote."""

    def __init__(self, process, path):
        self.process, self._path = process, path

    @property
    def log(self):
        return self._path.read_text(errors="replace")

    def wait_for(self, condition, what):
        """Block until `condition()` holds; for starting up."""
        end = time.monotonic() + LIMIT_S
        while not condition():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log[-3000:]}"
            assert time.monotonic() < end, f"never {what}:\n{self.log[-3000:]}"
            time.sleep(0.05)

    async def wrote(self, text, times=1, *, limit_s=LIMIT_S):
        """Wait until it has written `text` so many times."""
        end = time.monotonic() + limit_s
        while self.log.count(text) < times:
            assert time.monotonic() < end, f"'{text}' was not written {times} times:\n{self.log[-6000:]}"
            await asyncio.sleep(0.05)

    async def ended(self, limit_s=LIMIT_S):
        """Wait until it ends by itself; return its exit status."""
        end = time.monotonic() + limit_s
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end:\n{self.log[-6000:]}"
            await asyncio.sleep(0.05)
        return self.process.returncode


@contextlib.contextmanager
def running(words, folder, name):
    """Run `words` in `folder`; kill what is left of it at the end, its children as well."""
    path = folder / f"{name}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in words],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield Foreign(process, path)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def is_listening(port):
    """Tell whether something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
