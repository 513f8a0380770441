"""Synthetic callers: Kokoro voices speaking English, with an accent's sounds where one is asked for."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.corpus.audio import Pcm, resample
from harness.corpus.recipe import AccentSpec
from harness.model.errors import ScenarioError

KOKORO_RATE = 24000
RATE = 48000


class Synthesiser:
    """Text to 48 kHz speech. Equal calls give equal samples."""

    def __init__(self, model: Path, voices: Path, seed: int) -> None:
        # onnxruntime phones home unless told not to before its import.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        try:
            import kokoro_onnx  # noqa: PLC0415  heavy, and only of the corpus extra
            import onnxruntime  # noqa: PLC0415  same
        except ImportError as error:
            raise ScenarioError(
                f"building a corpus needs `pip install -e '.[corpus]'` in the checkout: {error}"
            ) from error
        onnxruntime.set_seed(seed % 2**31)
        self._kokoro = kokoro_onnx.Kokoro(str(model), str(voices))
        with np.load(voices) as archive:
            self._voices = sorted(archive.files)

    @property
    def voices(self) -> list[str]:
        """Names of the voices at hand."""
        return self._voices

    def speak(self, text: str, speaker: str, accent: AccentSpec, speed: float = 1.0) -> Pcm:
        """Say `text`; int16 mono at RATE, shape (samples,), with the model's own silence around it."""
        if speaker not in self.voices:
            raise ScenarioError(f"speaker {speaker!r}: no such voice; legal: {', '.join(self.voices)}")
        phonemes = with_accent(self._kokoro.tokenizer.phonemize(text, accent.language), accent.substitutions)
        unknown = {p for p in phonemes if p not in self._kokoro.tokenizer.vocab}
        if unknown:
            raise ScenarioError(f"{text!r}: the voice model has no phoneme {''.join(sorted(unknown))!r} ({phonemes})")
        audio, _ = self._kokoro.create(phonemes, speaker, speed=speed, is_phonemes=True, trim=False)
        return resample(_to_int16(audio), KOKORO_RATE, RATE)


def with_accent(phonemes: str, substitutions: Iterable[tuple[str, str]]) -> str:
    """Apply an accent's (pattern, replacement) pairs in order to a phoneme string."""
    for pattern, replacement in substitutions:
        phonemes = re.sub(pattern, replacement, phonemes)
    return phonemes


def _to_int16(audio: NDArray[np.floating]) -> Pcm:
    """Half of full scale at the peak: room for the resampler's overshoot; the builder sets the level later."""
    peak = float(np.max(np.abs(audio))) or 1.0
    return np.round(audio * (16384 / peak)).astype(np.int16)
