"""One reply: write, speak. A cancelled task stops all of it; what was said so far stands in the turn.

    words -> LLM stream -> [pieces, at most PIECES_AHEAD] -> TTS -> play
               |  the first clause by itself, then whole sentences

Writing and speaking overlap: the first clause is spoken while the model goes on, and played while the next is spoken.
When the queue is full, the writer waits and with it, through TCP, the language model's server. Without overlap the
whole reply is written, then all of it spoken, then played.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

import numpy as np

from harness.model.clock import NS_PER_S, ms_between
from target_stack.call_scope import call_scope
from target_stack.frames import SPEECH_RATE, LlmText, Pcm, SpeechOut, StageFailed, TtsText
from target_stack.pipeline.held_back import HeldBack
from target_stack.pipeline.turn import Turn
from target_stack.pipeline.turn_trace import CANCELLED
from target_stack.stages.llm import LanguageModel, LlmError
from target_stack.stages.prompt import Message
from target_stack.stages.sentences import SentenceSplitter, clipped, is_speakable, split_clause
from target_stack.stages.tts import TextToSpeech
from target_stack.telemetry.spans import Span, StageName

PIECES_AHEAD = 2
# What is left of a sentence behind a long clause.
LEAST_CHARACTERS = 20
NO_SAMPLES: Pcm = np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True)
class ReplyRules:
    """What the agent says, and at most how much."""

    max_sentences: int = 1
    # About five seconds of speech; longer replies make callers wait and talk over them.
    max_sentence_characters: int = 90
    # When nothing was understood.
    reprompt: str = "Sorry, I did not catch that, could you say it again?"
    # When the model gave nothing usable.
    fallback: str = "Thank you, let me look into that for you."
    # Off: every stage waits for the whole of the one before.
    is_overlapped: bool = True


class StageError(Exception):
    """A stage gave up on this turn."""

    def __init__(self, stage: str, cause: BaseException) -> None:
        super().__init__(f"{stage}: {type(cause).__name__}: {cause}")
        self.stage = stage


@dataclass(frozen=True, slots=True)
class _Piece:
    """`text` may be "" only for the mark that the reply is over. `ready_ns`: when it was put in the queue."""

    text: str
    is_last: bool
    ready_ns: int


class Reply:
    """Answers `turn.user_text`. Its task is cancelled to interrupt it."""

    def __init__(
        self,
        turn: Turn,
        llm: LanguageModel,
        tts: TextToSpeech,
        rules: ReplyRules,
        *,
        out: HeldBack,
        now: Callable[[], int],
    ) -> None:
        self._turn = turn
        self._llm = llm
        self._tts = tts
        self._rules = rules
        self._out = out
        self._now = now
        self._queue: asyncio.Queue[_Piece] = asyncio.Queue(PIECES_AHEAD if rules.is_overlapped else 0)
        # Put in the queue: pieces, and sentences that are complete with them.
        self._pieces = 0
        self._sentences = 0
        # Characters of the sentence that is being written that are queued already.
        self._clause = 0

    async def run(self, history: Sequence[Message]) -> None:
        """Answer. Raises StageError; a language model's failure is told and spoken around."""
        if not self._rules.is_overlapped:
            await self._write(history)
            self._turn.sentence_ns = self._now()
            await self._speak_as_a_whole()
            return
        try:
            await self._write_and_speak(history)
        except asyncio.CancelledError as error:
            # The group's frame is held by the error, which is held by the frame: the call would wait for the collector.
            raise error.with_traceback(None)  # noqa: B904 -- the same error

    async def _write_and_speak(self, history: Sequence[Message]) -> None:
        try:
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._write(history))
                stages.create_task(self._speak())
        except ExceptionGroup as group:
            failures = group.subgroup(StageError)
            if failures is None:
                raise
            raise failures.exceptions[0] from None

    # --- writing ---------------------------------------------------------------------------------------------------

    async def _write(self, history: Sequence[Message]) -> None:
        """Fill the queue, always ending with a piece that is last."""
        if not is_speakable(self._turn.user_text) and not any(map(str.isdigit, self._turn.user_text)):
            self._turn.outcome = "reprompted"
            await self._put(self._rules.reprompt, is_last=True)
            return
        try:
            is_ended = await self._stream([*history, Message("user", self._turn.user_text)])
        except LlmError as error:
            self._turn.failed_stage = "llm"
            self._out.tell(StageFailed(self._turn.number, "llm", str(error)))
            is_ended = False
        if not self._pieces:
            self._turn.outcome = "fallback"
            await self._put(self._rules.fallback, is_last=True)
        elif not is_ended:
            await self._put("", is_last=True)

    async def _stream(self, history: Sequence[Message]) -> bool:
        """Queue what is complete as it comes; return whether one was marked as the last."""
        splitter = SentenceSplitter()
        characters = 0
        with self._span("llm") as span:
            async with aclosing(self._llm.stream(history)) as texts:
                async for text in texts:
                    if not text:
                        continue
                    self._note_text(text, span)
                    characters += len(text)
                    span.attributes["callquake.llm.characters"] = characters
                    for sentence in splitter.feed(text):
                        if await self._offer(sentence):
                            return self._stopped()
                    if self._rules.is_overlapped and not self._pieces and (clause := splitter.take_clause()):
                        self._clause = len(clause)
                        await self._put(clause, is_last=False)
            # Its end is told before the rest is queued: the queue may be full.
            span.end_ns = self._now()
        left = splitter.flush()
        if self._turn.first_token_ns:
            self._stopped()
        return await self._offer(left, is_last=True)

    def _note_text(self, text: str, span: Span) -> None:
        is_first = not self._turn.first_token_ns
        if is_first:
            self._turn.first_token_ns = self._now()
            span.attributes["callquake.llm.ttft_ms"] = ms_between(span.start_ns, self._turn.first_token_ns)
        self._out.tell(LlmText(self._turn.number, text, started=is_first))

    def _stopped(self) -> bool:
        self._out.tell(LlmText(self._turn.number, "", stopped=True))
        return True

    async def _offer(self, sentence: str, *, is_last: bool = False) -> bool:
        """Queue a sentence unless there is nothing to say in it; return whether the reply is complete with it."""
        if not is_speakable(sentence):
            return False
        self._sentences += 1
        is_last = is_last or self._sentences >= self._rules.max_sentences
        # Of its first clause, where that was queued already, this is the rest.
        sentence = clipped(sentence, max(LEAST_CHARACTERS, self._rules.max_sentence_characters - self._clause))
        self._clause = 0
        clause, rest = split_clause(sentence)
        if self._rules.is_overlapped and not self._pieces and is_speakable(clause) and is_speakable(rest):
            await self._put(clause, is_last=False)
            sentence = rest
        await self._put(sentence, is_last=is_last)
        return is_last

    async def _put(self, text: str, *, is_last: bool) -> None:
        ready_ns = self._now()
        if not self._turn.sentence_ns:
            self._turn.sentence_ns = ready_ns
        self._pieces += bool(text)
        await self._queue.put(_Piece(text, is_last, ready_ns))

    # --- speaking --------------------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        while True:
            piece = await self._queue.get()
            if self._turn.spoken:
                # Of a reply that may never be wanted, no more than its beginning is spoken.
                await self._out.opened()
            self._say(piece, await self._synthesise(piece) if piece.text else NO_SAMPLES)
            if piece.is_last:
                return

    async def _speak_as_a_whole(self) -> None:
        pieces = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        spoken = [await self._synthesise(piece) if piece.text else NO_SAMPLES for piece in pieces]
        for piece, samples in zip(pieces, spoken, strict=True):
            self._say(piece, samples)

    async def _synthesise(self, piece: _Piece) -> Pcm:
        is_first = not self._turn.spoken
        waited_ms = ms_between(piece.ready_ns, self._now()) if self._rules.is_overlapped else 0.0
        with self._span("tts") as span:
            span.attributes["callquake.tts.characters"] = len(piece.text)
            try:
                speech = await self._tts.synthesise(piece.text)
            except Exception as error:
                raise StageError("tts", error) from error
            span.attributes["callquake.queue_ms"] = speech.queue_ms
            span.attributes["callquake.tts.speech_ms"] = 1000 * len(speech.samples) / SPEECH_RATE
        if is_first:
            # Later pieces wait while the first is playing; only the first wait delays the answer.
            self._turn.tts_queue_ms += waited_ms + speech.queue_ms
        return speech.samples

    def _say(self, piece: _Piece, samples: Pcm) -> None:
        turn = self._turn
        is_first = not turn.spoken
        if is_first:
            turn.audio_ns = self._now()
        if piece.text:
            turn.add_speech(piece.text, samples, self._now())
            if (scope := call_scope()) is not None:
                # What comes next is wanted when this has been heard.
                scope.waiting_since_ns = turn.audio_ns + round(turn.spoken_s * NS_PER_S)
        self._out.play(SpeechOut(turn.number, piece.text, samples, piece.is_last))
        self._out.tell(TtsText(turn.number, piece.text, started=is_first, stopped=piece.is_last))

    @contextmanager
    def _span(self, name: StageName) -> Iterator[Span]:
        """Record the work inside, also where it is cancelled or fails."""
        span = Span(name, self._now(), 0)
        self._turn.spans.append(span)
        try:
            yield span
        except (asyncio.CancelledError, GeneratorExit):
            span.attributes[CANCELLED] = True
            raise
        except Exception as error:
            span.error = type(error.__cause__ or error).__name__
            raise
        finally:
            span.end_ns = span.end_ns or self._now()
