"""Synthetic callers: Kokoro voices speaking English, with an accent's sounds where one is asked for."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.corpus.accents import AccentSpec, with_accent
from harness.corpus.audio import Pcm, resample
from harness.corpus.build_cache import BuildCache, file_hash, key_of, versions
from harness.model.errors import ScenarioError

KOKORO_RATE = 24000
RATE = 48000
# Of the samples below; another value makes every cached one unknown.
_MADE_BY = "speech-1"
_PACKAGES = ("av", "kokoro-onnx", "numpy", "onnxruntime")
_CLAUSE_ENDS = ",;:.!?…"


class Synthesiser:
    """Text to 48 kHz speech. Equal calls give equal samples, whatever was said before; what was said is kept.

    The model is loaded by the first call that finds nothing kept.
    """

    def __init__(self, model: Path, voices: Path, cache: BuildCache) -> None:
        # onnxruntime phones home unless told not to before its import.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        try:
            from kokoro_onnx.tokenizer import Tokenizer  # noqa: PLC0415  heavy, and only of the corpus extra
        except ImportError as error:
            raise ScenarioError(
                f"building a corpus needs `pip install -e '.[corpus]'` in the checkout: {error}"
            ) from error
        self._model, self._voices_file, self._cache = model, voices, cache
        self._tokenizer = Tokenizer()
        self._kokoro: Any = None
        with np.load(voices) as archive:
            self._voices = {name: archive[name] for name in sorted(archive.files)}

    @property
    def voices(self) -> list[str]:
        """Names of the voices at hand."""
        return list(self._voices)

    def phonemes(self, text: str, accent: AccentSpec, *, goes_on: bool = False) -> str:
        """`text` as the voice gets it; one that `goes_on` after a silence is not said like a sentence's end."""
        plain = self._tokenizer.phonemize(text, accent.language).strip()
        if goes_on and not plain.endswith(tuple(_CLAUSE_ENDS)):
            plain += ","
        return with_accent(plain, accent.rules)

    def key(self, phonemes: str, speaker: str, speed: float = 1.0) -> str:
        """Name what `say` returns by everything that goes into it. ScenarioError for an unknown voice."""
        if speaker not in self._voices:
            raise ScenarioError(f"speaker {speaker!r}: no such voice; legal: {', '.join(self.voices)}")
        voice = self._voices[speaker].tobytes()
        return key_of(_MADE_BY, phonemes, speed, voice, file_hash(self._model), versions(*_PACKAGES))

    def say(self, phonemes: str, speaker: str, speed: float = 1.0) -> Pcm:
        """Speak a phoneme string; int16 mono at RATE, shape (samples,), with the model's own silence around it."""
        key = self.key(phonemes, speaker, speed)
        return self._cache.samples("speech", key, lambda: self._make(phonemes, speaker, speed))

    def _make(self, phonemes: str, speaker: str, speed: float) -> Pcm:
        kokoro = self._loaded()
        unknown = {p for p in phonemes if p not in kokoro.tokenizer.vocab}
        if unknown:
            raise ScenarioError(f"the voice model has no phoneme {''.join(sorted(unknown))!r} (in {phonemes})")
        audio, _ = kokoro.create(phonemes, speaker, speed=speed, is_phonemes=True, trim=False)
        return resample(_to_int16(audio), KOKORO_RATE, RATE)

    def _loaded(self) -> Any:
        if self._kokoro is None:
            import kokoro_onnx  # noqa: PLC0415  as above
            import onnxruntime  # noqa: PLC0415  same

            # The model draws its noise from a generator that it makes anew in every session.
            onnxruntime.set_seed(0)
            options = onnxruntime.SessionOptions()
            # Sums are taken in the same order on a machine of any number of cores; builds use one process a core.
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            session = onnxruntime.InferenceSession(str(self._model), options, providers=["CPUExecutionProvider"])
            self._kokoro = kokoro_onnx.Kokoro.from_session(session, str(self._voices_file))
        return self._kokoro


def _to_int16(audio: NDArray[np.floating]) -> Pcm:
    """Half of full scale for 1.0: room for the resampler's overshoot; the builder sets the level later."""
    levelled: Pcm = np.round(np.clip(audio, -1.9, 1.9) * 16384).astype(np.int16)
    return levelled
