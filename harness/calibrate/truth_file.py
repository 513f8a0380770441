"""The responder's truth file, read while it grows: one JSON line an answer."""

import json
from pathlib import Path

from harness.measure.calibration import Truth
from harness.model.codec import from_json


class TruthFile:
    """Keeps what it has read; a line that is not whole yet is read the next time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._truths: list[Truth] = []

    def read(self) -> list[Truth]:
        """Return every answer told so far."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        self._truths += [from_json(Truth, json.loads(line)) for line in whole.splitlines()]
        return list(self._truths)
