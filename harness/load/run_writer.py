"""Records to disk as they arrive: one JSON line each, handed to the kernel at once, so a killed run keeps its rows."""

import json
from pathlib import Path
from typing import IO, Any

from harness.scenario.run_dir import RUN_FILE, write_json

FILES = {"call": "calls.jsonl", "turn": "turns.jsonl", "health": "health.jsonl", "fault": "faults.jsonl"}
# There from the first such record on; the others from the run's begin.
_WHERE_THERE_ARE_ANY = frozenset({"fault"})


class RunWriter:
    """Owns the files of one run directory."""

    def __init__(self, run_dir: Path, info: dict[str, Any]) -> None:
        self.run_dir = run_dir
        self.info = info
        self._files: dict[str, IO[str]] = {}
        self._is_open = False

    def open(self) -> None:
        """Create the directory, empty record files and run.json."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        for kind in FILES.keys() - _WHERE_THERE_ARE_ANY:
            self._open(kind)
        self._is_open = True
        self.save_info()

    def _open(self, kind: str) -> None:
        self._files[kind] = (self.run_dir / FILES[kind]).open("a", encoding="utf-8")

    def write(self, kind: str, row: dict[str, Any]) -> None:
        """Append one record; `kind` is a key of FILES. A record after `close` is dropped: its run is over."""
        if self._is_open and kind not in self._files:
            self._open(kind)
        file = self._files.get(kind)
        if file is not None:
            file.write(json.dumps(row, separators=(",", ":"), allow_nan=False) + "\n")
            file.flush()

    def save_info(self, **changes: Any) -> None:
        """Update run.json."""
        self.info.update(changes)
        write_json(self.run_dir / RUN_FILE, self.info)

    def close(self) -> None:
        """Close the record files; again is harmless."""
        for file in self._files.values():
            file.close()
        self._is_open = False
        self._files.clear()
