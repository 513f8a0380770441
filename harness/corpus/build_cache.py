"""What a build has already made, so that one cut short goes on where it stopped.

Files are named by a hash of all that goes into them: change anything, and another file is meant. They appear whole or
not at all, and no build ever reads half a one.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from harness.corpus.audio import Pcm

_MAKERS = ("audio.py", "clip_maker.py", "edges.py", "framing.py", "levels.py", "voicing.py")


def default_cache_dir() -> Path:
    """$XDG_CACHE_HOME/callquake/corpus."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "callquake" / "corpus"


class BuildCache:
    """Speech and clips under `directory`, by key."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def has(self, kind: str, key: str, suffix: str) -> bool:
        """Whether it was made already."""
        return self._path(kind, key, suffix).is_file()

    def samples(self, kind: str, key: str, make: Callable[[], Pcm]) -> Pcm:
        """Return the samples of a key, made now where they are not there yet."""
        path = self._path(kind, key, ".npy")
        if not path.is_file():
            pcm = make()
            self._put(path, lambda target: _save(target, pcm))
        loaded: Pcm = np.load(path)
        return loaded

    def file(self, kind: str, key: str, suffix: str, make: Callable[[Path], None]) -> Path:
        """Return the file of a key; `make` writes it to the path it is given where it is not there yet."""
        path = self._path(kind, key, suffix)
        if not path.is_file():
            self._put(path, make)
        return path

    def forget(self, kind: str, key: str, suffix: str) -> None:
        """Remove a file, where it is."""
        with suppress(FileNotFoundError):
            self._path(kind, key, suffix).unlink()

    def _path(self, kind: str, key: str, suffix: str) -> Path:
        return self._directory / kind / key[:2] / f"{key}{suffix}"

    @staticmethod
    def _put(path: Path, write: Callable[[Path], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{os.getpid()}-{path.name}")
        try:
            write(unfinished)
            unfinished.replace(path)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()


def _save(target: Path, pcm: Pcm) -> None:
    with target.open("wb") as file:
        np.save(file, pcm)


def key_of(*parts: Any) -> str:
    """Hash what goes into a file: texts, numbers, lists, objects of them, bytes."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


@lru_cache(maxsize=4)
def versions(*packages: str) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@lru_cache(maxsize=16)
def file_hash(path: Path) -> str:
    """sha256 of a file, read once a process."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def code_hash() -> str:
    """Hash of the code that makes clips: with it, what was made by other code is not taken for this one's."""
    folder = Path(__file__).parent
    own = [folder / name for name in _MAKERS]
    return key_of(*(file.read_bytes() for file in [*own, *sorted((folder / "conditions").rglob("*.py"))]))
