"""Test bench: a whole Pipecat agent on this host's own models; also a command, to load-test it by hand.

`make pipecat` makes Pipecat's environment on first use, starts a language model and the bot, prints the address
and serves until Ctrl-C. docs/pipecat.md says what to do then.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from pipecat_peer import PipecatAgent, running

from target_stack.models.catalogue import CATALOGUE, GEMMA, KOKORO, WHISPER
from target_stack.models.store import ModelStore, default_cache
from target_stack.stages.scripted_llm import ScriptedLlmServer
from target_stack.stages.tts import VOICES

BOT = Path(__file__).with_name("pipecat_local_bot.py")
VOICE = "af_heart"
# Where agent and callers share two cores, the models may not keep our packets waiting.
NICENESS = 15


def missing_models():
    """Return the names of the models that `callquake models fetch` has yet to fetch."""
    store = ModelStore(default_cache(os.environ))
    return [model.name for model in CATALOGUE if store.wrong_files(model)]


@contextlib.contextmanager
def real_llm(folder):
    """Serve the small language model, as the bundled agent does; yields its address."""
    model = ModelStore(default_cache(os.environ)).load_path(GEMMA)
    command = [sys.executable, "-m", "target_stack.stages.llm_server", "--model", str(model)]
    # One slot: what every call's prompt begins with is read once.
    command += ["--slots", "1", "--parent", str(os.getpid())]
    with (folder / "llm.log").open("w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    try:
        yield _address(process)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def _address(process):
    for line in process.stdout:
        # The library prints of its own, too.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return json.loads(line)["url"]
    raise AssertionError(f"the language model's server ended with {process.wait()}; see llm.log")


@contextlib.contextmanager
def scripted_llm(_folder):
    """Serve fixed replies in the same manner; yields the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = ScriptedLlmServer()
    try:
        yield asyncio.run_coroutine_threadsafe(server.start(), loop).result(20)
    finally:
        asyncio.run_coroutine_threadsafe(server.aclose(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


LLMS = {"real": real_llm, "scripted": scripted_llm}


@contextlib.contextmanager
def local_agent(folder, *, llm="scripted", port=None, **switches):
    """Run the agent; `switches` are the bot's: BOT_RTVI="0"."""
    store = ModelStore(default_cache(os.environ))
    # Pipecat's Kokoro reads voices by name out of one file.
    np.savez(folder / "voices.npz", **{VOICE: np.load(VOICES / f"{VOICE}.npy")})
    with LLMS[llm](folder) as url:
        settings = {
            "BOT_WHISPER": str(store.load_path(WHISPER)),
            "BOT_KOKORO": str(store.load_path(KOKORO)),
            "BOT_VOICES": str(folder / "voices.npz"),
            "BOT_LLM": f"{url}/v1",
            **switches,
        }
        agent = PipecatAgent(folder, BOT, settings, port)
        os.setpriority(os.PRIO_PROCESS, agent.process.pid, NICENESS)
        with running(agent):
            yield agent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--llm", choices=LLMS, default="real")
    options = parser.parse_args()
    # Ended by either signal, also as a background job, it leaves no process behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if missing := missing_models():
        return f"{', '.join(missing)}: not there; run callquake models fetch"
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        print("starting (the first time installs Pipecat, 1 GB)", flush=True)
        with local_agent(Path(folder), llm=options.llm, port=options.port) as agent:
            print(f"ready on {agent.url}; Ctrl-C ends it", flush=True)
            agent.process.wait()
            print(agent.said[-2000:])
            return f"the bot ended with {agent.process.returncode}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
