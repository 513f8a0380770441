"""Speech to text: one utterance in, its words out."""

import asyncio
import os
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.model.clock import monotonic_ns, ms_between
from target_stack.frames import INPUT_RATE, Pcm
from target_stack.stages.worker import ModelWorker

LANGUAGE = "en"
# Whisper's window, its spectrum's frames, and how much silence it is given behind the speech, and at least in all.
WINDOW_S = 30
FRAMES_PER_S = 100
SPARE_S = 4
LEAST_S = 10
# The fastest talkers say five words a second; what writes more goes round in circles.
TOKENS_PER_S = 6
LEAST_LOG_PROBABILITY = -1.0
LOOP_RATIO = 2.0


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
    """faster-whisper, greedy; the stack's own VAD has cut the audio already.

    Whisper pads what it hears to 30 s, and its encoder reads all of it. Here it is padded by SPARE_S only: on 150 clips
    of the corpus that took 0.46 of the CPU time, with no more errors. Where such a short window is not sure of itself
    (improbable words, or the loops that small models fall into), the whole window decides.
    """

    def __init__(
        self,
        folder: Path,
        worker: ModelWorker,
        *,
        cpu_threads: int = 2,
        name: str = "tiny.en",
        device: str = "cpu",
        compute_type: str = "int8",
    ) -> None:
        self.description = f"faster-whisper {name} {compute_type} ({'CPU' if device == 'cpu' else device})"
        self._folder = folder
        self._worker = worker
        self._cpu_threads = cpu_threads
        self._device = device
        self._compute_type = compute_type
        self._model: Any = None
        self._tokenizer: Any = None
        # Utterances that the whole window had to decide.
        self.unsure = 0

    async def load(self) -> None:
        """Create the model on the worker thread, whose low priority its pool inherits, and warm it."""
        await self._worker.run(self._create)
        await self.transcribe(np.zeros(INPUT_RATE, np.int16))

    def _create(self) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        without_bars()
        from faster_whisper import WhisperModel  # noqa: PLC0415 - seconds to import, and from the cpu extra
        from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415 - same

        self._model = WhisperModel(
            str(self._folder),
            device=self._device,
            compute_type=self._compute_type,
            cpu_threads=self._cpu_threads,
            # Without it CTranslate2 recognises one at a time, whoever asks from how many threads.
            num_workers=self._worker.threads,
            local_files_only=True,
        )
        is_multilingual = self._model.model.is_multilingual
        self._tokenizer = Tokenizer(self._model.hf_tokenizer, is_multilingual, task="transcribe", language=LANGUAGE)

    async def transcribe(self, samples: Pcm) -> Transcription:
        """Return the words. Over 30 s are recognised window by window, and words at the seams are lost: cut before."""
        stop = threading.Event()
        try:
            done = await self._worker.run(self._recognise, samples, stop)
        except asyncio.CancelledError:
            # The thread goes on to the end of a window, and is then free for who still waits.
            stop.set()
            raise
        text, work_ms = done.value
        return Transcription(text, done.queue_ms, work_ms)

    def _recognise(self, samples: Pcm, stop: threading.Event) -> tuple[str, float]:
        began = monotonic_ns()
        audio = samples.astype(np.float32) / np.float32(32768)
        text = None
        if len(samples) <= (WINDOW_S - SPARE_S) * INPUT_RATE:
            text = self._in_short_window(audio)
            self.unsure += text is None
        if text is None:
            text = self._in_whole_windows(audio, stop)
        return text, ms_between(began, monotonic_ns())

    def _in_short_window(self, audio: npt.NDArray[np.float32]) -> str | None:
        """Return the words; None where they cannot be trusted."""
        spectrum = self._model.feature_extractor(audio)
        spoken = spectrum.shape[-1]
        frames = max(LEAST_S * FRAMES_PER_S, spoken + SPARE_S * FRAMES_PER_S) // 2 * 2
        encoded = self._model.encode(np.pad(spectrum, ((0, 0), (0, frames - spoken))))
        prompt = self._model.get_prompt(self._tokenizer, [], without_timestamps=True)
        most_tokens = 12 + TOKENS_PER_S * spoken // FRAMES_PER_S
        result = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=1,
            # CTranslate2 writes half as many at most.
            max_length=2 * most_tokens,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = result.sequences_ids[0]
        probability = result.scores[0] * len(tokens) / (len(tokens) + 1)
        text = str(self._tokenizer.decode(tokens)).strip()
        if len(tokens) >= most_tokens or probability < LEAST_LOG_PROBABILITY or _is_loop(text):
            return None
        return text

    def _in_whole_windows(self, audio: npt.NDArray[np.float32], stop: threading.Event) -> str:
        segments, _ = self._model.transcribe(
            audio,
            language=LANGUAGE,
            beam_size=1,
            temperature=0.0,
            vad_filter=False,
            condition_on_previous_text=False,
            without_timestamps=True,
            max_new_tokens=2 * (12 + TOKENS_PER_S * min(WINDOW_S, len(audio) // INPUT_RATE)),
        )
        texts = []
        for segment in segments:
            texts.append(segment.text.strip())
            if stop.is_set():
                break
        return " ".join(texts).strip()

    async def aclose(self) -> None:
        """Stop the worker."""
        await self._worker.aclose()


def without_bars() -> None:
    """Keep tqdm, whose hidden bars count what faster-whisper has done, from beginning a thread that never ends."""
    from tqdm import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with faster-whisper

    tqdm.monitor_interval = 0


def _is_loop(text: str) -> bool:
    """Return whether the same words come again and again: they compress too well (Whisper's own test, at 2.4)."""
    raw = text.encode()
    return len(raw) / max(1, len(zlib.compress(raw))) > LOOP_RATIO


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
