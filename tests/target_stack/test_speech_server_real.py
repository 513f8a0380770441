"""`callquake serve stt` and `serve tts` with the real models, as processes, and an agent that asks them.

pytest --soak -s tests/target_stack/test_speech_server_real.py
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.request

import av
import numpy as np
import pytest

from target_stack.remote_config import RemoteSpeech
from target_stack.serving.remote import RemoteStt, RemoteTts

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
SAID = "Please move my appointment to Thursday afternoon."


@contextlib.asynccontextmanager
async def running(*words):
    """Yield the address that a command says it is ready on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "target_stack", *words, "--port", "0", stderr=asyncio.subprocess.PIPE, env=os.environ
    )
    try:
        async for line in process.stderr:
            said = line.decode()
            print(said, end="")
            if "ready on" in said:
                yield said.split("ready on ")[1].split()[0]
                break
        else:
            raise AssertionError(f"{words} ended with {await process.wait()}")
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


def at_16_khz(samples):
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
    frame.sample_rate = 24_000
    parts = [part for given in (frame, None) for part in resampler.resample(given)]
    return np.concatenate([part.to_ndarray().reshape(-1) for part in parts])


def test_what_one_server_speaks_the_other_understands_and_an_agent_is_ready_on_both():
    async def scenario():
        async with running("serve", "tts", "--tts-batch", "4") as tts_url, running("serve", "stt") as stt_url:
            remote = RemoteSpeech(stt_url, tts_url)
            tts, stt = RemoteTts(remote.tts()), RemoteStt(remote.stt())
            speech = await tts.synthesise(SAID)
            heard = await stt.transcribe(at_16_khz(speech.samples))
            print(f"spoken in {speech.work_ms:.0f} ms, heard in {heard.work_ms:.0f} ms: {heard.text!r}")
            words = [word.strip(".,").lower() for word in heard.text.split()]
            assert words == [word.strip(".,").lower() for word in SAID.split()]
            await tts.aclose()
            await stt.aclose()
            urls = ("--stt-url", stt_url, "--tts-url", tts_url)
            async with running("up", "--llm", "scripted", *urls) as agent:
                health = await asyncio.to_thread(lambda: json.load(urllib.request.urlopen(f"{agent}/healthz")))
                assert (health["stages"]["stt"], health["stages"]["tts"]) == (f"at {stt_url}", f"at {tts_url}")

    asyncio.run(scenario())
