import asyncio
from dataclasses import replace

import numpy as np
import pytest
from recording_sink import RecordingSink, VirtualClock, silence, speak, tone

from harness.model.clock import NS_PER_MS
from target_stack.frames import (
    Interrupted,
    LlmText,
    StageFailed,
    Transcript,
    TurnTiming,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from target_stack.pipeline.reply import ReplyRules
from target_stack.pipeline.session import AUDIO_PACKETS_AHEAD, Greeting, Session, SessionRules, Stages
from target_stack.stages.endpointing import EndpointRules
from target_stack.stages.llm import LlmError, ScriptedLlm
from target_stack.stages.stt import ScriptedStt
from target_stack.stages.tts import ScriptedTts
from target_stack.stages.vad import ScriptedVad
from target_stack.telemetry.events import BargedIn, CallEnded, CallStarted, EventLog, TurnFinished
from target_stack.telemetry.record import Telemetry
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.unit

QUESTION = (tone(800), silence(600))


class GatedTts(ScriptedTts):
    """Speaks the first `free` sentences at once, the others only when the gate is open."""

    def __init__(self, free=0):
        super().__init__()
        self.free = free
        self.gate = asyncio.Event()
        self.begun: list[str] = []

    async def synthesise(self, sentence):
        self.begun.append(sentence)
        if len(self.begun) > self.free:
            await self.gate.wait()
        return await super().synthesise(sentence)


class Call:
    """A session with scripted stages on virtual time."""

    def __init__(self, stt=None, llm=None, tts=None, greeting="", rules=None):
        self.clock, self.sink = VirtualClock(), RecordingSink()
        self.stt = stt or ScriptedStt(["what time is it"])
        self.llm = llm or ScriptedLlm(["It is noon. "])
        self.tts = tts or ScriptedTts()
        self.telemetry = Telemetry(Stats(), EventLog())
        self.session = Session(
            "c1",
            self.sink,
            stages=Stages(ScriptedVad, self.stt, self.llm, self.tts),
            rules=SessionRules(EndpointRules(), rules or ReplyRules()),
            greeting=Greeting(greeting, np.ones(24_000, np.int16) if greeting else np.zeros(0, np.int16)),
            telemetry=self.telemetry,
            now=self.clock,
        )

    async def __aenter__(self):
        await self.session.start()
        return self

    async def __aexit__(self, *_):
        await self.session.aclose()

    async def speak(self, *parts):
        await speak(self.session, self.clock, *parts)

    def start_playout(self, turn, after_ms=0):
        self.clock.now_ns += after_ms * NS_PER_MS
        self.session.playout_started(turn, self.clock.now_ns)

    def drain(self, turn):
        self.session.playout_drained(turn, self.clock.now_ns)

    async def ask(self, turn):
        """Speak, hear the answer, let it drain."""
        await self.speak(*QUESTION)
        await self.sink.until_played(turn)
        self.start_playout(turn)
        self.drain(turn)

    @property
    def turns(self):
        return [event for event in self.telemetry.events.recent if isinstance(event, TurnFinished)]


def run(scenario, **parts):
    async def main():
        async with Call(**parts) as call:
            await scenario(call)
        return call

    return asyncio.run(main())


def test_a_turn_is_heard_answered_and_timed():
    async def scenario(call):
        await call.speak(silence(200), *QUESTION)
        piece = await call.sink.until_played(1)
        assert (piece.text, piece.is_last) == ("It is noon.", True)
        call.start_playout(1, after_ms=40)

    call = run(scenario)
    assert call.sink.told(Transcript) == [Transcript(1, "what time is it", is_final=True)]
    assert call.sink.told(LlmText)[0].started
    assert call.sink.told(LlmText)[-1].stopped
    (started,), (stopped,) = call.sink.told(UserStartedSpeaking), call.sink.told(UserStoppedSpeaking)
    (timing,) = call.sink.told(TurnTiming)
    (event,) = call.turns
    assert event.outcome == "answered"
    assert event.timing == timing
    # Scripted stages take no virtual time: all of it is playout.
    assert timing.playout_ms == (call.clock.now_ns - stopped.at_ns) / NS_PER_MS >= 40
    assert timing.stt_ms == timing.llm_ms == timing.tts_ms == 0
    # 500 ms rule in 32 ms chunks, stamped with 20 ms packets.
    assert 480 <= timing.endpointing_ms <= 540
    assert stopped.at_ns - started.at_ns == pytest.approx((800 + 500) * NS_PER_MS, abs=60 * NS_PER_MS)
    total = timing.endpointing_ms + timing.stt_ms + timing.llm_ms + timing.tts_ms + timing.playout_ms
    assert call.telemetry.stats.durations["total"].sum_ms == pytest.approx(total)
    assert total * NS_PER_MS == pytest.approx(call.clock.now_ns - (stopped.at_ns - timing.endpointing_ms * NS_PER_MS))


def test_the_recogniser_gets_the_whole_turn():
    async def scenario(call):
        await call.speak(silence(1000), *QUESTION)
        await call.sink.until_played(1)

    call = run(scenario)
    (heard,) = call.stt.heard
    loud = np.flatnonzero(np.abs(heard) > 1000)
    assert len(loud) / 16 == pytest.approx(800, abs=100)
    assert 250 <= loud[0] / 16 <= 400, "pre-roll before the first sound"


def test_the_greeting_goes_out_at_start_and_may_be_interrupted():
    async def scenario(call):
        assert call.sink.spoken(0) == "Hello there caller"
        call.start_playout(0)
        call.sink.played_s = 0.67
        await call.speak(*QUESTION)
        await call.sink.until_played(1)

    call = run(scenario, greeting="Hello there caller")
    assert call.sink.told(Interrupted) == [Interrupted(0, "Hello there")]
    assert call.sink.told(TurnTiming) == [], "the greeting has no turn timing"
    assert call.llm.asked[0][0].text == "Hello there"


def test_barge_in_cancels_what_is_downstream_and_remembers_what_was_heard():
    async def scenario(call):
        await call.speak(*QUESTION)
        await call.sink.until_played(1)
        call.start_playout(1)
        # The second sentence is being synthesised when the user speaks again.
        assert call.tts.begun == ["One two three.", "Never heard."]
        call.sink.played_s = 0.6
        await call.speak(tone(400))
        call.tts.gate.set()
        assert call.sink.told(Interrupted) == [Interrupted(1, "One two")]
        assert call.sink.flushes == 1
        await call.speak(tone(400), silence(600))
        await call.sink.until_played(2)
        call.start_playout(2)

    rules = ReplyRules(max_sentences=3)
    llm = ScriptedLlm(["One two three. Never heard. Nor this.", "Four. "])
    call = run(scenario, llm=llm, tts=GatedTts(free=1), rules=rules)
    assert call.sink.spoken(1) == "One two three."
    history = [message.text for message in call.llm.asked[1]]
    assert history == ["what time is it", "One two", "what time is it"]
    assert [event.turn for event in call.telemetry.events.recent if isinstance(event, BargedIn)] == [1]
    assert call.telemetry.stats.barge_ins == 1


def test_a_user_who_goes_on_before_any_answer_is_answered_once():
    async def scenario(call):
        await call.speak(*QUESTION)
        await call.sink.until(lambda: call.tts.begun)
        await call.speak(tone(500))
        call.tts.gate.set()
        await call.speak(silence(600))
        await call.sink.until_played(1)
        call.start_playout(1)

    call = run(scenario, stt=ScriptedStt(["what time", "what time is it now"]), tts=GatedTts())
    assert [len(heard) // 16_000 for heard in call.stt.heard] == [1, 2]
    assert [event.text for event in call.sink.told(Transcript)] == ["what time", "what time is it now"]
    assert {event.turn for event in call.sink.told(Transcript)} == {1}
    assert [event.outcome for event in call.turns] == ["merged", "answered"]
    assert call.sink.told(Interrupted) == []
    assert [len(asked) for asked in call.llm.asked] == [1, 1], "the first half is not history"


def test_a_backchannel_neither_interrupts_nor_starts_a_turn():
    async def scenario(call):
        await call.speak(*QUESTION)
        await call.sink.until_played(1)
        call.start_playout(1)
        await call.speak(tone(180), silence(700))
        call.drain(1)
        await call.ask(2)

    call = run(scenario)
    assert call.sink.flushes == 0
    assert len(call.stt.heard) == 2
    assert [event.turn for event in call.turns] == [1, 2]


@pytest.mark.parametrize(
    ("parts", "stage", "outcome", "spoken"),
    [
        ({"stt": ScriptedStt([RuntimeError("boom")])}, "stt", "failed", ""),
        ({"tts": ScriptedTts(frozenset({"It is noon."}))}, "tts", "failed", ""),
        ({"llm": ScriptedLlm([LlmError("down")])}, "llm", "fallback", ReplyRules().fallback),
    ],
)
def test_a_failed_stage_is_told_counted_and_not_the_end_of_the_call(parts, stage, outcome, spoken):
    async def scenario(call):
        await call.speak(*QUESTION)
        failure = await call.sink.until_told(StageFailed)
        assert (failure.turn, failure.stage, failure.fatal) == (1, stage, False)
        if spoken:
            await call.sink.until_played(1)
            call.start_playout(1)
            call.drain(1)
        await call.speak(*QUESTION)
        await call.sink.until_told(UserStoppedSpeaking, 2)
        await call.sink.until_told(StageFailed, 2)

    call = run(scenario, **parts)
    first = call.turns[0]
    assert (first.outcome, first.failed_stage) == (outcome, stage)
    assert call.sink.spoken(1) == spoken
    assert call.telemetry.stats.stage_failures[stage] == 2


@pytest.mark.parametrize("reply", ["", " ... ", "\n"])
def test_a_model_that_says_nothing_is_replaced_and_marked(reply):
    async def scenario(call):
        await call.ask(1)

    call = run(scenario, llm=ScriptedLlm([reply]))
    assert call.sink.spoken(1) == ReplyRules().fallback
    assert call.turns[0].outcome == "fallback"
    assert call.telemetry.stats.llm_fallbacks == 1


def test_an_utterance_without_words_is_asked_again_without_the_model():
    async def scenario(call):
        await call.ask(1)

    call = run(scenario, stt=ScriptedStt([""]))
    assert call.sink.spoken(1) == ReplyRules().reprompt
    assert call.llm.asked == []
    assert call.turns[0].outcome == "reprompted"


def test_sentences_are_spoken_as_they_are_written_and_only_the_last_says_so():
    async def scenario(call):
        await call.speak(*QUESTION)
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))

    rules = replace(ReplyRules(), max_sentences=3)
    # The model stops within the limit: only its end says that there is no third sentence.
    call = run(scenario, llm=ScriptedLlm(["One thing. Another thing."]), rules=rules)
    pieces = [(piece.text, piece.is_last) for piece in call.sink.pieces]
    assert pieces == [("One thing.", False), ("Another thing.", False), ("", True)]
    # The limit is reached: what follows is never asked for.
    call = run(scenario, llm=ScriptedLlm(["One. Two. Three. Four."]), rules=replace(rules, max_sentences=2))
    assert [(piece.text, piece.is_last) for piece in call.sink.pieces] == [("One.", False), ("Two.", True)]


def test_a_failure_after_the_first_sentence_still_ends_the_playout():
    async def scenario(call):
        await call.speak(*QUESTION)
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))
        call.start_playout(1)
        call.drain(1)
        await call.ask(2)

    rules = ReplyRules(max_sentences=2)
    llm = ScriptedLlm(["One thing. Another thing.", "Fine."])
    call = run(scenario, llm=llm, tts=ScriptedTts(frozenset({"Another thing."})), rules=rules)
    assert [(piece.text, len(piece.samples)) for piece in call.sink.pieces if piece.turn == 1][-1] == ("", 0)
    assert [(event.outcome, event.failed_stage) for event in call.turns] == [("answered", "tts"), ("answered", "")]


def test_audio_beyond_the_bound_drops_the_oldest_and_counts():
    async def main():
        call = Call()
        await call.session.start()
        # The loop gets no turn in between: the listener is behind.
        for number in range(AUDIO_PACKETS_AHEAD + 5):
            call.session.push_audio(silence(20), number)
        await call.session.aclose()
        return call

    assert asyncio.run(main()).telemetry.stats.refused["audio"] == 5


def test_hanging_up_mid_turn_cancels_everything_and_leaves_no_task():
    async def main():
        before = asyncio.all_tasks()
        call = Call(tts=GatedTts())
        await call.session.start()
        await call.speak(*QUESTION)
        await call.sink.until(lambda: call.tts.begun)
        await call.session.aclose()
        assert asyncio.all_tasks() == before
        return call

    call = asyncio.run(main())
    assert call.sink.pieces == []
    kinds = [type(event) for event in call.telemetry.events.recent]
    assert kinds == [CallStarted, TurnFinished, CallEnded]
    assert call.turns[0].outcome == "cancelled"
    assert call.telemetry.stats.active_sessions == 0


def test_a_broken_vad_ends_the_call_instead_of_going_deaf():
    class BrokenVad(ScriptedVad):
        def probability(self, chunk):
            raise RuntimeError("no weights")

    async def main():
        call = Call()
        call.session._listening._vad = BrokenVad()
        await call.session.start()
        await call.speak(silence(100))
        failure = await call.sink.until_told(StageFailed)
        await call.session.aclose()
        return failure

    failure = asyncio.run(main())
    assert (failure.stage, failure.fatal) == ("vad", True)
