"""Programs that break, count and mend: run to their end without a shell, their words read as a shell would."""

import shlex
import subprocess
import tempfile
from dataclasses import dataclass

_MOST_SAID = 300


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended, and what it said."""

    status: int
    out: str
    error: str

    @property
    def complaint(self) -> str:
        """The end of what it said of its trouble."""
        return (self.error or self.out).strip()[-_MOST_SAID:]


def run_program(words: list[str], folder: str, timeout_s: float) -> Done:
    """Run a program in a folder, "" = ours. Raises OSError and subprocess.SubprocessError."""
    # Not by pipes: whoever it leaves running in the background would hold them open, and us waiting.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        ended = subprocess.run(
            words,
            cwd=folder or None,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            timeout=timeout_s,
            check=False,
        )
        said = []
        for file in (out, error):
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
    return Done(ended.returncode, *said)


def problem_of(name: str, text: object) -> str:
    """Return what is wrong with a parameter that holds a program's words, "" for nothing or none."""
    if text is None:
        return ""
    try:
        words = shlex.split(str(text))
    except ValueError as error:
        return f"{name} {text!r}: {error}; legal: words as a shell takes them"
    return "" if words else f"{name}: no program in it; legal: words as a shell takes them"
