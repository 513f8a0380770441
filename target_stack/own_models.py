"""The speech models that run in this process: their weights found or fetched, the stages built over them."""

import asyncio
import threading
from pathlib import Path

from target_stack.config import StackConfig
from target_stack.models.catalogue import KOKORO, WHISPER, Model
from target_stack.models.fetch import fetch_model
from target_stack.models.store import ModelError, ModelStore, find_model
from target_stack.pipeline.batched_tts import BatchedTts
from target_stack.stages.stt import FasterWhisper, SpeechToText
from target_stack.stages.tts import KokoroOnnx, KokoroTts, TextToSpeech, Voice
from target_stack.stages.worker import ModelWorker
from target_stack.telemetry.batch_stats import BatchStats
from target_stack.telemetry.stats import Stats


class OwnModels:
    """Builds what the configuration says. `batches` gets the counts of each batch queue that is built, by its stage."""

    def __init__(self, config: StackConfig, stats: Stats, batches: dict[str, BatchStats]) -> None:
        self._config = config
        self._stats = stats
        self._batches = batches
        self._store = ModelStore(config.models.cache)
        self._stop_fetching = threading.Event()

    async def stt(self) -> SpeechToText:
        """Return the recogniser, loaded and warm. Raises ModelError, OSError."""
        config = self._config
        weights = await self.weights(WHISPER, config.models.stt)
        worker = ModelWorker("stt", self._stats, threads=config.stt_workers, waiting=config.waiting)
        stt = FasterWhisper(
            weights,
            worker,
            cpu_threads=config.model_threads,
            device=config.turn.stt_device,
            compute_type=config.turn.stt_compute,
        )
        await stt.load()
        return stt

    async def tts(self) -> TextToSpeech:
        """Return the voice, loaded and warm. Raises ModelError, OSError."""
        weights = await self.weights(KOKORO, self._config.models.tts)
        tts = self._new_batched_tts(weights) if self._config.tts.is_batched else self._new_plain_tts(weights)
        await tts.load()
        return tts

    async def weights(self, model: Model, explicit: Path | None) -> Path:
        """Return where a model's weights are; fetched where that is allowed. Raises ModelError."""
        found = await asyncio.to_thread(find_model, self._store, model, explicit)
        if found is not None:
            return found
        if not self._config.models.may_fetch:
            raise ModelError(
                f"{model.name} is not in {self._store.cache} and --no-fetch is set; run `models fetch` first"
            )
        return await asyncio.to_thread(fetch_model, self._store, model, stop=self._stop_fetching)

    def stop(self) -> None:
        """Fetch no more."""
        self._stop_fetching.set()

    def _new_plain_tts(self, weights: Path) -> TextToSpeech:
        config = self._config
        worker = ModelWorker("tts", self._stats, threads=config.tts_workers, waiting=config.waiting)
        return KokoroTts(weights, worker, voice=config.voice, cpu_threads=config.model_threads)

    def _new_batched_tts(self, weights: Path) -> TextToSpeech:
        rules = self._config.tts.batch
        batches = self._batches["tts"] = BatchStats()
        return BatchedTts([self._new_voice(weights) for _ in range(rules.replicas)], rules, self._stats, batches)

    def _new_voice(self, weights: Path) -> Voice:
        config = self._config
        if config.tts.engine == "onnx":
            return KokoroOnnx(weights, voice=config.voice, cpu_threads=config.model_threads)
        # Only who asks for it has PyTorch.
        from target_stack.stages.kokoro_torch import KokoroTorch  # noqa: PLC0415

        return KokoroTorch(weights, device=config.tts.device, voice=config.voice, cpu_threads=config.model_threads)


def stt_description(config: StackConfig) -> str:
    """Return the recogniser and its backend."""
    model = "tiny.en" if config.models.stt is None else config.models.stt.name
    device = "CPU" if config.turn.stt_device == "cpu" else config.turn.stt_device
    return f"faster-whisper {model} {config.turn.stt_compute} ({device})"


def tts_description(config: StackConfig) -> str:
    """Return the voice and its backend."""
    if config.tts.engine == "torch":
        model = f"Kokoro-82M PyTorch, voice {config.voice} ({config.tts.device})"
    else:
        model = f"Kokoro-82M int8 ONNX, voice {config.voice} (CPU)"
    return f"{model}, batches of {config.tts.batch.size}" if config.tts.is_batched else model
