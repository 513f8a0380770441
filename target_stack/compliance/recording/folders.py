"""Where calls are kept: FOLDER/calls/YYYY-MM-DD/KEY/, one folder a call, its name the call's key in the store."""

import contextlib
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from harness.model.errors import LocalProtocolError
from target_stack.compliance.recording.erase import Erased, erase_tree

_TRIES = 3
_KEY = re.compile(r"(\d{4})(\d{2})(\d{2})T\d{6}Z-[0-9a-f]{16}")


def new_key(at: datetime) -> str:
    """Return the key of a call that starts now: it sorts by time and says nothing of the caller."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}"


class CallFolders:
    """All calls kept below `root`."""

    def __init__(self, root: Path) -> None:
        self._calls = root / "calls"

    def of(self, key: str) -> Path:
        """Return the folder of a call, there or not."""
        found = _KEY.fullmatch(key)
        if found is None:
            raise LocalProtocolError(f"{key!r} is no key of a call")
        return self._calls / "-".join(found.groups()) / key

    def make(self, key: str) -> Path:
        """Make the folder of a call, for its owner only."""
        folder = self.of(key)
        for left in reversed(range(_TRIES)):
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                break
            except FileNotFoundError:
                # The day's folder went with its last call in this instant.
                if not left:
                    raise
        return folder

    def erase(self, key: str) -> Erased:
        """Erase a call, and its day's folder with its last call. Raises OSError."""
        folder = self.of(key)
        erased = erase_tree(folder)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()
        return erased

    def __iter__(self) -> Iterator[Path]:
        """Yield every folder in the place of a call's."""
        if self._calls.is_dir():
            for day in sorted(self._calls.iterdir()):
                with contextlib.suppress(FileNotFoundError):
                    yield from sorted(day.iterdir()) if day.is_dir() else [day]
