"""From the user's first voice to the agent's answer: one turn's recognition, and replies drafted before it is over.

    user    voice ........ pause .... voice ........ pause ............ turn's end
    words                  draft 1                   draft 2            the same: nothing more to recognise
    reply                  begun, held back, X       begun, held back   let out

At each pause (EndpointRules.pause_ms) the words so far are recognised and a reply to them is begun, as if the turn were
over. When the user speaks on it is cancelled; after a breath or a click, which is no speech, it stays as long as the
words stay the same. At the turn's end a reply to the final words is let out; one to others is cancelled and begun anew.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.model.clock import monotonic_ns
from target_stack.call_scope import CallScope, Work, enter_scope
from target_stack.context.memory import CallMemory
from target_stack.frames import AgentEvent, SpeechOut, Transcript
from target_stack.pipeline.held_back import HeldBack
from target_stack.pipeline.listening import Heard, Listening, UtteranceEnded
from target_stack.pipeline.parts import same_words
from target_stack.pipeline.recognition import Recognition, SttRules, Words
from target_stack.pipeline.reply import Reply, ReplyRules, StageError
from target_stack.pipeline.task_ends import CalledOff, has_failed, read
from target_stack.pipeline.turn import Turn
from target_stack.pipeline.turn_trace import CANCELLED, WORK
from target_stack.stages.endpointing import SpeechPaused
from target_stack.stages.llm import LanguageModel
from target_stack.stages.prompt import Message
from target_stack.stages.stt import SpeechToText, Transcription
from target_stack.stages.tts import TextToSpeech
from target_stack.stages.vad import CHUNK_MS, VoiceActivity
from target_stack.telemetry.spans import Span
from target_stack.telemetry.stats import Stats

logger = logging.getLogger(__name__)

# How often a growing utterance is looked at for a part that is complete.
FOLLOW_CHUNKS = round(480 / CHUNK_MS)


@dataclass(frozen=True, slots=True)
class Stages:
    """What every call shares; only the VAD is made anew for each."""

    new_vad: Callable[[], VoiceActivity]
    stt: SpeechToText
    llm: LanguageModel
    tts: TextToSpeech


@dataclass(slots=True)
class _Draft:
    """A reply to words that may not be the turn's last."""

    text: str
    out: HeldBack
    task: "asyncio.Task[None]"

    def answers(self, text: str) -> bool:
        """Whether it is a reply to these words that nobody gave up."""
        return not self.task.cancelling() and same_words(self.text, text)


def _nothing(_said: object) -> None:
    """Tell nobody."""


class Answering:
    """One call's. At most one turn is in here: the one that the user is in, until its answer is let out."""

    def __init__(
        self,
        call_id: str,
        stages: Stages,
        reply: ReplyRules,
        stt: SttRules,
        *,
        stats: Stats,
        play: Callable[[SpeechOut], None],
        tell: Callable[[AgentEvent], None],
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._call_id = call_id
        # What the language model is told of turns that no longer fit.
        self._memory = CallMemory()
        self._stages = stages
        self._reply = reply
        self._stt = stt
        self._stats = stats
        self._play = play
        self._tell = tell
        self._now = now
        # The turn that the user is in, or that was answered last.
        self._turn: Turn | None = None
        self._is_over = True
        # Of the turn that the user is in; and of the one being answered, which the user may go on with.
        self._hearing: Recognition | None = None
        self._heard: Recognition | None = None
        self._drafting: asyncio.Task[None] | None = None
        self._draft: _Draft | None = None
        self._called_off = CalledOff()

    @property
    def _is_ahead(self) -> bool:
        """Whether anything is done before the turn is over."""
        return self._reply.is_overlapped and self._stt.is_chunked

    # --- while the user speaks -------------------------------------------------------------------------------------

    def follow(self, listening: Listening, number: int) -> None:
        """Settle parts of a long utterance as they are complete, and have the words so far told now and then."""
        taken = self._hearing.taken if self._hearing is not None else 0
        if not self._is_ahead or listening.chunks - taken < FOLLOW_CHUNKS:
            return
        hearing = self._take(listening, self._turn_of(number))
        if hearing.is_partial_due:
            hearing.ask_partial(lambda text: self._tell_partial(number, text))

    def paused(self, listening: Listening, number: int, pause: SpeechPaused, history: Sequence[Message]) -> None:
        """Recognise the words so far, and begin a reply to them."""
        if not self._is_ahead:
            return
        turn = self._turn_of(number)
        turn.last_voiced_ns = pause.last_voiced_ns
        hearing = self._take(listening, turn)
        self._stop_drafting()
        self._drafting = asyncio.create_task(self._draft_reply(turn, hearing, tuple(history)))

    async def resumed(self) -> None:
        """Drop the draft: there will be more words."""
        if self._draft is not None and self._turn is not None:
            self._tell_partial(self._turn.number, self._draft.text)
        self._stop_drafting()
        await self._cancel_draft()

    def _turn_of(self, number: int) -> Turn:
        if self._turn is None or self._is_over:
            self._turn, self._is_over = Turn(number), False
        return self._turn

    def _take(self, listening: Listening, turn: Turn) -> Recognition:
        hearing = self._hearing_of(turn)
        hearing.take(listening.heard_since(hearing.taken))
        return hearing

    def _hearing_of(self, turn: Turn) -> Recognition:
        if self._hearing is None:
            self._hearing = Recognition(self._ask, self._stt, self._called_off)
        turn.user_audio_ms = self._hearing.duration_ms
        return self._hearing

    def _tell_partial(self, number: int, text: str) -> None:
        if text:
            self._tell(Transcript(number, text, is_final=False))

    async def _draft_reply(self, turn: Turn, hearing: Recognition, history: tuple[Message, ...]) -> None:
        try:
            words = await hearing.draft()
        except Exception as error:  # noqa: BLE001 - the turn's end asks again, and tells
            logger.debug("call %s: no draft of turn %d: %s", self._call_id, turn.number, error)
            return
        if self._draft is not None and self._draft.answers(words.text):
            return
        await self._cancel_draft()
        if not words.text:
            return
        turn.user_text = words.text
        out = HeldBack(self._play, self._tell, is_open=False)
        self._draft = _Draft(words.text, out, asyncio.create_task(self._run_draft(turn, out, history)))
        self._draft.task.add_done_callback(read)

    async def _run_draft(self, turn: Turn, out: HeldBack, history: tuple[Message, ...]) -> None:
        enter_scope(self._scope(turn, "draft"))
        await self._new_reply(turn, out).run(history)

    def _new_reply(self, turn: Turn, out: HeldBack) -> Reply:
        return Reply(turn, self._stages.llm, self._stages.tts, self._reply, out=out, now=self._now)

    def _stop_drafting(self) -> None:
        self._called_off.add(self._drafting)
        self._drafting = None

    async def _cancel_draft(self) -> None:
        """Give the draft up. It stands until it has ended: who is cancelled while waiting leaves that to the next."""
        draft = self._draft
        if draft is None:
            return
        draft.task.cancel()
        await asyncio.wait({draft.task})
        draft.out.drop()
        if self._draft is not draft:
            return
        self._draft = None
        self._stats.drafts["cancelled"] += 1
        if self._turn is not None:
            for span in self._turn.spans:
                if span.name in ("llm", "tts"):
                    span.attributes[CANCELLED] = True
            self._turn.forget_reply()

    # --- when the turn is over -------------------------------------------------------------------------------------

    def turn_ended(self, heard: UtteranceEnded, number: int) -> tuple[Turn, Recognition]:
        """Take the rest of the utterance; return the turn, which is to be answered, and what was heard of it."""
        turn = self._turn_of(number)
        hearing = self._hearing_of(turn)
        hearing.take(heard.heard.since(hearing.taken))
        hearing.utterance_ended()
        turn.last_voiced_ns, turn.ended_ns, turn.heard_ns = heard.ended.last_voiced_ns, heard.ended.at_ns, self._now()
        turn.user_audio_ms = hearing.duration_ms
        self._stop_drafting()
        self._heard, self._hearing, self._is_over = hearing, None, True
        return turn, hearing

    async def answer(self, turn: Turn, heard: Recognition, history: tuple[Message, ...]) -> None:
        """Finish the words, then the reply. Raises StageError."""
        enter_scope(self._scope(turn, "final"))
        try:
            words = await heard.finish()
        except Exception as error:
            raise StageError("stt", error) from error
        self._note_words(turn, words)
        draft = self._draft
        if draft is not None and draft.answers(words.text) and not has_failed(draft.task):
            self._draft = None
            self._stats.drafts["kept"] += 1
            draft.out.open()
            # Cancelled with us.
            await draft.task
            return
        await self._cancel_draft()
        await self._new_reply(turn, HeldBack(self._play, self._tell, is_open=True)).run(history)

    def _note_words(self, turn: Turn, words: Words) -> None:
        turn.transcribed_ns = self._now()
        turn.stt_queue_ms = words.queue_ms
        turn.user_text = words.text
        turn.is_emulated = words.is_emulated
        if not words.is_emulated:
            self._tell(Transcript(turn.number, words.text, is_final=True))

    def goes_on(self) -> None:
        """Take note that the user goes on with the turn that was to be answered."""
        self._hearing, self._heard = self._heard, None

    def let_go(self) -> None:
        """Drop the audio of a turn whose answer is being heard: nobody can go on with it any more."""
        self._heard = None

    async def aclose(self) -> None:
        """Cancel what runs, and wait for it."""
        self._stop_drafting()
        await self._cancel_draft()
        for hearing in (self._hearing, self._heard):
            if hearing is not None:
                hearing.close()
        await self._called_off.ended()
        # Whoever is told holds us.
        self._play = self._tell = _nothing

    # --- the recogniser --------------------------------------------------------------------------------------------

    async def _ask(self, heard: Heard, work: Work) -> Transcription:
        """Give a stretch to the recogniser. Raises TimeoutError, and whatever it raises."""
        turn = self._turn
        assert turn is not None
        enter_scope(self._scope(turn, work))
        span = Span("stt", self._now(), 0, {WORK: work, "callquake.audio_ms": heard.duration_ms})
        turn.spans.append(span)
        try:
            done = await self._within_time_out(heard, work)
            span.attributes["callquake.queue_ms"] = done.queue_ms
        except asyncio.CancelledError:
            span.attributes[CANCELLED] = True
            raise
        except Exception as error:
            span.error = type(error).__name__
            raise
        finally:
            span.end_ns = self._now()
        return done

    async def _within_time_out(self, heard: Heard, work: Work) -> Transcription:
        timeout_ms = self._stt.timeout_ms
        self._stats.stt_requests[work] += 1
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await self._stages.stt.transcribe(heard.samples)
        except TimeoutError as error:
            self._stats.stt_timeouts[work] += 1
            raise TimeoutError(
                f"no words of {heard.duration_ms / 1000:.1f} s of audio within {timeout_ms:g} ms"
            ) from error

    def _scope(self, turn: Turn, work: Work) -> CallScope:
        """Return who waits for the work, and since when: nobody yet for what is done while the user speaks on."""
        is_awaited = work in ("final", "draft")
        since_ns = turn.last_voiced_ns if is_awaited else self._now()
        return CallScope(self._call_id, turn.number, since_ns, work, self._memory)
