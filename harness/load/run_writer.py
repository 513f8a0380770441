"""Records to disk as they arrive: one JSON line each, handed to the kernel at once, so a killed run keeps its rows."""

import json
from pathlib import Path
from typing import IO, Any

from harness.scenario.run_dir import RUN_FILE, write_json

FILES = {"call": "calls.jsonl", "turn": "turns.jsonl", "health": "health.jsonl"}


class RunWriter:
    """Owns the files of one run directory."""

    def __init__(self, run_dir: Path, info: dict[str, Any]) -> None:
        self.run_dir = run_dir
        self.info = info
        self._files: dict[str, IO[str]] = {}

    def open(self) -> None:
        """Create the directory, empty record files and run.json."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        for kind, name in FILES.items():
            self._files[kind] = (self.run_dir / name).open("a", encoding="utf-8")
        self.save_info()

    def write(self, kind: str, row: dict[str, Any]) -> None:
        """Append one record; `kind` is a key of FILES. A record after `close` is dropped: its run is over."""
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
        self._files.clear()
