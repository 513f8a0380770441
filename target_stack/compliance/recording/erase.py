"""Deletes files so that their bytes are not simply left behind: overwritten, written out, then removed.

A file system that copies on write, an SSD, a snapshot or a backup may keep what was overwritten; no program can tell.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 20
# A recording that begins meanwhile may put its few files into the folder, one after the other.
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Erased:
    """How much is gone."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: "Erased") -> "Erased":
        """Return both together."""
        return Erased(self.files + other.files, self.bytes + other.bytes)


def erase_tree(folder: Path) -> Erased:
    """Erase a folder with all in it; one that is not there is nothing to erase. Raises OSError."""
    if folder.is_symlink() or not folder.is_dir():
        return Erased()
    erased = Erased()
    for left in reversed(range(_TRIES)):
        erased += _erase_files(folder)
        try:
            _remove_folders(folder)
            break
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or not left:
                raise
    _sync(folder.parent)
    return erased


def _erase_files(folder: Path) -> Erased:
    erased = Erased()
    for parent, folders, names in os.walk(folder, topdown=False):
        # A link to a folder is walked as one and removed as a file.
        for name in [*names, *(name for name in folders if (Path(parent) / name).is_symlink())]:
            erased += _erase(Path(parent) / name)
    return erased


def _remove_folders(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        Path(parent).rmdir()


def _erase(path: Path) -> Erased:
    # A link's target is not ours.
    size = 0 if path.is_symlink() else path.stat().st_size
    if size:
        with path.open("r+b", buffering=0) as file:
            for start in range(0, size, _BLOCK):
                file.write(bytes(min(_BLOCK, size - start)))
            os.fsync(file.fileno())
    path.unlink()
    return Erased(1, size)


def _sync(folder: Path) -> None:
    """Let the removal itself reach the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
