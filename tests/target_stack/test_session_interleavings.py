"""Whatever takes how long and ends how slowly: each utterance is answered once, with its own words, as one turn."""

import asyncio
from collections import defaultdict

import numpy as np
import pytest
from recording_sink import PACKET, RecordingSink, silence, tone
from virtual_loop import now_ns, run_virtually

from target_stack.frames import INPUT_RATE, SPEECH_RATE, StageFailed, Transcript, UserStoppedSpeaking
from target_stack.pipeline.listening import Listening, UtteranceEnded
from target_stack.pipeline.reply import ReplyRules
from target_stack.pipeline.session import Greeting, Session, SessionRules, Stages
from target_stack.stages.endpointing import EndpointRules
from target_stack.stages.stt import Transcription
from target_stack.stages.tts import Speech
from target_stack.stages.vad import ScriptedVad
from target_stack.telemetry.events import EventLog, TurnFinished
from target_stack.telemetry.record import Telemetry
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.unit

RULES = EndpointRules(pause_ms=160)


class Stage:
    """Works for a random time; where it is cancelled, it takes another to end, as a server's stream does."""

    def __init__(self, rng, slow_end_s):
        self._rng, self._slow_end_s = rng, slow_end_s

    async def work(self, longest_s):
        try:
            await asyncio.sleep(self._rng.uniform(0, longest_s))
        except asyncio.CancelledError:
            await asyncio.sleep(self._rng.choice([0.0, self._rng.uniform(0, self._slow_end_s)]))
            raise


class Stt(Stage):
    """Hears how much voice there was."""

    async def transcribe(self, samples):
        await self.work(0.5)
        return Transcription(f"number {np.count_nonzero(np.abs(samples) > 100) // 100}", 0.0, 0.0)


class Llm(Stage):
    """Says it again, in two clauses: the second comes while the first is spoken."""

    async def stream(self, history):
        await self.work(0.4)
        yield f"You said, {history[-1].text}"
        await self.work(0.2)
        yield " to me."


class Tts(Stage):
    async def synthesise(self, sentence):
        await self.work(0.4)
        return Speech(np.full(SPEECH_RATE // 4, 1000, np.int16), 0.0, 0.0)


class Edge(RecordingSink):
    """Plays as it is given, in the loop's time; what is flushed is not heard."""

    def __init__(self):
        super().__init__()
        self.session = None
        self.said = defaultdict(list)
        self._ends_at = 0.0
        self._due = []

    def play(self, speech):
        loop = asyncio.get_running_loop()
        super().play(speech)
        if not self.said[speech.turn]:
            self._due.append(loop.call_later(0.02, lambda: self.session.playout_started(speech.turn, now_ns())))
        self.said[speech.turn].append(speech.text)
        self._ends_at = max(self._ends_at, loop.time() + 0.02) + len(speech.samples) / SPEECH_RATE
        if speech.is_last:
            self._due.append(loop.call_at(self._ends_at, lambda: self.session.playout_drained(speech.turn, now_ns())))

    def flush(self):
        for due in self._due:
            due.cancel()
        self._due.clear()
        self.said.clear()
        self._ends_at = 0.0
        return super().flush()


def new_session(edge, rng, slow_end_s):
    return Session(
        "c1",
        edge,
        stages=Stages(ScriptedVad, *(kind(rng, slow_end_s) for kind in (Stt, Llm, Tts))),
        rules=SessionRules(RULES, ReplyRules()),
        greeting=Greeting("", np.zeros(0, np.int16)),
        telemetry=Telemetry(Stats(), EventLog()),
        now=now_ns,
    )


def talk_of(rng):
    """Utterances with pauses that end a turn, and ones that do not."""
    return np.concatenate(
        [part for _ in range(14) for part in (tone(rng.uniform(100, 1200)), silence(rng.uniform(40, 1100)))]
        + [tone(400), silence(700)]
    )


def utterances_in(talk):
    listening = Listening(ScriptedVad(), RULES)
    events = [event for at in range(0, len(talk), PACKET) for event in listening.feed(talk[at : at + PACKET], at)]
    return sum(isinstance(event, UtteranceEnded) for event in events)


async def talk_into(session, talk):
    """Push the audio at its pace; it never stops before the end."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, at in enumerate(range(0, len(talk), PACKET)):
        await asyncio.sleep(max(0.0, began + number * 0.02 - loop.time()))
        session.push_audio(talk[at : at + PACKET], now_ns())


def overloaded(rng):
    """One round in a hundred takes up to 0.4 s."""
    return lambda: rng.uniform(0, 0.4) if rng.random() < 0.01 else 0.0


@pytest.mark.parametrize("is_overloaded", [False, True])
@pytest.mark.parametrize("slow_end_s", [0.3, 2.0])
@pytest.mark.parametrize("seed", [2, 3, 6, 7, 9, 41])
def test_every_utterance_is_one_turn_and_is_answered_with_its_own_words(seed, slow_end_s, is_overloaded, caplog):
    rng = np.random.default_rng(seed)
    talk = talk_of(rng)

    async def scenario():
        edge = Edge()
        session = edge.session = new_session(edge, rng, slow_end_s)
        await session.start()
        await talk_into(session, talk)
        await asyncio.sleep(12)
        await session.aclose()
        assert len(asyncio.all_tasks()) == 1
        return edge, session

    edge, session = run_virtually(scenario(), *([overloaded(rng)] if is_overloaded else []))
    assert edge.told(StageFailed) == []
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    assert len(edge.told(UserStoppedSpeaking)) == utterances_in(talk)
    finished = [event for event in session._telemetry.events.recent if isinstance(event, TurnFinished)]
    # Merged turns come again under their number, all others once.
    settled = [event.turn for event in finished if event.outcome != "merged"]
    assert settled == sorted(set(settled))
    assert settled[-1] == session._turns
    last = edge.told(Transcript)[-1]
    assert last.is_final
    assert " ".join(edge.said[last.turn]) == f"You said, {last.text} to me."


@pytest.mark.parametrize("seed", range(8))
def test_a_call_that_is_hung_up_has_ended_with_all_that_it_began(seed):
    rng = np.random.default_rng(seed)
    # Each pause begins a draft, which the next words call off: it takes its time to end.
    halting = np.concatenate([part for _ in range(12) for part in (tone(rng.uniform(150, 300)), silence(220))])

    async def scenario():
        left = []
        for _ in range(8):
            edge = Edge()
            session = edge.session = new_session(edge, rng, slow_end_s=2.0)
            await session.start()
            await talk_into(session, halting[: rng.integers(INPUT_RATE, len(halting))])
            await session.aclose()
            left.append([task.get_coro().__qualname__ for task in asyncio.all_tasks() - {asyncio.current_task()}])
            edge.flush()
        return left

    assert run_virtually(scenario()) == [[]] * 8
