"""A store with its folders, and a search for what must not be there any more."""

from datetime import UTC, datetime, timedelta

from target_stack.compliance.consent import Evidence, Step
from target_stack.compliance.database import open_database
from target_stack.compliance.deletion import Deletion
from target_stack.compliance.pseudonym import open_pseudonyms
from target_stack.compliance.recording.folders import CallFolders, new_key
from target_stack.compliance.store import ConsentStore, KeptCall
from target_stack.compliance.words import Activity, Form

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Desk:
    """What the commands and the stack work on; `with` closes it."""

    def __init__(self, folder, store=None):
        self.folder = folder
        self.pseudonyms = open_pseudonyms(folder)
        self.database = open_database(store or str(folder / "compliance.sqlite"))
        self.store = ConsentStore(self.database, self.pseudonyms.of)
        self.folders = CallFolders(folder)
        self.deletion = Deletion(self.store, self.folders, self.pseudonyms)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.store.close()

    def give(
        self, caller, activity=Activity.RECORD, *, at=NOW, region="US-CA", words="yes you may", call_id="", key=""
    ):
        evidence = Evidence(at, region, call_id, Form.VOICE, "May we record this call?", words)
        return self.store.take(self.pseudonyms.of(caller), activity, Step.GIVE, evidence, at + timedelta(days=365), key)

    def keep(self, caller, call_id, *, at=NOW, days=90, files=None):
        """Keep a call with these files' bytes in its folder."""
        call = KeptCall(
            new_key(at), call_id, self.pseudonyms.of(caller), "US-CA", "inbound", at, at + timedelta(days=days)
        )
        self.store.keep(call)
        folder = self.folders.make(call.key)
        for name, data in (files or {}).items():
            (folder / name).write_bytes(data)
        return call


def found_in(folder, *needles):
    """Return the files below `folder` that hold any of these bytes."""
    return sorted(
        f"{path.relative_to(folder)}: {needle[:24]!r}"
        for path in folder.rglob("*")
        if path.is_file()
        for needle in needles
        if needle in path.read_bytes()
    )
