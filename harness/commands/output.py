"""Files that a command was asked to write."""

from pathlib import Path

from harness.model.errors import ScenarioError


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8; raises ScenarioError naming the file and why not."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be written: {error.strerror}") from error
