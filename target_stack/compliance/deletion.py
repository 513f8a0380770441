"""Deletion that leaves nothing: a call's folder, its rows, a caller's consents, and the pages and logs they were on."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from target_stack.compliance.pseudonym import Pseudonyms
from target_stack.compliance.recording.erase import Erased
from target_stack.compliance.recording.folders import CallFolders
from target_stack.compliance.store import ConsentStore, KeptCall


@dataclass
class Deleted:
    """What a deletion did. A call in `failed` is still there, row and all: its files could not be removed."""

    calls: int = 0
    rows: int = 0
    erased: Erased = field(default_factory=Erased)
    failed: list[str] = field(default_factory=list)

    @property
    def is_anything(self) -> bool:
        """Tell whether something was deleted."""
        return bool(self.calls or self.rows)


class Deletion:
    """Every method ends with a purge of the store when anything was deleted. Raises StoreError.

    `always_purges`: also when nothing was, for an earlier purge may have failed, or never come.
    """

    def __init__(
        self, store: ConsentStore, folders: CallFolders, pseudonyms: Pseudonyms, *, always_purges: bool = False
    ) -> None:
        self._store = store
        self._folders = folders
        self._pseudonyms = pseudonyms
        self._always_purges = always_purges

    def of_caller(self, name: str, at: datetime, reason: str = "request") -> Deleted:
        """Delete everything of a caller, consents included: number or account, or the pseudonym that stands for it."""
        done = Deleted()
        for caller in dict.fromkeys((self._pseudonyms.of(name), name)):
            self._calls(self._store.kept(caller=caller), at, reason, done)
            if not done.failed:
                done.rows += self._store.forget_consents(caller, at, reason)
        return self._purged(done)

    def of_call(self, call_id: str, at: datetime, reason: str = "request") -> Deleted:
        """Delete what is kept of the calls with this name (or key), and what was answered in them."""
        done = Deleted()
        self._calls(self._store.kept(call_id=call_id), at, reason, done)
        done.rows += self._store.forget_words(call_id)
        return self._purged(done)

    def of_kept(self, calls: Iterable[KeptCall], at: datetime, reason: str) -> Deleted:
        """Delete these calls."""
        done = Deleted()
        self._calls(calls, at, reason, done)
        return self._purged(done)

    def due(self, now: datetime, proof: timedelta) -> Deleted:
        """Delete every call that is due, and consents that ended longer than `proof` ago."""
        done = Deleted()
        self._calls(self._store.kept(due=now), now, None, done)
        for caller in self._store.callers_past(now - proof):
            done.rows += self._store.forget_consents(caller, now, "proof no longer needed")
        return self._purged(done)

    def _calls(self, calls: Iterable[KeptCall], at: datetime, reason: str | None, done: Deleted) -> None:
        for call in calls:
            try:
                erased = self._folders.erase(call.key)
            except OSError as error:
                done.failed.append(f"{self._folders.of(call.key)}: {error}")
                continue
            detail: dict[str, str | int] = {"files": erased.files, "bytes": erased.bytes}
            self._store.forget_call(call, at, reason or call.reason, detail)
            done.calls += 1
            done.erased += erased
            self._erase_late(call, done)

    def _erase_late(self, call: KeptCall, done: Deleted) -> None:
        """Erase a folder that was made after its call was found to have none: its maker then still saw the row."""
        try:
            done.erased += self._folders.erase(call.key)
        except OSError as error:
            done.failed.append(f"{self._folders.of(call.key)}: {error}")

    def _purged(self, done: Deleted) -> Deleted:
        if done.is_anything or self._always_purges:
            self._store.purge()
        return done
