"""The servers of all three stages in this process, built from service times and the options of `up`."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from harness.model.clock import monotonic_ns
from target_stack.emulation.cold_starts import ColdStarts
from target_stack.emulation.lines import NOBODY_WAITS_MS, Lateness, Line
from target_stack.emulation.service_times import ServiceTimes
from target_stack.emulation.work import Job, Served
from target_stack.emulation.writer import Writer
from target_stack.pipeline.batch_queue import BatchRules
from target_stack.telemetry.batch_stats import BatchStats
from target_stack.telemetry.stats import Stats

STAGES = ("stt", "llm", "tts")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the servers are run; None or 0 leaves it to the file of service times."""

    seed: int = 1
    stt_slots: int = 0
    llm_slots: int = 0
    tts_replicas: int = 0
    tts_batch: int = 0
    tts_deadline_ms: float = 5000.0
    # For each stage.
    waiting: int = 0


class LocalServers:
    """`Servers` here. `conditions`: by stage, whether its model is loaded."""

    def __init__(
        self,
        times: ServiceTimes,
        options: ServerOptions,
        stats: Stats,
        batches: dict[str, BatchStats],
        *,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        times = with_options(times, options)
        self.times = times
        self.lateness = Lateness()
        self.cold_starts = ColdStarts(times, options.seed)
        self._stt = Line(
            "stt",
            times.stt,
            BatchRules(1, 0.0, NOBODY_WAITS_MS, waiting=times.stt.waiting, replicas=times.stt.slots),
            options.seed,
            stats,
            batches.setdefault("stt", BatchStats()),
            self.lateness,
            now=now,
        )
        tts = times.tts
        self._tts = Line(
            "tts",
            tts,
            BatchRules(tts.batch, tts.batch_wait_ms, options.tts_deadline_ms, tts.waiting, tts.slots),
            options.seed,
            stats,
            batches.setdefault("tts", BatchStats()),
            self.lateness,
            factors=tts.batch_factors,
            now=now,
        )
        self._llm = Writer(times.llm, options.seed, stats, self.lateness, now=now)
        self.writer_stats = self._llm.stats
        self.conditions = {
            "stt": self._stt.conditions,
            "llm": self._llm.conditions,
            "tts": self._tts.conditions,
        }

    def go_cold(self, stage: str) -> float:
        """Have the stage's next request load the model; return how long that will take, in ms."""
        load_ms = self.cold_starts.draw_ms(stage)
        self.conditions[stage].go_cold(load_ms)
        return load_ms

    async def recognise(self, job: Job) -> Served:
        """Return when the utterance is recognised."""
        return await self._stt.serve(job)

    async def speak(self, job: Job) -> Served:
        """Return when the sentence is spoken."""
        return await self._tts.serve(job)

    async def write(self, job: Job) -> AsyncGenerator[str]:
        """Yield the reply."""
        async with aclosing(self._llm.write(job)) as words:
            async for word in words:
                yield word

    async def aclose(self) -> None:
        """Refuse what waits and runs."""
        await self._stt.aclose()
        await self._llm.aclose()
        await self._tts.aclose()


def with_options(times: ServiceTimes, options: ServerOptions) -> ServiceTimes:
    """Return the times with what the options say instead."""
    waiting = {"waiting": options.waiting} if options.waiting else {}
    stt = waiting | ({"slots": options.stt_slots} if options.stt_slots else {})
    llm = waiting | ({"slots": options.llm_slots} if options.llm_slots else {})
    tts = waiting | ({"slots": options.tts_replicas} if options.tts_replicas else {})
    tts |= {"batch": options.tts_batch} if options.tts_batch else {}
    return times.model_copy(
        update={
            "stt": times.stt.model_copy(update=stt),
            "llm": times.llm.model_copy(update=llm),
            "tts": times.tts.model_copy(update=tts),
        }
    )
