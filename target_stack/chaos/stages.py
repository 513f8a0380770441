"""The stages, each behind its faults. What a stage offers beyond its protocol passes through."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, Generic, TypeVar

from target_stack.chaos.fault import StageFault
from target_stack.chaos.passage import passage
from target_stack.chaos.stage_kinds import Slow
from target_stack.chaos.stretched import stretched
from target_stack.frames import Pcm
from target_stack.pipeline.reply import NO_SAMPLES
from target_stack.stages.llm import LanguageModel
from target_stack.stages.prompt import Message
from target_stack.stages.stt import SpeechToText, Transcription
from target_stack.stages.tts import Speech, TextToSpeech

Faults = Callable[[str], Sequence[StageFault]]
_Stage = TypeVar("_Stage", SpeechToText, TextToSpeech, LanguageModel)


class _Behind(Generic[_Stage]):
    _inner: _Stage

    def __init__(self, inner: _Stage, faults: Faults) -> None:
        self.description = inner.description
        self._inner = inner
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def aclose(self) -> None:
        """Close the stage."""
        await self._inner.aclose()


class ChaosStt(_Behind[SpeechToText]):
    """`SpeechToText` behind the faults of "stt"."""

    async def load(self) -> None:
        """Load the stage."""
        await self._inner.load()

    async def transcribe(self, samples: Pcm) -> Transcription:
        """Return the words, if the faults let it come to that."""
        async with passage("stt", self._faults) as passing:
            if passing.is_empty:
                # Emulated words are nobody's, and so are none of them: no transcript to be told or scored.
                return Transcription("", 0.0, 0.0, is_emulated=getattr(self._inner, "is_emulated", False))
            return await self._inner.transcribe(samples)


class ChaosTts(_Behind[TextToSpeech]):
    """`TextToSpeech` behind the faults of "tts"."""

    async def load(self) -> None:
        """Load the stage."""
        await self._inner.load()

    async def synthesise(self, sentence: str) -> Speech:
        """Return the speech, if the faults let it come to that."""
        async with passage("tts", self._faults) as passing:
            if passing.is_empty:
                return Speech(NO_SAMPLES, 0.0, 0.0)
            return await self._inner.synthesise(sentence)


class ChaosLlm(_Behind[LanguageModel]):
    """`LanguageModel` behind the faults of "llm"."""

    async def stream(self, history: Sequence[Message]) -> AsyncGenerator[str]:
        """Yield the reply's text, if the faults let it come to that. What slows the work slows every piece."""
        async with aclosing(self._inner.stream(history)) as pieces, AsyncExitStack() as stack:
            async with passage("llm", self._faults) as passing:
                if passing.is_empty:
                    return
                paced = pieces
                if slows := [fault for fault in passing.met if isinstance(fault, Slow)]:
                    paced = await stack.enter_async_context(aclosing(stretched(pieces, slows)))
                first = await anext(paced, None)
            if first is None:
                return
            yield first
            async for piece in paced:
                yield piece
