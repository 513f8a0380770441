"""The three stages, each over several providers, in the shapes the pipeline knows."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from target_stack.frames import INPUT_RATE, SPEECH_RATE, Pcm
from target_stack.routing.complexity import complexity_of
from target_stack.routing.desk import Desk, Place
from target_stack.routing.failures import NoProviderError
from target_stack.stages.llm import LanguageModel, LlmError
from target_stack.stages.prompt import Message
from target_stack.stages.stt import SpeechToText, Transcription
from target_stack.stages.tts import Speech, TextToSpeech


class RoutedStt:
    """`SpeechToText` over several."""

    def __init__(self, desk: Desk, providers: Mapping[str, SpeechToText]) -> None:
        self.description = _description(providers)
        self._desk = desk
        self._providers = providers

    async def load(self) -> None:
        """Nothing: each provider was loaded by itself."""

    async def transcribe(self, samples: Pcm) -> Transcription:
        """Return the words of the first provider that knows them. Raises NoProviderError, or the last failure."""
        tries = self._desk.tries()
        while True:
            place = await tries.place()
            async with self._desk.work(place) as name:
                heard = await self._providers[name].transcribe(samples)
                self._desk.charge(place, audio_s=len(samples) / INPUT_RATE)
                return heard

    async def aclose(self) -> None:
        """Nothing: each provider is closed by its owner."""


class RoutedTts:
    """`TextToSpeech` over several."""

    def __init__(self, desk: Desk, providers: Mapping[str, TextToSpeech]) -> None:
        self.description = _description(providers)
        self._desk = desk
        self._providers = providers

    async def load(self) -> None:
        """Nothing: each provider was loaded by itself."""

    async def synthesise(self, sentence: str) -> Speech:
        """Return the speech of the first provider that speaks it. Raises NoProviderError, or the last failure."""
        tries = self._desk.tries()
        while True:
            place = await tries.place()
            async with self._desk.work(place) as name:
                speech = await self._providers[name].synthesise(sentence)
                self._desk.charge(place, audio_s=len(speech.samples) / SPEECH_RATE, characters=len(sentence))
                return speech

    async def aclose(self) -> None:
        """Nothing: each provider is closed by its owner."""


class RoutedLlm:
    """`LanguageModel` over several, by complexity. Once a word of a reply is out, its provider alone can end it."""

    def __init__(self, desk: Desk, providers: Mapping[str, LanguageModel]) -> None:
        self.description = _description(providers)
        self._desk = desk
        self._providers = providers

    async def stream(self, history: Sequence[Message]) -> AsyncGenerator[str]:
        """Yield the reply's text. Raises LlmError, as a single model would."""
        tries = self._desk.tries(complexity_of(history))
        while True:
            try:
                place = await tries.place()
            except NoProviderError as error:
                raise LlmError(str(error)) from error
            async with self._desk.work(place) as name, aclosing(self._providers[name].stream(history)) as pieces:
                async with aclosing(self._paid(place, pieces)) as paid:
                    async for piece in paid:
                        yield piece
                return

    async def _paid(self, place: Place, pieces: AsyncGenerator[str]) -> AsyncGenerator[str]:
        """Pass on the pieces. What was written is paid for, even where the caller interrupts it."""
        characters = 0
        try:
            async for piece in pieces:
                place.has_begun = place.has_begun or bool(piece)
                characters += len(piece)
                yield piece
        finally:
            if place.has_begun:
                self._desk.charge(place, characters=characters)

    async def aclose(self) -> None:
        """Nothing: each provider is closed by its owner."""


def _description(providers: Mapping[str, SpeechToText | TextToSpeech | LanguageModel]) -> str:
    return ", else ".join(provider.description for provider in providers.values())
