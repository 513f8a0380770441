"""Text to speech behind the batch queue: sentences of all calls share batches, those of the longest waiting first."""

import asyncio
from collections.abc import Callable, Sequence

from harness.model.clock import monotonic_ns
from target_stack.call_scope import call_scope
from target_stack.frames import Pcm
from target_stack.pipeline.batch_queue import BatchRules
from target_stack.pipeline.batch_runner import BatchRefusedError, BatchRunner, Replica
from target_stack.stages.tts import Speech, Voice
from target_stack.stages.worker import ModelWorker
from target_stack.telemetry.batch_stats import BatchStats
from target_stack.telemetry.stats import Stats

QUEUE = "tts"
# For speech that is made ahead of calls, such as the greeting.
NOBODY_WAITS_MS = 600_000.0


class BatchedTts:
    """`TextToSpeech` over one voice a replica, each on a thread of its own."""

    def __init__(
        self,
        voices: Sequence[Voice],
        rules: BatchRules,
        stats: Stats,
        batch_stats: BatchStats,
        *,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.description = f"{voices[0].description}, batches of {rules.size}"
        self._voices = voices
        self._stats = stats
        # Nothing ever waits for these threads: the queue gives each one batch at a time, and does the counting.
        self._workers = [ModelWorker(f"tts-{number}", Stats()) for number in range(len(voices))]
        self._runner: BatchRunner[str, Pcm] = BatchRunner(
            QUEUE, rules, [_replica(*pair) for pair in zip(self._workers, voices, strict=True)], batch_stats, now=now
        )

    async def load(self) -> None:
        """Load every replica."""
        pairs = zip(self._workers, self._voices, strict=True)
        await asyncio.gather(*(worker.run(voice.load) for worker, voice in pairs))

    async def synthesise(self, sentence: str) -> Speech:
        """Return the speech of one sentence. Raises BatchRefusedError, or the model's error with this sentence."""
        scope = call_scope()
        try:
            if scope is not None:
                done = await self._runner.ask(sentence, since_ns=scope.waiting_since_ns)
            else:
                done = await self._runner.ask(sentence, deadline_ms=NOBODY_WAITS_MS)
        except BatchRefusedError:
            self._stats.refused[QUEUE] += 1
            raise
        return Speech(done.value, done.queue_ms, done.work_ms)

    async def aclose(self) -> None:
        """Refuse what waits, and stop the threads."""
        await self._runner.aclose()
        await asyncio.gather(*(worker.aclose() for worker in self._workers))


def _replica(worker: ModelWorker, voice: Voice) -> Replica[str, Pcm]:
    async def speak(sentences: Sequence[str]) -> list[Pcm | Exception]:
        return (await worker.run(voice.speak, sentences)).value

    return speak
