"""What is to be undone should we be killed: one file a fault, on disk before anything is done.

A file is written beside, synced, renamed and its folder synced, so that after a power cut there is all of it or nothing
was done. It is removed when the fault is undone. Its owner is the process that undoes it as long as that lives; of one
whose owner is gone the next command of Callquake does what stands in it. What a user asked to be kept has no owner:
only `callquake fault stop` undoes it.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.faults.owner import Owner, host_name, is_alive, this_process
from harness.faults.reverts import Revert, RevertError, undo
from harness.model.codec import from_json, to_json

STATE_VARIABLE = "CALLQUAKE_STATE"
VERSION = 1
_SAFE = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault in force, or about to be."""

    # Unique among all runs of this user.
    id: str
    kind: str
    about: str
    started_at: str
    # None: kept on a user's wish.
    owner: Owner | None
    reverts: tuple[Revert, ...] = ()
    # Run directory, "" outside of a run.
    run: str = ""
    parameters: dict[str, object] = field(default_factory=dict)
    version: int = VERSION


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return where this user's state is: $CALLQUAKE_STATE, else below $XDG_STATE_HOME or ~/.local/state."""
    given = environ.get(STATE_VARIABLE)
    if given:
        return Path(given)
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "callquake"


class Journal:
    """The entries in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "faults"

    def write(self, entry: Entry) -> None:
        """Put an entry on disk, for good. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(entry.id)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        # It may name the tokens of hooks.
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(to_json(entry), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        self._sync_folder()

    def remove(self, name: str) -> None:
        """Forget an entry; one that is not there is no error."""
        with contextlib.suppress(FileNotFoundError):
            self._path(name).unlink()
            self._sync_folder()

    def keep(self, entry: Entry) -> None:
        """Let an entry outlive its owner: a user wants it to go on."""
        self.write(replace(entry, owner=None))

    def entries(self) -> list[Entry]:
        """Return what is there, the oldest first; a file that nobody can read is left alone."""
        found = []
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                found.append(from_json(Entry, json.loads(path.read_text(encoding="utf-8"))))
        return sorted(found, key=lambda entry: entry.started_at)

    def left_behind(self) -> list[Entry]:
        """Return the entries whose owner is gone. Another machine's, in a shared home, are that one's own."""
        here = host_name()
        owned = ((entry, entry.owner) for entry in self.entries() if entry.owner is not None)
        return [entry for entry, owner in owned if owner.host == here and not is_alive(owner)]

    def undo(self, entry: Entry, environ: Mapping[str, str]) -> None:
        """Do what undoes it, the last thing first, and forget it. Raises RevertError; what failed stays written."""
        problems = []
        for revert in reversed(entry.reverts):
            try:
                undo(revert, environ)
            except RevertError as error:
                problems.append(str(error))
        if problems:
            raise RevertError("; ".join(problems))
        self.remove(entry.id)

    def _path(self, name: str) -> Path:
        return self.folder / f"{_SAFE.sub('_', name)}.json"

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replay(environ: Mapping[str, str], tell: Callable[[str], None]) -> int:
    """Undo what runs that are gone have left behind; return how many faults could not be undone. Never raises.

    Cheap where there is nothing: every command of Callquake begins with it.
    """
    journal = Journal(state_folder(environ))
    failed = 0
    try:
        left = journal.left_behind()
    except OSError as error:
        tell(f"faults: {journal.folder} cannot be read: {error}")
        return 1
    for entry in left:
        pid = entry.owner.pid if entry.owner is not None else 0
        try:
            # Two commands may begin at once: what is undone twice is undone.
            journal.undo(entry, environ)
            tell(f"undid {entry.about} (fault {entry.id}), which process {pid} had left behind")
        except (RevertError, OSError) as error:
            failed += 1
            tell(f"fault {entry.id}, left behind by process {pid}, is still in force: {error}")
    return failed


def new_entry(name: str, kind: str, about: str, started_at: str, reverts: tuple[Revert, ...], run: str = "") -> Entry:
    """Return an entry of this process."""
    return Entry(name, kind, about, started_at, this_process(), reverts, run)
