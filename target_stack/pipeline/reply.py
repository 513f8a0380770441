"""One reply: recognise, write, speak. Writing and speaking overlap through a bounded queue; a cancelled task stops all.

    samples -> STT -> text -> LLM stream -> [sentences, at most SENTENCES_AHEAD] -> TTS -> play

When the sentence queue is full, the writer waits and with it, through TCP, the language model's server.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from harness.model.clock import NS_PER_S, ms_between
from target_stack.call_scope import call_scope
from target_stack.frames import AgentEvent, LlmText, Pcm, SpeechOut, StageFailed, Transcript, TtsText
from target_stack.pipeline.turn import Turn
from target_stack.stages.llm import LanguageModel, LlmError
from target_stack.stages.prompt import Message
from target_stack.stages.sentences import SentenceSplitter, clipped, is_speakable
from target_stack.stages.stt import SpeechToText
from target_stack.stages.tts import TextToSpeech

SENTENCES_AHEAD = 2
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


class StageError(Exception):
    """A stage gave up on this turn."""

    def __init__(self, stage: str, cause: BaseException) -> None:
        super().__init__(f"{stage}: {type(cause).__name__}: {cause}")
        self.stage = stage


@dataclass(frozen=True, slots=True)
class _Sentence:
    """`text` may be "" only for the mark that the reply is over. `ready_ns`: when it was put in the queue."""

    text: str
    is_last: bool
    ready_ns: int


class Reply:
    """Runs one turn's stages. Its task is cancelled to interrupt it; what was said so far stands in the turn."""

    def __init__(
        self,
        turn: Turn,
        stt: SpeechToText,
        llm: LanguageModel,
        tts: TextToSpeech,
        rules: ReplyRules,
        *,
        play: Callable[[SpeechOut], None],
        tell: Callable[[AgentEvent], None],
        now: Callable[[], int],
    ) -> None:
        self._turn = turn
        self._stt = stt
        self._llm = llm
        self._tts = tts
        self._rules = rules
        self._play = play
        self._tell = tell
        self._now = now
        self._queue: asyncio.Queue[_Sentence] = asyncio.Queue(SENTENCES_AHEAD)
        self._written = 0

    async def run(self, history: Sequence[Message]) -> None:
        """Answer the turn's utterance. Raises StageError; a language model's failure is told and spoken around."""
        await self._transcribe()
        try:
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._write(history))
                stages.create_task(self._speak())
        except ExceptionGroup as group:
            failures = group.subgroup(StageError)
            if failures is None:
                raise
            raise failures.exceptions[0] from None

    async def _transcribe(self) -> None:
        turn = self._turn
        try:
            heard = await self._stt.transcribe(turn.utterance)
        except Exception as error:
            raise StageError("stt", error) from error
        turn.transcribed_ns = self._now()
        turn.queue_ms += heard.queue_ms
        turn.user_text = heard.text
        self._tell(Transcript(turn.number, heard.text, is_final=True))

    async def _write(self, history: Sequence[Message]) -> None:
        """Fill the sentence queue, always ending with one that is last."""
        if not is_speakable(self._turn.user_text) and not any(map(str.isdigit, self._turn.user_text)):
            self._turn.outcome = "reprompted"
            await self._put(self._rules.reprompt, is_last=True)
            return
        try:
            is_ended = await self._stream([*history, Message("user", self._turn.user_text)])
        except LlmError as error:
            self._turn.failed_stage = "llm"
            self._tell(StageFailed(self._turn.number, "llm", str(error)))
            is_ended = False
        if not self._written:
            self._turn.outcome = "fallback"
            await self._put(self._rules.fallback, is_last=True)
        elif not is_ended:
            await self._put("", is_last=True)

    async def _stream(self, history: Sequence[Message]) -> bool:
        """Queue sentences as they end; return whether one was marked as the last."""
        splitter = SentenceSplitter()
        async with aclosing(self._llm.stream(history)) as pieces:
            async for piece in pieces:
                if not piece:
                    continue
                is_first = not self._turn.first_token_ns
                self._turn.first_token_ns = self._turn.first_token_ns or self._now()
                self._tell(LlmText(self._turn.number, piece, started=is_first))
                for sentence in splitter.feed(piece):
                    if await self._offer(sentence):
                        return self._stopped()
        left = splitter.flush()
        if self._turn.first_token_ns:
            self._stopped()
        return await self._offer(left, is_last=True)

    def _stopped(self) -> bool:
        self._tell(LlmText(self._turn.number, "", stopped=True))
        return True

    async def _offer(self, sentence: str, *, is_last: bool = False) -> bool:
        """Queue a sentence unless there is nothing to say in it; return whether the reply is complete with it."""
        if not is_speakable(sentence):
            return False
        is_last = is_last or self._written + 1 >= self._rules.max_sentences
        await self._put(clipped(sentence, self._rules.max_sentence_characters), is_last=is_last)
        return is_last

    async def _put(self, text: str, *, is_last: bool) -> None:
        ready_ns = self._now()
        if not self._turn.sentence_ns:
            self._turn.sentence_ns = ready_ns
        self._written += bool(text)
        await self._queue.put(_Sentence(text, is_last, ready_ns))

    async def _speak(self) -> None:
        while True:
            sentence = await self._queue.get()
            waited_ms = ms_between(sentence.ready_ns, self._now())
            samples = await self._synthesise(sentence.text, waited_ms) if sentence.text else NO_SAMPLES
            self._say(sentence, samples)
            if sentence.is_last:
                return

    async def _synthesise(self, text: str, waited_ms: float) -> Pcm:
        try:
            speech = await self._tts.synthesise(text)
        except Exception as error:
            raise StageError("tts", error) from error
        if not self._turn.spoken:
            # Later sentences wait while the first is playing; only the first wait delays the answer.
            self._turn.queue_ms += waited_ms + speech.queue_ms
        return speech.samples

    def _say(self, sentence: _Sentence, samples: Pcm) -> None:
        turn = self._turn
        is_first = not turn.spoken
        if is_first:
            turn.audio_ns = self._now()
        if sentence.text:
            turn.add_speech(sentence.text, samples)
            if (scope := call_scope()) is not None:
                # What comes next is wanted when this has been heard.
                scope.waiting_since_ns = turn.audio_ns + round(sum(s for _, s in turn.spoken) * NS_PER_S)
        self._play(SpeechOut(turn.number, sentence.text, samples, sentence.is_last))
        self._tell(TtsText(turn.number, sentence.text, started=is_first, stopped=sentence.is_last))
