"""Both ends of an edge test: a scripted session behind the edge, and an aiortc client in front of it."""

import asyncio
import contextlib
import json
from fractions import Fraction

import aiohttp
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from harness.media.peer.seam import use_host_addresses
from harness.protocols import rtvi
from target_stack.edge.server import EdgeServer
from target_stack.frames import (
    SPEECH_RATE,
    BotStoppedSpeaking,
    LlmText,
    SpeechOut,
    StageFailed,
    Transcript,
    TtsText,
    TurnTiming,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from target_stack.readiness import Readiness

READY = Readiness(ready=True, stages={"stt": "ready"}, description={"stt": "scripted"})
LOUD_RMS = 1000.0
TRANSCRIPT = "what are your opening hours"


def tone(seconds, hz=440.0, rate=SPEECH_RATE):
    return (8000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def rms(samples):
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if len(samples) else 0.0


class ScriptedSession:
    """Greets with a tone; answers with another once loud audio was followed by `quiet_ms` of quiet."""

    def __init__(self, call_id, sink, *, greeting_s=0.2, answer_s=0.3, quiet_ms=200, start_error=None):
        self.call_id, self.sink = call_id, sink
        self.greeting_s, self.answer_s, self.quiet_ms, self.start_error = greeting_s, answer_s, quiet_ms, start_error
        self.turn = 0
        self.starts = self.closes = 0
        self.audio_samples = self.loud_samples = 0
        self.first_dtype = None
        self.quiet_samples = None
        self.playout = []
        self.arrivals_ns = []
        self.digits = []

    async def start(self):
        self.starts += 1
        if self.start_error:
            raise self.start_error
        self.sink.play(SpeechOut(0, "Hello.", tone(self.greeting_s), is_last=True))

    def push_audio(self, samples, arrived_at_ns):
        assert self.starts == 1
        assert self.closes == 0
        self.first_dtype = self.first_dtype or (samples.dtype, samples.ndim)
        self.arrivals_ns.append(arrived_at_ns)
        self.audio_samples += len(samples)
        if rms(samples) > LOUD_RMS:
            self.loud_samples += len(samples)
            if self.quiet_samples is None:
                self.sink.tell(UserStartedSpeaking(arrived_at_ns))
            self.quiet_samples = 0
        elif self.quiet_samples is not None:
            self.quiet_samples += len(samples)
            if self.quiet_samples >= 16 * self.quiet_ms:
                self.quiet_samples = None
                self._answer(arrived_at_ns)

    def _answer(self, now_ns):
        self.turn += 1
        tell = self.sink.tell
        tell(UserStoppedSpeaking(now_ns))
        tell(Transcript(self.turn, TRANSCRIPT, is_final=True))
        tell(LlmText(self.turn, "Nine to five.", started=True, stopped=True))
        tell(TtsText(self.turn, "Nine to five.", started=True, stopped=True))
        self.sink.play(SpeechOut(self.turn, "Nine to five.", tone(self.answer_s), is_last=True))

    def push_digit(self, digit, duration_ms, at_ns):
        self.digits.append((digit, duration_ms))

    def playout_started(self, turn, at_ns):
        self.playout.append(("started", turn))
        if turn:
            self.sink.tell(TurnTiming(turn, 200.0, 100.0, 300.0, 150.0, 5.0, 80.0, 0.0))

    def playout_drained(self, turn, at_ns):
        self.playout.append(("drained", turn))
        # The edge has said this to the client already.
        self.sink.tell(BotStoppedSpeaking(turn))

    def fail(self):
        self.sink.tell(StageFailed(self.turn, "stt", "model lost", fatal=True))

    async def aclose(self):
        self.closes += 1


class Sessions:
    """The factory; keeps every session it made."""

    def __init__(self, **script):
        self.script = script
        self.made = []

    def __call__(self, call_id, sink):
        session = ScriptedSession(call_id, sink, **self.script)
        self.made.append(session)
        return session


@contextlib.asynccontextmanager
async def running_edge(sessions, *, readiness=READY, **options):
    """Yield (edge, base URL)."""
    edge = EdgeServer(sessions, "127.0.0.1", 0, readiness=lambda: readiness, metrics=lambda: "", **options)
    port = await edge.start()
    try:
        yield edge, f"http://127.0.0.1:{port}"
    finally:
        await edge.aclose()


class _Voice(MediaStreamTrack):
    """Silence, and a tone while `tone_frames` lasts; 20 ms at 48 kHz."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.tone_frames = 0
        self.sent = 0
        self.due = None
        self._tone = tone(0.02, 400.0, 48_000)

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        self.due = loop.time() if self.due is None else self.due + 0.02
        await asyncio.sleep(self.due - loop.time())
        samples = self._tone if self.tone_frames > 0 else np.zeros(960, np.int16)
        self.tone_frames -= 1
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self.sent * 960, Fraction(1, 48_000)
        self.sent += 1
        return frame


class Client:
    """An aiortc client of one edge; `async with` connects and closes it."""

    label = "chat"

    def __init__(self, url, path="/api/offer", request_data=None, *, sends_ready=True):
        self.url, self.path, self.request_data, self.sends_ready = url, path, request_data, sends_ready
        use_host_addresses(["127.0.0.1"])
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.voice = _Voice()
        self.sender = self.pc.addTrack(self.voice)
        self.channel = self.pc.createDataChannel(self.label)
        self.messages = []
        # One RMS per received frame.
        self.levels = []
        self.changed = asyncio.Condition()
        self.tasks = set()
        self.answer = None
        self.pc.on("track", lambda track: self._spawn(self._listen(track)))
        self.channel.on("open", self._opened)
        self.channel.on("message", self._got)
        self.pc.on("connectionstatechange", lambda: self._spawn(self._notify()))

    def _spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _opened(self):
        if self.sends_ready:
            self.channel.send(rtvi.build(rtvi.ClientReady("7", library="test")))

    def _got(self, text):
        self.messages.append(rtvi.parse(text))
        self._spawn(self._notify())

    async def _notify(self):
        async with self.changed:
            self.changed.notify_all()

    async def _listen(self, track):
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.levels.append(rms(frame.to_ndarray().reshape(-1)))
                await self._notify()

    async def offer(self):
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return {"sdp": self.pc.localDescription.sdp, "type": "offer", "requestData": self.request_data}

    async def __aenter__(self):
        async with aiohttp.ClientSession() as http:
            path = self.path
            if path == "start":
                async with http.post(self.url + "/start", json={"transport": "webrtc", "body": {}}) as response:
                    path = f"/sessions/{(await response.json())['sessionId']}/api/offer"
            async with http.post(self.url + path, json=await self.offer()) as response:
                assert response.status == 200, await response.text()
                self.answer = json.loads(await response.text())
        await self.pc.setRemoteDescription(RTCSessionDescription(self.answer["sdp"], self.answer["type"]))
        return self

    async def __aexit__(self, *_):
        await self.pc.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def speak(self, seconds):
        self.voice.tone_frames = int(seconds * 50)

    async def until(self, condition, what):
        """Wait until `condition()` holds."""
        async with self.changed:
            try:
                async with asyncio.timeout(20):
                    await self.changed.wait_for(condition)
            except TimeoutError:
                raise AssertionError(f"never {what}; got {self.messages}, state {self.pc.connectionState}") from None

    async def until_said(self, kind, count=1):
        await self.until(lambda: self.count(kind) >= count, f"{count} {kind.__name__}")

    def count(self, kind):
        return sum(isinstance(m, kind) for m in self.messages)

    async def until_heard(self, frames=5):
        """Wait for `frames` more loud frames."""
        goal = self.loud + frames
        await self.until(lambda: self.loud >= goal, f"{goal} loud frames, heard {self.loud}")

    @property
    def loud(self):
        return sum(level > LOUD_RMS for level in self.levels)


async def until(condition, what, seconds=20.0):
    """Poll for a state that nobody announces."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, f"never {what}"
        await asyncio.sleep(0.01)
