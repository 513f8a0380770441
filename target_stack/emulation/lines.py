"""STT's and TTS's servers: replicas behind the batch queue that the real models stand behind, where work is waiting."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.model.clock import monotonic_ns, ms_between
from target_stack.emulation.conditions import Conditions
from target_stack.emulation.seeded import uniform
from target_stack.emulation.service_times import StageTimes, Table
from target_stack.emulation.stage_time import batch_ms, work_ms
from target_stack.emulation.work import Job, Served
from target_stack.pipeline.batch_queue import BatchRules
from target_stack.pipeline.batch_runner import BatchRefusedError, BatchRunner
from target_stack.stages.worker import GivesWayError
from target_stack.telemetry.batch_stats import BatchStats
from target_stack.telemetry.stats import DurationHistogram, Stats

# A batch of n takes n times as long as one: nothing is gained by it.
ONE_BY_ONE: Table = ((1.0, 1.0), (2.0, 2.0))
# For work that no caller waits for, such as the greeting's.
NOBODY_WAITS_MS = 600_000.0


@dataclass
class Lateness:
    """By how much work took longer than was drawn for it, because this process was busy with other things."""

    late: DurationHistogram = field(default_factory=DurationHistogram)

    def note(self, drawn_ms: float, took_ms: float) -> None:
        """Take note of one wait."""
        self.late.observe(max(0.0, took_ms - drawn_ms))


class Line:
    """One stage's replicas and their queue."""

    def __init__(
        self,
        name: str,
        times: StageTimes,
        rules: BatchRules,
        seed: int,
        stats: Stats,
        batches: BatchStats,
        lateness: Lateness,
        *,
        factors: Table = ONE_BY_ONE,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.conditions = Conditions()
        self._name = name
        self._times = times
        self._factors = factors
        self._seed = seed
        self._stats = stats
        self._lateness = lateness
        self._now = now
        self._busy = 0
        self._replicas = rules.replicas
        self._runner: BatchRunner[Job, Served] = BatchRunner(
            name, rules, [self._replica] * rules.replicas, batches, now=now
        )

    async def serve(self, job: Job) -> Served:
        """Return when the job is done. Raises BatchRefusedError, GivesWayError."""
        if job.gives_way and self._busy >= self._replicas:
            raise GivesWayError(f"{self._name}: every slot is busy, and a partial does not wait")
        try:
            if job.since_ns is not None:
                done = await self._runner.ask(job, since_ns=job.since_ns)
            else:
                done = await self._runner.ask(job, deadline_ms=NOBODY_WAITS_MS)
        except BatchRefusedError:
            self._stats.refused[self._name] += 1
            raise
        return Served(done.queue_ms, done.work_ms)

    async def aclose(self) -> None:
        """Refuse what waits and runs."""
        await self._runner.aclose()

    async def _replica(self, jobs: Sequence[Job]) -> list[Served | Exception]:
        """Do a batch: wait as long as it takes."""
        began_ns = self._now()
        self._busy += 1
        try:
            loads_ns = max(self.conditions.begin(began_ns) for _ in jobs)
            await self.conditions.wait(loads_ns)
            drawn_ms = self._drawn_ms(jobs)
            sleeps_ns = self._now()
            await asyncio.sleep(drawn_ms / 1000)
            self._lateness.note(drawn_ms, ms_between(sleeps_ns, self._now()))
        finally:
            self._busy -= 1
        done = Served(0.0, ms_between(began_ns, self._now()))
        return [done for _ in jobs]

    def _drawn_ms(self, jobs: Sequence[Job]) -> float:
        alone = [
            work_ms(self._times.levels, job.units, self._busy, uniform(self._seed, *job.key, "time")) for job in jobs
        ]
        return batch_ms(alone, self._factors)
