"""Speech to text: one utterance in, its words out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.model.clock import monotonic_ns, ms_between
from target_stack.frames import INPUT_RATE, Pcm
from target_stack.stages.worker import ModelWorker


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was heard, and how much of the time was waiting for a free recogniser."""

    text: str
    queue_ms: float
    work_ms: float
    # The words stand for those that were said, which nobody knows: no transcript to tell a client, or to score.
    is_emulated: bool = False


class SpeechToText(Protocol):
    """Recognises whole utterances; shared by all calls."""

    description: str

    async def load(self) -> None:
        """Read the weights and run once, so that the first caller does not pay for it."""

    async def transcribe(self, samples: Pcm) -> Transcription:
        """Return the words of int16 mono at INPUT_RATE. Raises QueueFullError when too many wait."""

    async def aclose(self) -> None:
        """Free the threads."""


class FasterWhisper:
    """faster-whisper on the CPU: int8, greedy, one pass; the stack's own VAD has cut the audio already."""

    def __init__(self, folder: Path, worker: ModelWorker, *, cpu_threads: int = 2, name: str = "tiny.en") -> None:
        self.description = f"faster-whisper {name} int8 (CPU)"
        self._folder = folder
        self._worker = worker
        self._cpu_threads = cpu_threads
        self._model: Any = None

    async def load(self) -> None:
        """Create the model on the worker thread, whose low priority its pool inherits, and warm it."""
        await self._worker.run(self._create)
        await self.transcribe(np.zeros(INPUT_RATE, np.int16))

    def _create(self) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        from faster_whisper import WhisperModel  # noqa: PLC0415 - seconds to import, and from the cpu extra

        self._model = WhisperModel(
            str(self._folder), device="cpu", compute_type="int8", cpu_threads=self._cpu_threads, local_files_only=True
        )

    async def transcribe(self, samples: Pcm) -> Transcription:
        """Return the words; an utterance over 30 s is recognised window by window."""
        done = await self._worker.run(self._recognise, samples)
        text, work_ms = done.value
        return Transcription(text, done.queue_ms, work_ms)

    def _recognise(self, samples: Pcm) -> tuple[str, float]:
        began = monotonic_ns()
        segments, _ = self._model.transcribe(
            samples.astype(np.float32) / 32768,
            language="en",
            beam_size=1,
            temperature=0.0,
            vad_filter=False,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        text = " ".join(segment.text.strip() for segment in segments)
        return text.strip(), ms_between(began, monotonic_ns())

    async def aclose(self) -> None:
        """Stop the worker."""
        await self._worker.aclose()


class ScriptedStt:
    """Answers with the given texts in turn, the last one for ever; an Exception among them is raised."""

    description = "scripted"

    def __init__(self, texts: Sequence[str | Exception]) -> None:
        self._texts = list(texts)
        self.heard: list[Pcm] = []

    async def load(self) -> None:
        """Nothing to load."""

    async def transcribe(self, samples: Pcm) -> Transcription:
        """Return the next text."""
        text = self._texts[min(len(self.heard), len(self._texts) - 1)]
        self.heard.append(samples)
        if isinstance(text, Exception):
            raise text
        return Transcription(text, 0.0, 0.0)

    async def aclose(self) -> None:
        """Nothing to free."""
