"""Text to speech: one sentence in, its samples out."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.model.clock import monotonic_ns, ms_between
from target_stack.frames import SPEECH_RATE, Pcm
from target_stack.stages.worker import ModelWorker

VOICES = Path(__file__).with_name("voices")
DEFAULT_VOICE = "af_heart"

# Silence left before the first sound, so that a soft consonant is not cut.
LEAD_IN_MS = 20
# Relative to full scale: Kokoro's floor lies at about 0.001, its soft onsets above 0.01.
AUDIBLE = 0.01


@dataclass(frozen=True, slots=True)
class Speech:
    """int16 mono at SPEECH_RATE, and how much of the time was waiting for a free synthesiser."""

    samples: Pcm
    queue_ms: float
    work_ms: float


class TextToSpeech(Protocol):
    """Speaks sentences; shared by all calls."""

    description: str

    async def load(self) -> None:
        """Read the weights and run once, so that the first caller does not pay for it."""

    async def synthesise(self, sentence: str) -> Speech:
        """Return the speech of one sentence. Raises QueueFullError when too many wait."""

    async def aclose(self) -> None:
        """Free the threads."""


def trim_lead(samples: npt.NDArray[np.float32], rate: int = SPEECH_RATE) -> npt.NDArray[np.float32]:
    """Cut the silence before the first audible sample down to LEAD_IN_MS; silence throughout stays whole."""
    audible = np.flatnonzero(np.abs(samples) > AUDIBLE)
    if not audible.size:
        return samples
    return samples[max(0, int(audible[0]) - rate * LEAD_IN_MS // 1000) :]


def to_int16(samples: npt.NDArray[np.floating[Any]]) -> Pcm:
    """Scale -1..1 to int16, clipped."""
    scaled: Pcm = (np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
    return scaled


class Voice(Protocol):
    """A model that speaks several sentences at a time. It blocks: called on a worker's thread, one call at a time."""

    description: str

    def load(self) -> None:
        """Read the weights and run once."""

    def speak(self, sentences: Sequence[str]) -> list[Pcm | Exception]:
        """Return each sentence's speech, int16 mono at SPEECH_RATE, its leading silence trimmed; or its own error."""


class KokoroOnnx:
    """Kokoro-82M int8 ONNX through kokoro-onnx, one voice. The graph takes one sentence: several go one by one."""

    def __init__(self, model: Path, *, voice: str = DEFAULT_VOICE, cpu_threads: int = 2) -> None:
        self.description = f"Kokoro-82M int8 ONNX, voice {voice} (CPU)"
        self._model_path = model
        self._voice_path = VOICES / f"{voice}.npy"
        self._cpu_threads = cpu_threads
        self._kokoro: Any = None
        self._style: Any = None

    def load(self) -> None:
        """Create the session, whose pool inherits this thread's priority."""
        # onnxruntime reads this when it is imported; without it it looks for its telemetry host.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime  # noqa: PLC0415 - slow to import, and from the cpu extra
        from kokoro_onnx import Kokoro  # noqa: PLC0415 - same

        # It warns of every word that espeak splits; nobody can act on that.
        logging.getLogger("phonemizer").setLevel(logging.ERROR)

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._cpu_threads
        options.inter_op_num_threads = 1
        # Spinning threads would hold both cores between sentences.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(self._model_path), options, providers=["CPUExecutionProvider"])
        self._kokoro = Kokoro.from_session(session, str(self._voice_path))
        self._style = np.load(self._voice_path)
        self.speak_one("Hello.")

    def speak(self, sentences: Sequence[str]) -> list[Pcm | Exception]:
        """Return each sentence's speech."""
        return [_speech_or_error(self.speak_one, sentence) for sentence in sentences]

    def speak_one(self, sentence: str) -> Pcm:
        """Return the speech of one sentence."""
        samples, _ = self._kokoro.create(sentence, voice=self._style, lang="en-us")
        return to_int16(trim_lead(samples))


def _speech_or_error(speak: Callable[[str], Pcm], sentence: str) -> Pcm | Exception:
    try:
        return speak(sentence)
    except Exception as error:  # noqa: BLE001 - it is this sentence's own, and raised where it was asked for
        return error


class KokoroTts:
    """Kokoro-82M int8 ONNX, a sentence at a time."""

    def __init__(self, model: Path, worker: ModelWorker, *, voice: str = DEFAULT_VOICE, cpu_threads: int = 2) -> None:
        self._voice = KokoroOnnx(model, voice=voice, cpu_threads=cpu_threads)
        self.description = self._voice.description
        self._worker = worker

    async def load(self) -> None:
        """Create the session on the worker thread, whose low priority its pool inherits, and warm it."""
        await self._worker.run(self._voice.load)

    async def synthesise(self, sentence: str) -> Speech:
        """Return the speech, its leading silence trimmed."""
        done = await self._worker.run(self._speak, sentence)
        samples, work_ms = done.value
        return Speech(samples, done.queue_ms, work_ms)

    def _speak(self, sentence: str) -> tuple[Pcm, float]:
        began = monotonic_ns()
        return self._voice.speak_one(sentence), ms_between(began, monotonic_ns())

    async def aclose(self) -> None:
        """Stop the worker."""
        await self._worker.aclose()


class ScriptedTts:
    """A tone of 60 ms per character, at once; a sentence in `failing` raises RuntimeError."""

    description = "scripted"

    def __init__(self, failing: frozenset[str] = frozenset()) -> None:
        self.failing = failing
        self.spoken: list[str] = []

    async def load(self) -> None:
        """Nothing to load."""

    async def synthesise(self, sentence: str) -> Speech:
        """Return the tone."""
        if sentence in self.failing:
            raise RuntimeError("scripted failure")
        self.spoken.append(sentence)
        time_s = np.arange(len(sentence) * SPEECH_RATE * 60 // 1000) / SPEECH_RATE
        return Speech(to_int16(np.sin(2 * np.pi * 440 * time_s).astype(np.float32) / 2), 0.0, 0.0)

    async def aclose(self) -> None:
        """Nothing to free."""
