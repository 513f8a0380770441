"""Drafts ahead of the turn's end, clauses, the switch that turns overlap off, spans and the latency budget."""

import asyncio
import json
import logging

import numpy as np
import pytest
from recording_sink import RecordingSink, VirtualClock, silence, speak, tone

from harness.model.clock import NS_PER_S
from target_stack.frames import Interrupted, LlmText, StageFailed, Transcript, TurnTiming
from target_stack.pipeline.reply import ReplyRules
from target_stack.pipeline.session import Greeting, Session, SessionRules, Stages
from target_stack.stages.endpointing import EndpointRules
from target_stack.stages.llm import ScriptedLlm
from target_stack.stages.sentences import split_clause
from target_stack.stages.stt import ScriptedStt
from target_stack.stages.tts import ScriptedTts
from target_stack.stages.vad import ScriptedVad
from target_stack.telemetry.budget import BUDGET_MS, LEAST_TURNS, TOTAL, TOTAL_MS, BudgetWatch, over_ms, spent_ms
from target_stack.telemetry.events import BargedIn, BudgetAlert, BudgetExceeded, EventLog, TurnFinished
from target_stack.telemetry.record import Telemetry
from target_stack.telemetry.spans import STAGE_SUM, TTFB
from target_stack.telemetry.stats import Stats
from target_stack.telemetry.turn_metrics import render_turns

pytestmark = pytest.mark.unit

PAUSES = EndpointRules(pause_ms=160)
ONE_CLAUSE = "Of course, what is your number?"


class Call:
    """A session with scripted stages on virtual time; pauses are told."""

    def __init__(self, stt=("what time is it",), llm=(ONE_CLAUSE,), tts=None, log=None, **reply):
        self.clock, self.sink = VirtualClock(), RecordingSink()
        self.stt, self.llm, self.tts = ScriptedStt(list(stt)), ScriptedLlm(list(llm)), tts or ScriptedTts()
        self.telemetry = Telemetry(Stats(), log or EventLog())
        self.traces = []
        self.telemetry.span_sinks.append(self)
        self.session = Session(
            "c1",
            self.sink,
            stages=Stages(ScriptedVad, self.stt, self.llm, self.tts),
            rules=SessionRules(PAUSES, ReplyRules(**reply)),
            greeting=Greeting("", np.zeros(0, np.int16)),
            telemetry=self.telemetry,
            now=self.clock,
        )

    def write(self, trace):
        self.traces.append(trace)

    async def speak(self, *parts):
        await speak(self.session, self.clock, *parts)

    def finished(self):
        return [event for event in self.telemetry.events.recent if isinstance(event, TurnFinished)]

    def hear_out(self, turn):
        self.clock.now_ns += 20_000_000
        self.session.playout_started(turn, self.clock.now_ns)
        self.session.playout_drained(turn, self.clock.now_ns)


def run(scenario, **parts):
    async def main():
        call = Call(**parts)
        await call.session.start()
        await scenario(call)
        await call.session.aclose()
        assert len(asyncio.all_tasks()) == 1
        return call

    return asyncio.run(main())


def test_a_reply_is_drafted_in_the_pause_and_let_out_at_the_turns_end():
    async def scenario(call):
        await call.speak(tone(800), silence(300))
        assert call.tts.spoken == ["Of course,"], "its beginning is spoken, no more"
        assert call.sink.pieces == []
        assert call.sink.told(LlmText) == call.sink.told(Transcript) == [], "nobody hears of it yet"
        await call.speak(silence(300))
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))
        call.hear_out(1)

    call = run(scenario)
    assert [piece.text for piece in call.sink.pieces] == ["Of course,", "what is your number?"]
    assert call.sink.told(Transcript) == [Transcript(1, "what time is it", is_final=True)]
    assert len(call.stt.heard) == len(call.llm.asked) == 1, "nothing is done twice"
    assert call.telemetry.stats.drafts == {"kept": 1}
    (timing,) = call.sink.told(TurnTiming)
    # All but the silence was done within it.
    assert timing.stt_ms == timing.llm_ms == timing.tts_ms == 0
    assert timing.endpointing_ms + timing.playout_ms == pytest.approx(call.telemetry.stats.durations["total"].sum_ms)


def test_a_user_who_speaks_on_gets_no_draft_and_is_told_the_words_so_far():
    async def scenario(call):
        await call.speak(tone(800), silence(300), tone(400), silence(600))
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))

    call = run(scenario, stt=("what time", "what time is it"), llm=("Never heard.", "It is noon."))
    assert call.telemetry.stats.drafts == {"cancelled": 1, "kept": 1}
    assert call.sink.spoken(1) == "It is noon."
    first, *_, last = call.sink.told(Transcript)
    assert (first.text, first.is_final) == ("what time", False)
    assert (last.text, last.is_final) == ("what time is it", True)
    assert sum(event.is_final for event in call.sink.told(Transcript)) == 1
    assert [asked[-1].text for asked in call.llm.asked] == ["what time", "what time is it"]


def test_a_click_in_the_pause_leaves_the_draft_when_the_words_stay_the_same():
    async def scenario(call):
        await call.speak(tone(800), silence(300), tone(40), silence(700))
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))

    call = run(scenario, stt=("what time is it", "What time is it?"))
    assert len(call.stt.heard) == 2
    assert len(call.llm.asked) == 1
    assert call.telemetry.stats.drafts == {"kept": 1}
    assert call.sink.told(Transcript)[-1].text == "What time is it?"


def test_a_click_that_changes_the_words_begins_the_reply_anew():
    async def scenario(call):
        await call.speak(tone(800), silence(300), tone(40), silence(700))
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))

    call = run(scenario, stt=("is it", "is it two"), llm=("Wrong.", "Right."))
    assert call.sink.spoken(1) == "Right."
    assert call.telemetry.stats.drafts == {"cancelled": 1, "kept": 1}


def test_a_draft_that_ends_slowly_leaves_nothing_in_the_reply_that_comes_after_it():
    class EndsSlowly(ScriptedLlm):
        async def stream(self, history):
            try:
                async for text in super().stream(history):
                    yield text
                if len(self.asked) == 1:
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                await call_ended.wait()
                raise

    call_ended = asyncio.Event()

    async def scenario(call):
        call.session._answering._stages = Stages(
            ScriptedVad, call.stt, EndsSlowly(["Of course, what is", "Right."]), call.tts
        )
        # The draft to other words is given up in the second pause, and has not ended at the turn's end.
        await call.speak(tone(800), silence(300), tone(40), silence(600))
        call_ended.set()
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))
        call.hear_out(1)
        assert call.session._history[-1].text == "Right."

    call = run(scenario, stt=("is it", "is it two"))
    assert call.sink.spoken(1) == "Right."
    assert call.telemetry.stats.drafts == {"cancelled": 1}


def test_a_draft_that_failed_is_begun_anew_at_the_turns_end():
    class FailsOnce(ScriptedTts):
        async def synthesise(self, sentence):
            if not self.spoken:
                self.spoken.append("failed")
                raise RuntimeError("busy")
            return await super().synthesise(sentence)

    async def scenario(call):
        await call.speak(tone(800), silence(600))
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))

    call = run(scenario, tts=FailsOnce())
    assert call.sink.told(StageFailed) == []
    assert call.sink.spoken(1) == ONE_CLAUSE


def test_hanging_up_in_a_pause_leaves_nothing():
    async def scenario(call):
        await call.speak(tone(800), silence(300))

    call = run(scenario)
    assert call.sink.pieces == []
    assert call.finished() == []


def test_without_overlap_every_stage_waits_for_the_whole_of_the_one_before():
    order = []

    class Llm(ScriptedLlm):
        async def stream(self, history):
            async for text in super().stream(history):
                order.append(f"llm {text.strip()}")
                yield text

    class Tts(ScriptedTts):
        async def synthesise(self, sentence):
            order.append(f"tts {sentence}")
            return await super().synthesise(sentence)

    async def scenario(call):
        call.session._answering._stages = Stages(ScriptedVad, call.stt, Llm(["Of course, yes. It is. "]), Tts())
        await call.speak(tone(800), silence(300))
        assert call.stt.heard == [], "the recogniser waits for the turn's end"
        await call.speak(silence(300))
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))
        order.append("played")

    call = run(scenario, is_overlapped=False, max_sentences=2)
    assert order == [
        "llm Of",
        "llm course,",
        "llm yes.",
        "llm It",
        "llm is.",
        "tts Of course, yes.",
        "tts It is.",
        "played",
    ]
    assert call.telemetry.stats.drafts == {}


def test_a_barge_in_says_how_much_was_heard():
    async def scenario(call):
        await call.speak(tone(800), silence(600))
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))
        call.session.playout_started(1, call.clock.now_ns)
        # The first clause, and half of the rest.
        call.sink.played_s = 0.6 + 0.06 * len("what is your number?") / 2
        await call.speak(tone(400))

    call = run(scenario)
    assert call.sink.told(Interrupted) == [Interrupted(1, "Of course, what is")]
    (event,) = (e for e in call.telemetry.events.recent if isinstance(e, BargedIn))
    assert (event.heard_words, event.said_words) == (4, 6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Of course, what", ("Of course,", "what")),
        ("Yes, of course", ("", "Yes, of course")),
        ("It costs 1,000 dollars", ("", "It costs 1,000 dollars")),
        ("Certainly", ("", "Certainly")),
        ("Thank you,", ("", "Thank you,")),
        ("The next appointment is on Thursday", ("The next appointment", "is on Thursday")),
        # The last word may still be growing: "is" may become "island".
        ("The next appointment is", ("", "The next appointment is")),
        ("It is on me", ("", "It is on me")),
    ],
)
def test_a_clause_is_worth_its_own_breath_or_is_none(text, expected):
    assert split_clause(text) == expected


def test_spans_tell_each_stages_own_time_and_go_to_the_events_file_without_words(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.open()

    async def scenario(call):
        await call.speak(tone(800), silence(600))
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))
        call.hear_out(1)

    call = run(scenario, log=log)
    log.close()
    (trace,) = call.traces
    assert sorted(span.name for _, span in trace.children) == ["endpointing", "llm", "playout", "stt", "tts", "tts"]
    root = trace.root
    assert all(root.start_ns <= span.start_ns <= span.end_ns <= root.end_ns for _, span in trace.children)
    assert root.attributes[TTFB] == pytest.approx(root.attributes[STAGE_SUM], abs=1), "scripted stages take no time"
    written = (tmp_path / "events.jsonl").read_text()
    assert "course" not in written
    rows = [json.loads(line) for line in written.splitlines() if '"span"' in line]
    assert len(rows) == 7
    assert {row["trace_id"] for row in rows} == {trace.trace_id}
    assert [row["name"] for row in rows if not row["parent_span_id"]] == ["turn"]


def test_spans_reach_opentelemetry_with_the_same_ids():
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from target_stack.telemetry.otel import OtelSpans

    exporter = InMemorySpanExporter()
    spans = OtelSpans("http://localhost:4318", exporter)

    async def scenario(call):
        await call.speak(tone(800), silence(600))
        await call.sink.until(lambda: any(piece.is_last for piece in call.sink.pieces))
        call.hear_out(1)

    call = run(scenario)
    spans.write(call.traces[0])
    spans.close()
    sent = exporter.get_finished_spans()
    assert {format(span.context.trace_id, "032x") for span in sent} == {call.traces[0].trace_id}
    named = {format(span.context.span_id, "016x"): span for span in sent}
    assert set(named) == {call.traces[0].root_id, *(name for name, _ in call.traces[0].children)}
    stt = next(span for span in sent if span.name == "stt")
    assert format(stt.parent.span_id, "016x") == call.traces[0].root_id
    assert stt.attributes["session.id"] == "c1"


def timing(**ms):
    whole = {"endpointing": 0, "stt": 0, "llm": 0, "tts": 0, "playout": 0, "llm_ttft": 0, "queue": 0} | ms
    return TurnTiming(1, **{f"{name}_ms": float(value) for name, value in whole.items()})


def test_the_shares_of_the_budget_are_the_guides_and_add_up_to_the_wait():
    assert TOTAL_MS == 800
    spent = spent_ms(
        timing(endpointing=500, stt=100, llm=300, tts=200, playout=20), audio_ms=10, stt_queue_ms=30, tts_queue_ms=50
    )
    assert spent == {"edge": 20, "audio": 10, "stt": 560, "llm": 300, "tts": 150, "hops": 80}
    assert sum(spent.values()) == 1120
    assert over_ms(spent) == {"stt": 360, "tts": 45, "hops": 30}
    # What a draft waited for while the user was silent anyway is nobody's wait.
    assert sum(spent_ms(timing(endpointing=500), audio_ms=9, stt_queue_ms=30, tts_queue_ms=50).values()) == 500


def test_an_alert_begins_and_ends_with_a_stages_p95_and_not_with_single_turns():
    watch = BudgetWatch()
    good = dict.fromkeys(BUDGET_MS, 1.0)
    slow = good | {"llm": 900.0}
    assert [watch.observe(slow, turn) for turn in range(LEAST_TURNS - 1)] == [[]] * (LEAST_TURNS - 1)
    began = watch.observe(slow, LEAST_TURNS)
    assert [(change.stage, change.is_over, change.turns) for change in began] == [
        ("llm", True, LEAST_TURNS),
        (TOTAL, True, LEAST_TURNS),
    ]
    assert watch.observe(slow, LEAST_TURNS + 1) == []
    # Five minutes later only good ones are left.
    ended = [change for turn in range(LEAST_TURNS + 1) for change in watch.observe(good, 400 * NS_PER_S + turn)]
    assert [(change.stage, change.is_over) for change in ended] == [("llm", False), (TOTAL, False)]
    assert watch.exceeded["llm"] == LEAST_TURNS + 1


def test_turns_over_the_budget_are_events_metrics_and_one_line_of_log(caplog):
    telemetry = Telemetry(Stats(), EventLog())
    spent = spent_ms(timing(endpointing=500, llm=400), audio_ms=0)
    with caplog.at_level(logging.WARNING):
        for turn in range(LEAST_TURNS + 5):
            telemetry.turn_finished(
                TurnFinished("c1", turn, turn, "answered", timing(), 1.0, transcript_words=1, spent_ms=spent)
            )
    recent = telemetry.events.recent
    assert [e.over_ms for e in recent if isinstance(e, BudgetExceeded)] == [{"stt": 300, "llm": 50}] * (LEAST_TURNS + 5)
    assert {e.stage for e in recent if isinstance(e, BudgetAlert)} == {"stt", "llm", TOTAL}
    assert len(caplog.records) == 3
    text = render_turns(telemetry.stats, telemetry.budget)
    assert f'callquake_budget_exceeded_total{{stage="llm"}} {LEAST_TURNS + 5}' in text
    assert 'callquake_budget_p95_ms{stage="llm"} 400' in text
    assert 'callquake_budget_alert{stage="edge"} 0' in text
