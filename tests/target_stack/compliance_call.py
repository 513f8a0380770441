"""A guarded call with scripted stages: what is heard by whom, said, asked, and on disk afterwards."""

import asyncio

import numpy as np
from compliance_bench import found_in
from recording_sink import PlayingSink, silence, tone

from harness.model.clock import monotonic_ns
from target_stack.compliance.database import open_database
from target_stack.compliance.office import Office
from target_stack.compliance.rules import shipped_rules
from target_stack.compliance.session import GuardedSession
from target_stack.compliance.settings import Block, Settings
from target_stack.compliance.store import ConsentStore
from target_stack.frames import SPEECH_RATE, CallFacts
from target_stack.pipeline.reply import ReplyRules
from target_stack.pipeline.session import Greeting, Session, SessionRules, Stages
from target_stack.stages.endpointing import EndpointRules
from target_stack.stages.llm import ScriptedLlm
from target_stack.stages.stt import ScriptedStt
from target_stack.stages.tts import Speech
from target_stack.stages.vad import ScriptedVad
from target_stack.telemetry.events import EventLog
from target_stack.telemetry.record import Telemetry
from target_stack.telemetry.stats import Stats

RULES = EndpointRules()
# Speech that is in no other tone: found in a file, it is the caller's.
VOICE = (np.random.default_rng(7).integers(-9000, 9000, 16_000)).astype(np.int16)
QUESTION = np.concatenate((VOICE, silence(700)))
HEARD = "my name is Jonathan Reyes"


class ShortTts:
    """Half a frame over 60 ms of tone for any text."""

    description = "scripted"

    def __init__(self):
        self.spoken = []

    async def load(self):
        pass

    async def synthesise(self, sentence):
        self.spoken.append(sentence)
        count = SPEECH_RATE * 60 // 1000
        wave = np.sin(2 * np.pi * 440 * np.arange(count) / SPEECH_RATE) * 9000
        return Speech(wave.astype(np.int16), 0.0, 0.0)

    async def aclose(self):
        pass


class Edge(PlayingSink):
    """Plays at once what it is given: a turn is over 1 ms after its last piece, unless `is_stuck`."""

    def __init__(self, facts):
        super().__init__()
        self.facts = facts
        self.declined = 0
        self.is_stuck = self.is_mute = False

    def play(self, speech):
        self.pieces.append(speech)
        self._changed.set()
        loop = asyncio.get_running_loop()
        if self.is_stuck:
            return
        if not self.is_mute and all(piece.turn != speech.turn for piece in self.pieces[:-1]):
            loop.call_soon(lambda: self.session.playout_started(speech.turn, monotonic_ns()))
        if speech.is_last:
            loop.call_later(0.001, lambda: self.session.playout_drained(speech.turn, monotonic_ns()))

    def decline(self):
        self.declined += 1
        self._changed.set()

    @property
    def texts(self):
        return [piece.text for piece in self.pieces]


class Guarded:
    """One office and its calls. `async with`; then `call`, `say`."""

    def __init__(self, folder, *, stt=(HEARD,), now=None, disk=None, **block):
        self.folder = folder
        options = {"answer_timeout_s": 0.15, "asks": 2, "operator": "Example Ltd"} | block
        settings = Settings(Block(**options), folder, str(folder / "compliance.sqlite"), shipped_rules())
        self.office = Office(settings, now, disk)
        self.stt = ScriptedStt(list(stt))
        self.tts = ShortTts()
        self.vads = 0
        self.telemetry = Telemetry(Stats(), EventLog())
        self.calls = []

    def new_vad(self):
        self.vads += 1
        return ScriptedVad()

    async def __aenter__(self):
        await self.office.open()
        await self.office.prepare(self.tts)
        return self

    async def __aexit__(self, *_):
        for call in self.calls:
            await call.close()
        await self.office.aclose()

    def agent(self, call_id, sink):
        return Session(
            call_id,
            sink,
            stages=Stages(self.new_vad, self.stt, ScriptedLlm(["Thank you Jonathan. "]), self.tts),
            rules=SessionRules(RULES, ReplyRules()),
            greeting=Greeting("How can I help?", np.full(1440, 5000, np.int16)),
            telemetry=self.telemetry,
        )

    def call(self, call_id="call-1", *, is_stuck=False, is_mute=False, caller="+13125550100", **parameters):
        call = Call(self, call_id, CallFacts(caller, parameters))
        call.edge.is_stuck, call.edge.is_mute = is_stuck, is_mute
        self.calls.append(call)
        return call

    def on_disk(self):
        """Everything of the caller's in any file: audio, words, number."""
        voice = VOICE.astype("<i2").tobytes()
        return found_in(self.folder, voice[:200], voice[8000:8200], voice[-200:], b"Jonathan", b"3125550100")

    def store(self):
        return ConsentStore(open_database(self.office.settings.store), self.office.pseudonyms.of)


class Call:
    """The edge's end of one call."""

    def __init__(self, bench, call_id, facts):
        self.bench = bench
        self.edge = Edge(facts)
        stages = Stages(bench.new_vad, bench.stt, ScriptedLlm([]), bench.tts)
        self.session = self.edge.session = GuardedSession(
            call_id, self.edge, office=bench.office, sessions=bench.agent, stages=stages, rules=RULES
        )
        self.is_open = True

    async def start(self):
        await self.session.start()
        return self

    async def until_said(self, part):
        await self.edge.until(lambda: any(part in text for text in self.edge.texts), 5)

    async def until_in(self):
        await self.until_said("How can I help?")
        # The greeting is drained, the floor free.
        await asyncio.sleep(0.005)

    async def until_declined(self):
        await self.edge.until(lambda: self.edge.declined, 5)

    async def until_asked(self):
        """Wait until a question is open and has been heard to its end."""
        async with asyncio.timeout(5):
            while self.session._opening.ear is None or not self.session._opening.ear._is_open:
                await asyncio.sleep(0.001)

    async def speak(self, samples=QUESTION, *, after_every=320):
        for start in range(0, len(samples), after_every):
            self.session.push_audio(samples[start : start + after_every], monotonic_ns())
            await asyncio.sleep(0)

    def press(self, digit):
        self.session.push_digit(digit, 100.0, monotonic_ns())

    async def close(self):
        if self.is_open:
            self.is_open = False
            await self.session.aclose()


__all__ = ["HEARD", "QUESTION", "VOICE", "Call", "Guarded", "silence", "tone"]
