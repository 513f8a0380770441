"""The emulated stages in the pipeline's shapes: they ask the servers, and give what stands for words and speech."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from target_stack.call_scope import call_scope
from target_stack.emulation.life import Life
from target_stack.emulation.voice import voiced
from target_stack.emulation.work import EmulatedFailureError, Job, Servers
from target_stack.emulation.writer import prompt_tokens
from target_stack.frames import INPUT_RATE, Pcm
from target_stack.stages.llm import LlmError
from target_stack.stages.prompt import Message
from target_stack.stages.scripted_llm import REPLIES
from target_stack.stages.stt import Transcription
from target_stack.stages.tts import Speech

# As fast as people speak; what was said is unknown here, how much of it is not.
WORDS_A_SECOND = 2.5


def _job(stage: str, units: float, piece: str = "", text: str = "") -> Job:
    """Return the work for the call that this task works for."""
    scope = call_scope()
    if scope is None:
        return Job(stage, units, piece=piece, text=text)
    gives_way = scope.work == "partial"
    return Job(stage, units, scope.call_id, scope.turn, piece, text, scope.waiting_since_ns, gives_way)


def _work() -> str:
    """Tell apart what is asked of the recogniser in one turn."""
    scope = call_scope()
    return scope.work if scope is not None else ""


class EmulatedStt:
    """`SpeechToText` that knows how long an utterance is, and not a word of it."""

    is_emulated = True

    def __init__(self, servers: Servers, description: str, life: Life) -> None:
        self.description = description
        self.life = life
        self._servers = servers

    async def load(self) -> None:
        """Take a cold start's time."""
        await self.life.start()

    async def transcribe(self, samples: Pcm) -> Transcription:
        """Return words that stand for what was said, marked as such. Raises QueueFullError, EmulatedFailureError."""
        duration_s = len(samples) / INPUT_RATE
        begun = self.life.begin()
        served = await self._servers.recognise(_job("stt", duration_s, piece=_work()))
        self.life.check(begun)
        return Transcription(placeholder(duration_s), served.queue_ms, served.work_ms, is_emulated=True)

    async def aclose(self) -> None:
        """Nothing: the servers are closed by their owner."""


def placeholder(duration_s: float) -> str:
    """Return as many words as so many seconds of speech hold; that they are none of the caller's is plain to read."""
    return " ".join(["emulated", "transcript", *["word"] * (round(duration_s * WORDS_A_SECOND) - 2)])


class EmulatedLlm:
    """`LanguageModel` with a stock of replies."""

    def __init__(self, servers: Servers, description: str, life: Life, replies: Sequence[str] = REPLIES) -> None:
        self.description = description
        self.life = life
        self._servers = servers
        self._replies = replies

    async def load(self) -> None:
        """Take a cold start's time."""
        await self.life.start()

    async def stream(self, history: Sequence[Message]) -> AsyncGenerator[str]:
        """Yield the reply's words at the server's pace. Raises LlmError."""
        turn = sum(message.role == "user" for message in history)
        job = _job("llm", prompt_tokens(history), text=self._replies[(turn - 1) % len(self._replies)])
        try:
            begun = self.life.begin()
            async with aclosing(self._servers.write(job)) as words:
                async for word in words:
                    self.life.check(begun)
                    yield word
        except EmulatedFailureError as error:
            raise LlmError(str(error), status=error.status) from error

    async def aclose(self) -> None:
        """Nothing: the servers are closed by their owner."""


class EmulatedTts:
    """`TextToSpeech` in a voice without words, as long as the sentence would have taken."""

    def __init__(self, servers: Servers, description: str, life: Life, speech_ms_per_character: float) -> None:
        self.description = description
        self.life = life
        self._servers = servers
        self._pace_ms = speech_ms_per_character

    async def load(self) -> None:
        """Take a cold start's time."""
        await self.life.start()

    async def synthesise(self, sentence: str) -> Speech:
        """Return the speech. Raises QueueFullError, EmulatedFailureError."""
        begun = self.life.begin()
        served = await self._servers.speak(_job("tts", len(sentence), piece=sentence))
        self.life.check(begun)
        return Speech(voiced(len(sentence) * self._pace_ms), served.queue_ms, served.work_ms)

    async def aclose(self) -> None:
        """Nothing: the servers are closed by their owner."""
