"""An edge that keeps what it is given, and a user who speaks audio into a session."""

import asyncio
import json

import numpy as np

from harness.model.clock import NS_PER_MS, monotonic_ns
from target_stack.frames import INPUT_RATE, SPEECH_RATE, AgentEvent, Pcm, SpeechOut

PACKET = INPUT_RATE * 20 // 1000


class RecordingSink:
    """Records plays, events and flushes; `waiting_for` resolves when an event or piece that fits comes."""

    def __init__(self) -> None:
        self.pieces: list[SpeechOut] = []
        self.events: list[AgentEvent] = []
        self.flushes = 0
        # What the next flush says was played.
        self.played_s = 0.0
        self._changed = asyncio.Event()

    def play(self, speech: SpeechOut) -> None:
        self.pieces.append(speech)
        self._changed.set()

    def flush(self) -> float:
        self.flushes += 1
        return self.played_s

    def tell(self, event: AgentEvent) -> None:
        self.events.append(event)
        self._changed.set()

    def told(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def spoken(self, turn: int) -> str:
        return " ".join(piece.text for piece in self.pieces if piece.turn == turn and piece.text)

    async def until(self, condition, timeout_s: float = 60.0) -> None:
        """Wait until `condition()` holds, looked at after every change."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_told(self, kind: type, count: int = 1, timeout_s: float = 60.0):
        await self.until(lambda: len(self.told(kind)) >= count, timeout_s)
        return self.told(kind)[count - 1]

    async def until_played(self, turn: int, timeout_s: float = 60.0) -> SpeechOut:
        await self.until(lambda: any(piece.turn == turn for piece in self.pieces), timeout_s)
        return next(piece for piece in self.pieces if piece.turn == turn)


class PlayingSink(RecordingSink):
    """Plays like a real edge would: the first piece of a turn starts at once, the last is drained in real time."""

    def __init__(self) -> None:
        super().__init__()
        self.session = None
        self._ends_at = 0.0
        # What the session is to be told: it is held by these for as long.
        self._due: list[asyncio.Handle] = []

    def flush(self) -> float:
        self.hang_up()
        self._ends_at = 0.0
        return super().flush()

    def hang_up(self) -> None:
        """Tell the session no more."""
        for due in self._due:
            due.cancel()
        self._due.clear()

    def play(self, speech: SpeechOut) -> None:
        loop = asyncio.get_running_loop()
        is_first = all(piece.turn != speech.turn for piece in self.pieces)
        super().play(speech)
        self._ends_at = max(self._ends_at, loop.time()) + len(speech.samples) / SPEECH_RATE
        if is_first:
            self._due.append(loop.call_soon(lambda: self.session.playout_started(speech.turn, monotonic_ns())))
        if speech.is_last:
            drained = loop.call_at(self._ends_at, lambda: self.session.playout_drained(speech.turn, monotonic_ns()))
            self._due.append(drained)


def tone(duration_ms: float) -> Pcm:
    """A loud tone: speech to ScriptedVad."""
    time_s = np.arange(int(duration_ms * INPUT_RATE / 1000)) / INPUT_RATE
    return (np.sin(2 * np.pi * 300 * time_s) * 8000).astype(np.int16)


def silence(duration_ms: float) -> Pcm:
    return np.zeros(int(duration_ms * INPUT_RATE / 1000), np.int16)


class VirtualClock:
    """Time that moves with the audio pushed."""

    def __init__(self, now_ns: int = 1_000_000_000) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


async def speak(session, clock: VirtualClock, *parts: Pcm) -> None:
    """Push the parts in 20 ms packets on virtual time, letting the session hear each before the next comes."""
    samples = np.concatenate(parts)
    for start in range(0, len(samples), PACKET):
        clock.now_ns += 20 * NS_PER_MS
        session.push_audio(samples[start : start + PACKET], clock.now_ns)
        for _ in range(4):
            await asyncio.sleep(0)


async def speak_in_real_time(session, samples: Pcm) -> None:
    """Push 20 ms packets at their real pace."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, start in enumerate(range(0, len(samples), PACKET)):
        await asyncio.sleep(max(0.0, began + number * 0.02 - loop.time()))
        session.push_audio(samples[start : start + PACKET], monotonic_ns())


def worked_ms(events):
    """What each stage worked by its spans in the events file, ms; also before the turn's end, which nobody awaits."""
    spans = [row for row in map(json.loads, events.read_text().splitlines()) if row["event"] == "span"]
    return {name: sum(row["duration_ms"] for row in spans if row["name"] == name) for name in ("stt", "llm", "tts")}
