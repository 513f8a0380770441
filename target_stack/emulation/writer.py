"""The language model's server: continuous batching, slots, a KV cache that fills, words at the pace of the load."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from harness.model.clock import NS_PER_MS, NS_PER_S, monotonic_ns, ms_between
from target_stack.emulation.admission import Admission, AdmissionRules
from target_stack.emulation.conditions import Conditions
from target_stack.emulation.lines import Lateness
from target_stack.emulation.seeded import uniform
from target_stack.emulation.service_times import LlmTimes
from target_stack.emulation.stage_time import work_ms
from target_stack.emulation.work import Job
from target_stack.stages.llm import LlmError
from target_stack.stages.prompt import SYSTEM, Message
from target_stack.telemetry.stats import DurationHistogram, Stats

NAME = "llm"
# As the real client: the longest silence between two pieces of a reply.
TIMEOUT_S = 15.0
# What a full server says of when to come back.
RETRY_AFTER_S = 1.0
CHARACTERS_A_TOKEN = 4


def tokens_of(text: str) -> int:
    """Return about how many tokens a text has: one in four characters, as English has with today's vocabularies."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


def prompt_tokens(history: Sequence[Message]) -> int:
    """Return about how many tokens a prompt with this conversation has."""
    return tokens_of(SYSTEM) + sum(tokens_of(message.text) for message in history)


@dataclass
class WriterStats:
    """What it counts beside the pipeline's numbers. Gauges: `running`, `waiting`, `kv_ratio`."""

    slots: int = 0
    running: int = 0
    waiting: int = 0
    kv_ratio: float = 0.0
    waits: DurationHistogram = field(default_factory=DurationHistogram)


class Writer:
    """One server for all calls."""

    def __init__(
        self,
        times: LlmTimes,
        seed: int,
        stats: Stats,
        lateness: Lateness,
        *,
        timeout_s: float = TIMEOUT_S,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.conditions = Conditions()
        self.stats = WriterStats(times.slots)
        self._times = times
        self._seed = seed
        self._refusals = stats.refused
        self._depths = stats.queue_depths
        self._lateness = lateness
        self._timeout_s = timeout_s
        self._now = now
        self._admission = Admission(AdmissionRules(times.slots, times.kv_tokens, times.waiting))
        self._numbers = 0
        self._turns: dict[int, asyncio.Future[None]] = {}
        self._is_closed = False
        self._count()

    async def write(self, job: Job) -> AsyncGenerator[str]:
        """Yield `job.text` word by word. Raises LlmError: 400 beyond the context, 429 when full, 0 for silence."""
        tokens = self._room_for(job)
        number = self._numbers = self._numbers + 1
        try:
            await self._start(number, tokens)
            pace = _Pace(self._now, self._lateness)
            await self._timed(self._read(job, pace))
            for place, word in enumerate(job.text.split()):
                piece = f" {word}" if place else word
                if place:
                    await self._timed(self._token(job, piece, pace))
                yield piece
        finally:
            self._turns.pop(number, None)
            self._wake(self._admission.end(number))

    async def aclose(self) -> None:
        """Refuse what waits; what runs is ended by those who read it."""
        self._is_closed = True
        for turn in self._turns.values():
            if not turn.done():
                turn.set_exception(LlmError(f"{NAME}: closed"))

    def _room_for(self, job: Job) -> int:
        """Return how many tokens the reply may come to take. Raises LlmError where there is no room for it at all."""
        tokens = round(job.units) + tokens_of(job.text)
        limit = self._times.context_tokens
        if tokens > limit:
            raise LlmError(f"{NAME}: {tokens} tokens asked for, the context has {limit}", status=400)
        if self._is_closed or not self._admission.fits(tokens):
            self._refusals[NAME] += 1
            text = f"{NAME}: {self._admission.waiting} requests wait already"
            raise LlmError(text, status=429, retry_after_s=RETRY_AFTER_S)
        return tokens

    async def _start(self, number: int, tokens: int) -> None:
        asked_ns = self._now()
        turn = self._turns[number] = asyncio.get_running_loop().create_future()
        self._wake(self._admission.begin(number, tokens))
        await self._timed(turn)
        self.stats.waits.observe(ms_between(asked_ns, self._now()))

    async def _timed(self, step: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await step
        except TimeoutError as error:
            raise LlmError(f"{NAME}: silent for {self._timeout_s:g} s") from error

    async def _read(self, job: Job, pace: "_Pace") -> None:
        """Take the time until the first token."""
        await self.conditions.wait(self.conditions.begin(self._now()))
        pace.begin()
        share = uniform(self._seed, *job.key, "first")
        await pace.take(work_ms(self._times.levels, job.units, self._admission.running, share))

    async def _token(self, job: Job, piece: str, pace: "_Pace") -> None:
        """Take the time of one word's tokens."""
        share = uniform(self._seed, *job.key, "token")
        await pace.take(work_ms(self._times.token_levels, tokens_of(piece), self._admission.running, share))

    def _wake(self, numbers: list[int]) -> None:
        for number in numbers:
            turn = self._turns.get(number)
            if turn is not None and not turn.done():
                turn.set_result(None)
        self._count()

    def _count(self) -> None:
        admission = self._admission
        self.stats.running, self.stats.waiting = admission.running, admission.waiting
        self.stats.kv_ratio = admission.kv_ratio
        self._depths[NAME] = admission.waiting


class _Pace:
    """A reply's clock: its words are due one after another from its beginning, so that no lateness adds up."""

    def __init__(self, now: Callable[[], int], lateness: Lateness) -> None:
        self._now = now
        self._lateness = lateness
        self._due_ns = now()

    def begin(self) -> None:
        """Count from here."""
        self._due_ns = self._now()

    async def take(self, drawn_ms: float) -> None:
        """Sleep until `drawn_ms` after what was due before."""
        self._due_ns += round(drawn_ms * NS_PER_MS)
        await asyncio.sleep(max(0, self._due_ns - self._now()) / NS_PER_S)
        self._lateness.note(0.0, ms_between(self._due_ns, self._now()))
