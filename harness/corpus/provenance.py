"""With what a corpus was built: says why a rebuild elsewhere may give other bytes."""

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

from harness.corpus.build_cache import file_hash, key_of, versions
from harness.corpus.recipe import Recipe

NAME = "build.json"
_PACKAGES = ("av", "kokoro-onnx", "numpy", "onnxruntime", "pydub", "pyroomacoustics", "scipy", "soundfile")


def provenance(recipe: Recipe, weights: tuple[Path, Path] | None) -> dict[str, Any]:
    """Return hashes of recipe, model and voices, versions of the packages that make samples, and the processor."""
    found: dict[str, Any] = {"recipe_sha256": key_of(recipe.model_dump(mode="json"))}
    if weights is not None:
        model, voices = weights
        found |= {"model_sha256": file_hash(model), "voices_sha256": _voices_hash(voices)}
    return found | {"packages": versions(*_PACKAGES), "processor": processor()}


def _voices_hash(file: Path) -> str:
    """Hash the voices themselves: archives of equal ones differ by order and packing."""
    with np.load(file) as voices:
        return key_of(*(part for name in sorted(voices.files) for part in (name, voices[name].tobytes())))


def write_provenance(folder: Path, found: dict[str, Any]) -> None:
    """Write it beside a manifest."""
    (folder / NAME).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return what stands beside a manifest; {} where nothing does."""
    try:
        found: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def processor() -> str:
    """Return the processor's name as Linux tells it, else the machine's kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
