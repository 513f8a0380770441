"""A local faster-whisper model that hears clips outside of any call, as the bundled agent's STT hears its callers.

Same options and same quantisation as the agent's: int8, greedy, one pass without fallbacks, no timestamps, no VAD, no
context between clips. Whisper pads every clip to 30 s, so one takes the same time however short it is; the model runs
`workers` clips at once on a thread each, which is faster than one clip on all cores and gives the same text.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.corpus.audio import Pcm
from harness.model.errors import ScenarioError

RATE = 16_000
OPTIONS: dict[str, Any] = {
    "language": "en",
    "beam_size": 1,
    "temperature": 0.0,
    "vad_filter": False,
    "condition_on_previous_text": False,
    "without_timestamps": True,
}
COMPUTE_TYPE = "int8"


@dataclass(frozen=True, slots=True)
class SttIdentity:
    """Which recogniser: what must be equal for two transcripts to be of one."""

    name: str
    # Of the weights.
    sha256: str
    options: str
    software: str

    @property
    def key(self) -> str:
        """A short name of all of it."""
        said = f"{self.sha256}\n{self.options}\n{self.software}"
        return hashlib.sha256(said.encode()).hexdigest()[:20]

    def __str__(self) -> str:
        return f"{self.software}, {self.name} (model.bin sha256 {self.sha256[:12]}), {self.options}"


class Transcriber(Protocol):
    """Hears samples; may be asked from several threads at once."""

    @property
    def identity(self) -> SttIdentity:
        """Which recogniser this is."""

    def transcribe(self, samples: Pcm) -> str:
        """Return the words of int16 mono at RATE."""


class OfflineStt:
    """faster-whisper on the CPU; reads its weights at once."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        """Load the weights; ScenarioError where `folder` is no model or faster-whisper is not installed."""
        weights = folder / "model.bin"
        if not weights.is_file():
            raise ScenarioError(f"{folder}: holds no model.bin; `callquake models fetch` gets a faster-whisper model")
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        try:
            from faster_whisper import WhisperModel  # noqa: PLC0415  heavy, and only of the cpu extra
        except ImportError as error:
            raise ScenarioError(f"transcribing needs `pip install -e '.[cpu]'` in the checkout: {error}") from error
        self.identity = SttIdentity(
            name=folder.resolve().name,
            sha256=_sha256_of(weights),
            options=f"{COMPUTE_TYPE}, " + ", ".join(f"{k}={json.dumps(v)}" for k, v in OPTIONS.items()),
            software=f"faster-whisper {version('faster-whisper')}, ctranslate2 {version('ctranslate2')}",
        )
        self._model = WhisperModel(
            str(folder),
            device="cpu",
            compute_type=COMPUTE_TYPE,
            cpu_threads=1,
            num_workers=max(1, workers),
            local_files_only=True,
        )

    def transcribe(self, samples: Pcm) -> str:
        """Return the words of int16 mono at RATE; longer than 30 s is heard window by window."""
        segments, _ = self._model.transcribe(samples.astype(np.float32) / 32768, **OPTIONS)
        return " ".join(segment.text.strip() for segment in segments).strip()


def default_model_dir() -> Path:
    """Return where `callquake models fetch` puts Whisper tiny.en: in $CALLQUAKE_MODELS, else in the user's cache."""
    chosen = os.environ.get("CALLQUAKE_MODELS")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(chosen) if chosen else base / "callquake" / "models") / "whisper-tiny.en"


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
