"""One call's agent: who has the floor, what an utterance starts, what an interruption stops.

The agent has the floor from the end of the user's turn until its reply is drained. While it has it:
- speech shorter than `barge_in_ms` is a backchannel: ignored.
- speech of `barge_in_ms` or more after the reply was first heard is a barge-in: LLM and TTS are cancelled, the edge
  drops what it has not sent, the history keeps what was heard.
- the same before anything was heard means that the user had not finished: the turn is cancelled, its audio is put in
  front of what follows, and both halves are answered as one turn under the same number.
While the user has it, answering.py recognises, and drafts replies ahead of the turn's end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.model.clock import monotonic_ns
from target_stack.frames import (
    AgentEvent,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    EdgeSink,
    Interrupted,
    Pcm,
    SpeechOut,
    StageFailed,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from target_stack.pipeline.answering import Answering, Stages
from target_stack.pipeline.listening import HeardEvent, Listening, UtteranceEnded
from target_stack.pipeline.recognition import Recognition, SttRules
from target_stack.pipeline.reply import NO_SAMPLES, ReplyRules, StageError
from target_stack.pipeline.turn import Turn, heard_text
from target_stack.pipeline.turn_trace import trace_turn
from target_stack.stages.endpointing import EndpointRules, SpeechPaused, SpeechResumed, SpeechStarted, SpeechSustained
from target_stack.stages.prompt import Message
from target_stack.telemetry.events import BargedIn, CallEnded, CallStarted, DigitHeard, Outcome, TurnFinished
from target_stack.telemetry.record import Telemetry

__all__ = ["Greeting", "Session", "SessionRules", "Stages"]

logger = logging.getLogger(__name__)

# Three seconds of 20 ms packets: a loop that is further behind hears the newest, not the oldest.
AUDIO_PACKETS_AHEAD = 150
GAP_CHECK_S = 0.25


@dataclass(frozen=True, slots=True)
class Greeting:
    """Turn 0, synthesised once at start-up."""

    text: str
    samples: Pcm


@dataclass(frozen=True, slots=True)
class SessionRules:
    """How the agent behaves in every call. Drafts are made where `endpointing` tells pauses and `reply` overlaps."""

    endpointing: EndpointRules
    reply: ReplyRules
    stt: SttRules = field(default_factory=SttRules)


class Session:
    """`AgentSession` over the shared stages. Everything runs on the event loop; models run elsewhere."""

    def __init__(
        self,
        call_id: str,
        sink: EdgeSink,
        *,
        stages: Stages,
        rules: SessionRules,
        greeting: Greeting,
        telemetry: Telemetry,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._call_id = call_id
        self._sink = sink
        self._greeting = greeting
        self._telemetry = telemetry
        self._now = now
        self._listening = Listening(stages.new_vad(), rules.endpointing)
        self._answering = Answering(
            call_id,
            stages,
            rules.reply,
            rules.stt,
            stats=telemetry.stats,
            play=sink.play,
            tell=self._tell,
            now=now,
        )
        self._audio: deque[tuple[Pcm, int]] = deque(maxlen=AUDIO_PACKETS_AHEAD)
        # Whether none came since the last look for gaps.
        self._is_quiet = False
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._history: list[Message] = []
        self._turns = 0
        # The turn that has the floor and the task that answers it; the greeting has no task.
        self._floor: Turn | None = None
        self._reply_task: asyncio.Task[None] | None = None
        # The user went on before a reply was heard: what comes belongs to the turn before.
        self._is_unfinished = False

    async def start(self) -> None:
        """Queue the greeting and begin to listen."""
        self._telemetry.call_started(CallStarted(self._call_id, self._now()))
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._watch_gaps())]
        if self._greeting.text:
            self._floor = Turn(0)
            self._floor.add_speech(self._greeting.text, self._greeting.samples, self._now())
            self._sink.play(SpeechOut(0, self._greeting.text, self._greeting.samples, is_last=True))

    def push_audio(self, samples: Pcm, arrived_at_ns: int) -> None:
        """Queue the samples; when the queue is full its oldest entry is dropped and counted."""
        if len(self._audio) == AUDIO_PACKETS_AHEAD:
            self._telemetry.stats.refused["audio"] += 1
        self._audio.append((samples, arrived_at_ns))
        self._is_quiet = False
        self._woken.set()

    def push_digit(self, digit: str, duration_ms: float, at_ns: int) -> None:
        """Record it: this agent asks for no keys."""
        self._telemetry.digit_heard(DigitHeard(self._call_id, at_ns, digit, duration_ms))

    async def aclose(self) -> None:
        """Cancel what runs and wait for it."""
        tasks = [*self._tasks, *([self._reply_task] if self._reply_task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # How they ended holds their frames, and these hold us: the collector would come by after hundreds of calls.
        tasks.clear()
        self._tasks.clear()
        self._reply_task = None
        await self._answering.aclose()
        floor, self._floor = self._floor, None
        if floor is not None and floor.number:
            self._report(floor, "cancelled")
            self._trace(floor)
        self._telemetry.call_ended(CallEnded(self._call_id, self._now(), self._turns))

    def playout_started(self, turn: int, at_ns: int) -> None:
        """Close the turn's timing: the reply is audible from here on."""
        floor = self._floor
        if floor is None or floor.number != turn or floor.playing_ns:
            return
        floor.playing_ns = at_ns
        self._answering.let_go()
        self._sink.tell(BotStartedSpeaking(turn))
        if turn:
            self._sink.tell(floor.timing())
            self._report(floor, floor.outcome)

    def playout_drained(self, turn: int, at_ns: int) -> None:  # noqa: ARG002 - the edge's contract
        """Give the floor back."""
        floor = self._floor
        if floor is None or floor.number != turn:
            return
        if floor.number and not floor.playing_ns:
            # Nothing in it was loud enough to be heard.
            floor.failed_stage = floor.failed_stage or "tts"
            self._report(floor, "failed")
        self._remember(floor, floor.reply)
        self._floor = None
        self._trace(floor)
        self._sink.tell(BotStoppedSpeaking(turn))

    async def _listen(self) -> None:
        """React to what is heard, and to gaps: one at a time, since reactions wait for what they cancel."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                if not self._audio:
                    await self._react(self._listening.tick(self._now()))
                while self._audio:
                    samples, arrived_at_ns = self._audio.popleft()
                    await self._react(self._listening.feed(samples, arrived_at_ns))
                    if self._floor is None and self._listening.is_user_speaking:
                        self._answering.follow(self._listening, self._number)
                    # A backlog must not keep the other calls from the loop.
                    await asyncio.sleep(0)
        except Exception as error:
            logger.exception("call %s: listening failed", self._call_id)
            self._fail(StageFailed(self._turns, "vad", f"{type(error).__name__}: {error}", fatal=True))

    async def _watch_gaps(self) -> None:
        """Wake the listener where no audio came from one look to the next.

        One look is not enough: after a time in which this process was held up, what came in it is still to be read.
        """
        while True:
            await asyncio.sleep(GAP_CHECK_S)
            if self._is_quiet:
                self._woken.set()
            self._is_quiet = True

    async def _react(self, events: list[HeardEvent]) -> None:
        for event in events:
            match event:
                case SpeechStarted():
                    self._sink.tell(UserStartedSpeaking(event.onset_ns))
                case SpeechSustained() if self._floor is not None:
                    await self._interrupt(self._floor)
                case SpeechPaused() if self._floor is None:
                    self._answering.paused(self._listening, self._number, event, self._history)
                case SpeechResumed() if self._floor is None:
                    await self._answering.resumed()
                case UtteranceEnded():
                    self._sink.tell(UserStoppedSpeaking(event.ended.at_ns))
                    self._end_turn(event)

    @property
    def _number(self) -> int:
        """The number of the turn that the user is in."""
        return self._turns if self._is_unfinished else self._turns + 1

    def _end_turn(self, heard: UtteranceEnded) -> None:
        if self._floor is not None:
            # Long enough to interrupt would have taken the floor already: this was a backchannel.
            return
        self._turns, self._is_unfinished = self._number, False
        self._floor, whole = self._answering.turn_ended(heard, self._turns)
        self._reply_task = asyncio.create_task(self._answer(self._floor, whole))

    async def _answer(self, turn: Turn, heard: Recognition) -> None:
        try:
            await self._answering.answer(turn, heard, tuple(self._history))
        except StageError as error:
            self._give_up(turn, error.stage, str(error))
        except Exception as error:
            logger.exception("call %s: turn %d failed", self._call_id, turn.number)
            self._give_up(turn, "pipeline", f"{type(error).__name__}: {error}")

    def _give_up(self, turn: Turn, stage: str, message: str) -> None:
        """Say so, and give the floor back: at once, or when what was said already is drained."""
        turn.failed_stage = stage
        self._tell(StageFailed(turn.number, stage, message))
        if turn.spoken:
            self._sink.play(SpeechOut(turn.number, "", NO_SAMPLES, is_last=True))
            return
        self._report(turn, "failed")
        if self._floor is turn:
            self._floor = None
        self._trace(turn)

    def _tell(self, event: AgentEvent) -> None:
        if isinstance(event, StageFailed):
            self._fail(event)
        else:
            self._sink.tell(event)

    def _fail(self, failure: StageFailed) -> None:
        self._telemetry.stats.stage_failures[failure.stage] += 1
        self._sink.tell(failure)

    async def _interrupt(self, turn: Turn) -> None:
        self._floor = None
        if self._reply_task is not None:
            self._reply_task.cancel()
            await asyncio.wait({self._reply_task})
            self._reply_task = None
        played_s = self._sink.flush()
        if turn.playing_ns or turn.number == 0:
            self._barge_in(turn, played_s)
        else:
            self._is_unfinished = True
            self._answering.goes_on()
            self._telemetry.stats.merged_turns += 1
            self._report(turn, "merged")
        self._trace(turn)

    def _barge_in(self, turn: Turn, played_s: float) -> None:
        heard = heard_text(turn.spoken, played_s)
        self._remember(turn, heard)
        self._sink.tell(Interrupted(turn.number, heard))
        self._telemetry.barged_in(
            BargedIn(
                self._call_id,
                self._now(),
                turn.number,
                played_s * 1000,
                heard_words=len(heard.split()),
                said_words=len(turn.reply.split()),
            )
        )

    def _remember(self, turn: Turn, heard: str) -> None:
        if turn.user_text:
            self._history.append(Message("user", turn.user_text))
        if heard:
            self._history.append(Message("assistant", heard))

    def _report(self, turn: Turn, outcome: Outcome) -> None:
        """Record the turn's event, once; only a turn that was heard has times."""
        if turn.is_reported:
            return
        turn.is_reported = True
        self._telemetry.turn_finished(
            TurnFinished(
                call_id=self._call_id,
                at_ns=self._now(),
                turn=turn.number,
                outcome=outcome,
                timing=turn.timing() if turn.playing_ns else None,
                user_audio_ms=turn.user_audio_ms,
                transcript_words=0 if turn.is_emulated else len(turn.user_text.split()),
                failed_stage=turn.failed_stage,
                spent_ms=turn.spent_ms() if turn.playing_ns else {},
            )
        )

    def _trace(self, turn: Turn) -> None:
        """Record the spans of a turn of the user's that is over."""
        if turn.number:
            self._telemetry.stats.speech_gaps += turn.gap_ms > 0
            self._telemetry.turn_traced(trace_turn(turn, self._call_id, self._now()))
