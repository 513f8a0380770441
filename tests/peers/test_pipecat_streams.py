"""Our carriers against Pipecat's own serializers, frame by frame, and one call to a Pipecat agent on each transport."""

import base64
import contextlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fit_clips import callers
from pipecat_peer import OFFLINE, PipecatAgent, environment_python
from product import Run, scenario

from harness.calibrate.voice import voiced
from harness.corpus.manifest import load_corpus
from harness.media.clips import encode_clip
from harness.media.codecs import L16_8K, L16_16K, PCMA, PCMU
from harness.media.payload_decoder import PayloadDecoder
from harness.protocols.media_streams.dialects import DIALECTS
from harness.protocols.media_streams.messages import AgentAudio, Clear, Mark
from harness.protocols.media_streams.stream import CarrierEnd, Identity

# The first run also installs Pipecat, about a gigabyte.
pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
CODECS = {codec.name: codec for codec in (PCMU, PCMA, L16_8K, L16_16K)}
# Pipecat 1.14 has no serializer for jambonz, and none for Plivo's linear audio.
PAIRS = [
    (dialect, audio)
    for dialect in DIALECTS.values()
    for audio in dialect.formats
    if dialect.name != "jambonz" and (dialect.name != "plivo" or audio.name == "PCMU")
]


class Serializers:
    """Pipecat's serializers in their own process."""

    def __init__(self):
        command = [str(environment_python()), str(HERE / "pipecat_serializers.py")]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **OFFLINE},
        )
        # Pipecat greets on its own.
        while self._process.stdout.readline().strip() != "ready":
            assert self._process.poll() is None, "Pipecat's serializers ended at their start"

    def ask(self, **request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "Pipecat's serializers ended"
        return json.loads(line)

    def close(self):
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def pipecat():
    serializers = Serializers()
    yield serializers
    serializers.close()


def on_wire(message):
    return {"text": message} if isinstance(message, str) else {"base64": base64.b64encode(message).decode()}


def from_wire(answer):
    return answer["text"] if "text" in answer else base64.b64decode(answer["base64"])


def pcm(answer):
    return np.frombuffer(base64.b64decode(answer["audio"]), "<i2")


def carrier_to(pipecat, dialect, audio):
    """Return a carrier whose call Pipecat has taken, and what Pipecat made of its start."""
    carrier = CarrierEnd(dialect, audio, Identity("+15550100", "+15550101", {"call_id": "call-7"}))
    opening = carrier.open()
    if dialect.name == "vonage":
        # Pipecat's runner does not tell Vonage; its serializer reads the start like any other message.
        pipecat.ask(do="open", kind="vonage", call={}, rate=audio.sample_rate)
        assert pipecat.ask(do="hear", text=opening[0])["frame"] is None
        return carrier, None
    first = carrier.audio(base64.b64encode(CODECS[audio.name].silence).decode(), 0)
    found = pipecat.ask(do="detect", messages=[*opening, first][:2])
    assert found["kind"] == dialect.name
    pipecat.ask(do="open", kind=found["kind"], call=found["call"], rate=audio.sample_rate)
    return carrier, found["call"]


@pytest.mark.parametrize(("dialect", "audio"), PAIRS, ids=[f"{d.name} {a.name}" for d, a in PAIRS])
def test_every_dialect_round_trips_through_pipecats_serializer(pipecat, dialect, audio):
    carrier, call = carrier_to(pipecat, dialect, audio)
    if call is not None:
        assert call["stream_id"] == carrier.started.stream_id
        assert call["call_id"] == carrier.started.call_id
        if dialect.name == "twilio":
            assert call["body"] == {"call_id": "call-7"}
        if dialect.name in ("telnyx", "exotel"):
            assert (call["from"], call["to"]) == ("+15550100", "+15550101")

    # The caller's voice, a packet at a time: what Pipecat hears is what was said.
    codec = CODECS[audio.name]
    clip = encode_clip("u", voiced(400, codec.sample_rate), 0, 400, codec)
    heard = []
    for index, payload in enumerate(clip.payloads):
        said = payload if dialect.is_binary else base64.b64encode(payload).decode()
        answer = pipecat.ask(do="hear", **on_wire(carrier.audio(said, index * 20)))
        assert (answer["frame"], answer["rate"]) == ("InputAudioRawFrame", codec.sample_rate)
        heard.append(pcm(answer))
    decoder = PayloadDecoder(codec)
    assert np.array_equal(np.concatenate(heard), np.concatenate([decoder.decode(p) for p in clip.payloads]))

    for digit in "5*#0":
        answer = pipecat.ask(do="hear", **on_wire(carrier.dtmf(digit, 400)))
        assert (answer["frame"], answer["digit"]) == ("InputDTMFFrame", digit)
    for message in (carrier.mark_played("m"), carrier.cleared(), carrier.stop()):
        if message is not None:
            assert pipecat.ask(do="hear", **on_wire(message))["frame"] is None

    # The agent's voice, and its wish to be silent.
    speech = voiced(1000, codec.sample_rate)
    said = carrier.receive(from_wire(pipecat.ask(do="say", base64=base64.b64encode(speech.tobytes()).decode())))
    assert isinstance(said, AgentAudio)
    played = PayloadDecoder(codec).decode(said.payload)
    assert len(played) == len(speech)
    # The law's steps are 3 % of a sample at most; linear audio is exact.
    assert np.max(np.abs(played.astype(int) - speech)) <= (0 if codec in (L16_8K, L16_16K) else 0.04 * 32768)
    assert carrier.receive(from_wire(pipecat.ask(do="interrupt"))) == Clear()


def test_a_mark_that_a_pipecat_bot_sends_by_hand_is_ours(pipecat):
    carrier, call = carrier_to(pipecat, *PAIRS[0])
    message = {"event": "mark", "streamSid": call["stream_id"], "mark": {"name": "asked"}}
    assert carrier.receive(from_wire(pipecat.ask(do="send", message=message))) == Mark("asked")


class StreamAgent(PipecatAgent):
    """The same bench for the agent on carriers' WebSockets."""

    def __init__(self, folder, clips):
        (folder / "replies.json").write_text(json.dumps(clips))
        self.log = folder / "pipecat.log"
        self._start(folder)

    def _start(self, folder):
        from pipecat_peer import _free_port

        port = _free_port()
        self.url = f"ws://127.0.0.1:{port}/ws"
        command = [str(environment_python()), str(HERE / "pipecat_stream_bot.py"), "--host", "127.0.0.1"]
        environment = {**os.environ, **OFFLINE, "PEER_REPLIES": str(folder / "replies.json")}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(port)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env=environment,
            )

    def calls(self):
        """What Pipecat made of each call's start, in order."""
        lines = [line.removeprefix("PEER call ") for line in self.said.splitlines() if line.startswith("PEER call ")]
        return [json.loads(line) for line in lines]


@contextlib.contextmanager
def stream_agent(folder):
    clips = sorted((u for u in load_corpus().utterances.values() if u.is_clean), key=lambda u: u.duration_ms)
    agent = StreamAgent(folder, [str(u.file) for u in clips[:3]])
    try:
        agent.wait_until_ready()
        yield agent
    finally:
        agent.end()


def test_a_pipecat_agent_answers_our_callers_in_every_dialect_its_runner_knows(tmp_path):
    with stream_agent(tmp_path) as agent:
        for dialect in ("twilio", "telnyx", "plivo", "exotel"):
            plan = scenario(
                agent.url,
                calls=1,
                callers=callers(turns=2),
                target={"url": agent.url, "dialect": dialect},
                limits={"answer_timeout_s": 15, "greeting_timeout_s": 15, "call_timeout_s": 90},
                thresholds=[{"expr": "response_ratio >= 1", "min_samples": 2}],
            )
            run = Run(tmp_path / dialect, plan)
            assert run.end() == 0, f"{dialect}: {run.text}\n{agent.said}"
            (call,) = run.rows("calls.jsonl")
            assert (call["outcome"], call["transport"], call["detail"]) == ("completed", "media_stream", "")
            stream = call["stream"]
            assert (stream["dialect"], stream["bad_messages"], stream["arrival_clock"]) == (dialect, 0, "kernel")
            assert call["greeting_ms"] > 0
            for turn in run.rows("turns.jsonl"):
                # Silero waits half a second before the caller's turn is over.
                assert 300 < turn["ttfb_ms"] < 10_000, turn
                assert turn["heard_ttfb_ms"] >= turn["ttfb_ms"]
            # The caller's speech interrupts Pipecat, which then clears.
            assert stream["clears"] >= 2
            assert agent.calls()[-1]["kind"] == dialect
