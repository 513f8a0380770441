"""How long the real stages take on this machine: the work given to them, and the times they needed.

Each stage is measured alone, with 1, 2, 4 ... pieces of work at once up to what it can have in work. Speech for the
recogniser is made by the synthesiser. Waiting for a free worker is left out, as the emulation has its own queues.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from harness.model.clock import monotonic_ns, ms_between
from target_stack.emulation.fit import Timed
from target_stack.emulation.writer import prompt_tokens
from target_stack.frames import INPUT_RATE, SPEECH_RATE, Pcm
from target_stack.stages.llm import LanguageModel
from target_stack.stages.prompt import Message
from target_stack.stages.stt import SpeechToText
from target_stack.stages.tts import TextToSpeech

UTTERANCES_S = (1.0, 2.0, 3.0, 4.5, 7.0, 12.0)
SENTENCES = (
    "Of course.",
    "Thank you, one moment.",
    "What is your account number, please?",
    "I have found it, and all is in order.",
    "The next appointment is on Thursday at three in the afternoon.",
    "I have changed that for you, and you will get a letter with all of the details soon.",
)
QUESTIONS = (
    "What time do you open?",
    "I would like to change my delivery address to the new one, please.",
    "My order has not come, although I was told last week that it would be here on Monday, so where is it now?",
    (
        "I called about the bill yesterday, and the man who I spoke to said that he would look into it and call me "
        "back within the hour, but nobody has called, so I ask again whether it was right, and what I have to pay."
    ),
)

Said = Callable[[str], None]
# Begins a piece of work and returns what was measured.
_Piece = Callable[[], Awaitable[Timed]]


@dataclass
class Measured:
    """By how many were at once. Units: seconds, tokens of the prompt, tokens written, characters."""

    stt: dict[int, list[Timed]] = field(default_factory=dict)
    first_token: dict[int, list[Timed]] = field(default_factory=dict)
    token: dict[int, list[Timed]] = field(default_factory=dict)
    tts: dict[int, list[Timed]] = field(default_factory=dict)
    # Of whole batches, by their size, with the mean number of characters.
    batches: dict[int, list[Timed]] = field(default_factory=dict)
    # Milliseconds of speech a character.
    pace_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Extent:
    """How many are in work at once at most, and how many pieces are measured at each step."""

    stt: int
    llm: int
    tts: int
    batch: int
    pieces: int


def steps_to(most: int) -> list[int]:
    """Return 1, 2, 4 ... and `most`."""
    steps = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*steps, most]


async def measure(
    stt: SpeechToText, llm: LanguageModel, tts: TextToSpeech, extent: Extent, seed: int, say: Said
) -> Measured:
    """Return everything measured; raises what a stage raises."""
    found = Measured()
    rng = random.Random(seed)
    speech = await _speak(tts, extent, found, rng, say)
    await _recognise(stt, speech, extent, found, rng, say)
    await _write(llm, extent, found, rng, say)
    return found


async def _speak(tts: TextToSpeech, extent: Extent, found: Measured, rng: random.Random, say: Said) -> Pcm:
    """Measure the synthesiser; return what it said."""
    said: list[Pcm] = []

    def piece() -> _Piece:
        sentence = rng.choice(SENTENCES)

        async def work() -> Timed:
            speech = await tts.synthesise(sentence)
            said.append(speech.samples)
            found.pace_ms.append(1000 * len(speech.samples) / SPEECH_RATE / len(sentence))
            return Timed(len(sentence), speech.work_ms)

        return work

    # With a batch queue, company is what a batch is made of; alone first, as the measure of the others.
    is_batched = extent.batch > 1
    for at_once in steps_to(extent.batch if is_batched else extent.tts):
        say(f"tts: {extent.pieces} sentences, {at_once} at once")
        into = found.batches if is_batched else found.tts
        into[at_once] = await _at_once(piece, at_once, extent.pieces)
    if is_batched:
        found.tts[1] = found.batches[1]
    return np.concatenate(said)


async def _recognise(
    stt: SpeechToText, speech: Pcm, extent: Extent, found: Measured, rng: random.Random, say: Said
) -> None:
    heard = _at_input_rate(speech)

    def piece() -> _Piece:
        length = round(min(rng.choice(UTTERANCES_S) * INPUT_RATE, len(heard)))
        start = rng.randint(0, len(heard) - length)

        async def work() -> Timed:
            done = await stt.transcribe(heard[start : start + length])
            return Timed(length / INPUT_RATE, done.work_ms)

        return work

    for at_once in steps_to(extent.stt):
        say(f"stt: {extent.pieces} utterances, {at_once} at once")
        found.stt[at_once] = await _at_once(piece, at_once, extent.pieces)


async def _write(llm: LanguageModel, extent: Extent, found: Measured, rng: random.Random, say: Said) -> None:
    for at_once in steps_to(extent.llm):
        say(f"llm: {extent.pieces} replies, {at_once} at once")
        tokens = found.token[at_once] = []

        def piece(tokens: list[Timed] = tokens) -> _Piece:
            question = rng.choice(QUESTIONS)

            async def work() -> Timed:
                first, later = await _reply(llm, question)
                tokens.extend(later)
                return first

            return work

        found.first_token[at_once] = await _at_once(piece, at_once, extent.pieces)


async def _reply(llm: LanguageModel, question: str) -> tuple[Timed, list[Timed]]:
    """Return the time to the first token, and that of all later ones together, where there are any."""
    began_ns = monotonic_ns()
    times: list[int] = []
    async with aclosing(llm.stream([Message("user", question)])) as pieces:
        async for piece in pieces:
            if piece:
                times.append(monotonic_ns())  # noqa: PERF401 - each stamp is taken as its piece comes
    if not times:
        raise ValueError(f"the language model said nothing to {question!r}")
    first = Timed(prompt_tokens([Message("user", question)]), ms_between(began_ns, times[0]))
    if len(times) < 2:
        return first, []
    # A piece is a token, as servers stream them.
    return first, [Timed(len(times) - 1, ms_between(times[0], times[-1]))]


async def _at_once(piece: Callable[[], _Piece], at_once: int, pieces: int) -> list[Timed]:
    """Keep `at_once` in work until `pieces` are done."""
    found: list[Timed] = []
    left = pieces

    async def one_after_another() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            found.append(await piece()())

    await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    return found


def _at_input_rate(speech: Pcm) -> Pcm:
    """Return speech at INPUT_RATE: two samples of every three, each the mean of its surroundings."""
    whole = speech[: len(speech) // 3 * 3].astype(np.float32).reshape(-1, 3)
    first, second = (2 * whole[:, 0] + whole[:, 1]) / 3, (whole[:, 1] + 2 * whole[:, 2]) / 3
    return np.stack((first, second), axis=1).reshape(-1).astype(np.int16)


def sizes(measured: Sequence[Timed]) -> tuple[float, float]:
    """Return the smallest and largest work measured."""
    units = [one.units for one in measured]
    return min(units), max(units)
