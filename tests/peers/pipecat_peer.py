"""Test bench: a real Pipecat agent as a child process, in an environment of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from product import family_of

VERSION = "1.14.0"
WANTED = f"pipecat-ai[runner,webrtc,whisper,kokoro]=={VERSION}"
BOT = Path(__file__).parent / "pipecat_bot.py"
START_S = 120
HANDED = "PEER request_data "
# Nothing it imports may look for a network; the bot reaches its own host only.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
    "OMP_NUM_THREADS": "2",
    "PYTHONUNBUFFERED": "1",
}


def environment_python():
    """Return the interpreter of Pipecat's environment, made on first use below $CALLQUAKE_PEER_VENVS or a cache."""
    default = Path(tempfile.gettempdir()) / f"callquake-peers-{os.getuid()}"
    folder = Path(os.environ.get("CALLQUAKE_PEER_VENVS") or default).absolute() / f"pipecat-{VERSION}"
    python, done = folder / "bin" / "python", folder / ".installed"
    if not done.exists() or done.read_text() != WANTED:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", WANTED]
        subprocess.run(pip, check=True)
        done.write_text(WANTED)
    return python


class PipecatAgent:
    """A running agent: `url` takes offers, `said` is its log so far."""

    def __init__(self, folder, bot, settings, port=None):
        """`settings` are what the bot reads from its environment; without `port` it gets a free one."""
        command = [str(environment_python()), str(bot), "--host", "127.0.0.1", "-t", "webrtc", "--port"]
        environment = {**os.environ, **OFFLINE, **settings}
        self.log = folder / "pipecat.log"
        port = port or _free_port()
        self.url = f"http://127.0.0.1:{port}/api/offer"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, str(port)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env=environment,
            )

    def wait_until_ready(self):
        end = time.monotonic() + START_S
        while "Uvicorn running on" not in self.said:
            assert self.process.poll() is None, f"Pipecat ended at its start:\n{self.said}"
            assert time.monotonic() < end, f"Pipecat was not ready after {START_S} s:\n{self.said}"
            time.sleep(0.2)

    @property
    def said(self):
        return self.log.read_text()

    def request_data(self):
        """What each call's bot was handed, in order."""
        lines = [line.removeprefix(HANDED) for line in self.said.splitlines() if line.startswith(HANDED)]
        return [json.loads(line) for line in lines]

    def end(self):
        """Stop it; nothing of it may be left."""
        family = family_of(self.process)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive, f"Pipecat left processes behind: {alive}"


def _free_port():
    """A port that was free a moment ago: Pipecat's runner takes no 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pipecat_agent(folder, *, whisper, replies):
    """Run an agent that hears with the faster-whisper folder and answers with `replies` ({"text", "path"}) in turn."""
    (folder / "replies.json").write_text(json.dumps(replies))
    settings = {"PEER_WHISPER": str(whisper), "PEER_REPLIES": str(folder / "replies.json")}
    return running(PipecatAgent(folder, BOT, settings))


@contextlib.contextmanager
def running(agent):
    """Wait until the agent takes offers; whatever happens then, it ends with the block."""
    try:
        agent.wait_until_ready()
        yield agent
    finally:
        agent.end()
