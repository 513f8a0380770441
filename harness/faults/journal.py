"""What is to be undone should we be killed: one file a fault, on disk before anything is done.

A file is written beside, synced, renamed and its folder synced, so that after a power cut there is all of it or nothing
was done. It is removed when the fault is undone. Its owner is the process that undoes it as long as that lives; of one
whose owner is gone the next command of Callquake does what stands in it. What a user asked to be kept has no owner:
only `callquake fault stop` undoes it.
"""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
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
    # Where it was injected; a home directory may be shared.
    host: str = ""
    version: int = VERSION


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return where this user's state is: $CALLQUAKE_STATE, else below $XDG_STATE_HOME or ~/.local/state."""
    given = environ.get(STATE_VARIABLE)
    if given:
        return Path(given)
    base = environ.get("XDG_STATE_HOME")
    if base:
        return Path(base) / "callquake"
    try:
        return Path.home() / ".local" / "state" / "callquake"
    except RuntimeError:
        # A user without a home, as in some containers: nothing can have been left there, nor can anybody else leave it.
        return Path("/.callquake")


class Journal:
    """The entries in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "faults"

    def write(self, entry: Entry) -> None:
        """Put an entry on disk, for good. Raises OSError."""
        self._put(entry, os.replace)

    def _put(self, entry: Entry, place: Callable[[Path, Path], None]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.path(entry.id)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        # It may name the tokens of hooks.
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(to_json(entry), file)
            file.flush()
            os.fsync(file.fileno())
        try:
            place(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        self._sync_folder()

    def add(self, entry: Entry) -> Entry:
        """Put a new entry on disk, under another id where one of its name is there; return it. Raises OSError.

        Two faults of one name, of two runs of one name, must both be undone.
        """
        number, found = 1, entry
        while True:
            try:
                # Whole or not at all, and never over somebody else's.
                self._put(found, os.link)
            except FileExistsError:
                number += 1
                found = replace(entry, id=f"{entry.id}.{number}")
            else:
                return found

    def remove(self, name: str) -> None:
        """Forget an entry; one that is not there is no error."""
        with contextlib.suppress(FileNotFoundError):
            self.path(name).unlink()
            self._sync_folder()

    def keep(self, entry: Entry) -> None:
        """Let an entry outlive its owner: a user wants it to go on."""
        self.write(replace(entry, owner=None))

    def entries(self) -> list[Entry]:
        """Return what is there, the oldest first; a file that nobody can read is left alone."""
        found = (entry for _, entry in self._files() if entry is not None)
        return sorted(found, key=lambda entry: entry.started_at)

    def unreadable(self) -> list[Path]:
        """Return the files that nobody can read: what would undo their faults is not known."""
        return [path for path, entry in self._files() if entry is None]

    def left_behind(self) -> list[Entry]:
        """Return the entries whose owner is gone. Another machine's, in a shared home, are that one's own."""
        here = host_name()
        owned = ((entry, entry.owner) for entry in self.entries() if entry.owner is not None)
        return [entry for entry, owner in owned if owner.host == here and not is_alive(owner)]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from undoing what this one undoes: a process must not be started twice."""
        with contextlib.ExitStack() as stack:
            # Where a file system knows no locks, to undo twice is better than not at all.
            with contextlib.suppress(OSError):
                file = stack.enter_context((self.folder / ".lock").open("a"))
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def by_hand(self, entry: Entry) -> str:
        """Return what to do about an entry that cannot be undone."""
        return f"if you undo it by hand: rm {self.path(entry.id)}"

    def _files(self) -> list[tuple[Path, Entry | None]]:
        found: list[tuple[Path, Entry | None]] = []
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            try:
                found.append((path, from_json(Entry, json.loads(path.read_text(encoding="utf-8")))))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, KeyError):
                found.append((path, None))
        return found

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

    def path(self, name: str) -> Path:
        """Return the file of the entry of that id."""
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
    try:
        for path in journal.unreadable():
            tell(
                f"faults: {path} cannot be read: what it would undo may be broken still; see to it, and remove the file"
            )
        if not journal.left_behind():
            return 0
        with journal.locked():
            return _undo_all(journal, environ, tell)
    except OSError as error:
        tell(f"faults: {journal.folder} cannot be read: {error}")
        return 1


def _undo_all(journal: Journal, environ: Mapping[str, str], tell: Callable[[str], None]) -> int:
    failed = 0
    for entry in journal.left_behind():
        pid = entry.owner.pid if entry.owner is not None else 0
        try:
            journal.undo(entry, environ)
            tell(f"undid {entry.about} (fault {entry.id}), which process {pid} had left behind")
        except (RevertError, OSError) as error:
            failed += 1
            tell(
                f"fault {entry.id}, left behind by process {pid}, is still in force: {error}; {journal.by_hand(entry)}"
            )
    return failed


def new_entry(name: str, kind: str, about: str, started_at: str, reverts: tuple[Revert, ...], run: str = "") -> Entry:
    """Return an entry of this process."""
    return Entry(name, kind, about, started_at, this_process(), reverts, run, host=host_name())
