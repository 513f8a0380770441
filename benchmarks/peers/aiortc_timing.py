"""`python -m benchmarks.peers.aiortc_timing URL CORPUS`: stock aiortc callers that time turns as its API lets them.

The user's speech ends when the track has handed over the frame with the last voiced sample; the agent's begins when
`track.recv()` returns the first loud frame. Behind that lies aiortc's jitter buffer. Prints all turns when done.
"""

import argparse
import asyncio
import random
import sys
import time
import wave
from collections import deque
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import aiohttp
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack
from av import AudioFrame
from av.frame import Frame

from benchmarks.commands import tell
from benchmarks.peers.aiortc_callers import connect, stay_on_loopback
from harness.media.clips import Pcm
from harness.model.clock import monotonic_ns

RATE = 48_000
_FRAME = 960
LOUD_DBFS = -40.0
# A lost packet alone makes a hole of 320 ms in what aiortc plays.
_QUIET_S = 0.5
_THINK_S = (0.1, 0.5)
_FIRST_THINK_S = (0.3, 1.3)


@dataclass(frozen=True, slots=True)
class TimedTurn:
    """One turn as the caller saw it; monotonic ns, None = no answer was heard."""

    call: str
    turn: int
    speech_ended_at_ns: int
    onset_at_ns: int | None


class Mouth(AudioStreamTrack):
    """The stock track with speech in it, at 48 kHz; tells when the last frame of an utterance was handed over."""

    def __init__(self) -> None:
        super().__init__()
        self._frames: deque[Pcm] = deque()
        self._said = asyncio.Event()
        self._ended_at_ns = 0

    async def say(self, samples: Pcm) -> int:
        """Speak; return when the last frame was handed to aiortc."""
        padded = np.zeros(-(-len(samples) // _FRAME) * _FRAME, np.int16)
        padded[: len(samples)] = samples
        self._said.clear()
        self._frames.extend(padded.reshape(-1, _FRAME))
        await self._said.wait()
        return self._ended_at_ns

    async def recv(self) -> Frame:
        """Return the next 20 ms when they are due."""
        due = await super().recv()
        is_speech = bool(self._frames)
        samples = self._frames.popleft() if is_speech else np.zeros(_FRAME, np.int16)
        frame = AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts = (due.pts or 0) * RATE // 8_000
        frame.time_base = Fraction(1, RATE)
        if is_speech and not self._frames:
            self._ended_at_ns = monotonic_ns()
            self._said.set()
        return frame


class Ear:
    """Reads the agent's track and keeps when it was last loud, and when it began to be."""

    def __init__(self) -> None:
        self._loud_since_ns: int | None = None
        self._last_loud_at = 0.0
        self._began = asyncio.Event()

    async def read(self, track: MediaStreamTrack) -> None:
        """Read until the track ends."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            samples = frame.to_ndarray().astype(np.float64)
            level = 10 * np.log10(np.mean(samples**2) / 32768.0**2 + 1e-12)
            if level > LOUD_DBFS:
                self._last_loud_at = time.monotonic()
                if self._loud_since_ns is None:
                    self._loud_since_ns = monotonic_ns()
                    self._began.set()

    async def onset(self, limit_s: float) -> int | None:
        """Wait for the first loud frame; None when there is none within `limit_s`."""
        try:
            await asyncio.wait_for(self._began.wait(), limit_s)
        except TimeoutError:
            return None
        return self._loud_since_ns

    async def quiet(self) -> None:
        """Wait for the end of the agent's speech, then listen anew."""
        while time.monotonic() - self._last_loud_at < _QUIET_S:  # noqa: ASYNC110 - quiet is no event, it is time passing
            await asyncio.sleep(0.02)
        self._loud_since_ns = None
        self._began.clear()


async def _call(
    name: str, http: aiohttp.ClientSession, utterances: list[Pcm], options: argparse.Namespace
) -> list[TimedTurn]:
    draw = random.Random(name)
    pc, mouth, ear = RTCPeerConnection(RTCConfiguration(iceServers=[])), Mouth(), Ear()
    pc.addTrack(mouth)
    readers: list[asyncio.Task[None]] = []

    @pc.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        readers.append(asyncio.ensure_future(ear.read(track)))

    turns: list[TimedTurn] = []
    try:
        await connect(pc, http, options.url, request_data={"call_id": name})
        await asyncio.sleep(draw.uniform(*_FIRST_THINK_S))
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            ended = await mouth.say(draw.choice(utterances))
            turns.append(TimedTurn(name, len(turns) + 1, ended, await ear.onset(options.answer_limit)))
            await ear.quiet()
            await asyncio.sleep(draw.uniform(*_THINK_S))
    finally:
        await pc.close()
        await asyncio.gather(*readers, return_exceptions=True)
    return turns


def _read(path: Path) -> Pcm:
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)


async def _run(options: argparse.Namespace) -> None:
    stay_on_loopback()
    utterances = [_read(path) for path in sorted(options.corpus.glob("*.wav"))]
    async with aiohttp.ClientSession() as http:
        calls = (_call(f"aiortc-{i}", http, utterances, options) for i in range(options.calls))
        heard = await asyncio.gather(*calls, return_exceptions=True)
    failed = [error for error in heard if isinstance(error, BaseException)]
    for error in failed:
        print(f"aiortc caller: {error!r}", file=sys.stderr)
    turns = [asdict(turn) for call in heard if not isinstance(call, BaseException) for turn in call]
    tell("done", turns=turns, failed=len(failed))


def main() -> None:
    """Hold the calls and print their turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.aiortc_timing", description=__doc__)
    parser.add_argument("url", help="where offers are POSTed as JSON")
    parser.add_argument("corpus", type=Path, help="folder of WAV files, 48 kHz mono, voiced from end to end")
    parser.add_argument("--calls", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="no turn begins later")
    parser.add_argument("--answer-limit", type=float, default=5.0, help="wait for an answer, in s")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
