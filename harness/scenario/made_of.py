"""What is wrong with a scenario that was made of another file, told at its place in that file."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.scenario import yaml_lines
from harness.scenario.loader import spell

Place = yaml_lines.Path
# Where what stands at a place of the scenario may stand in the file it was made of, the likeliest first.
Sources = Callable[[Place], Sequence[Place]]


def at_source(
    problems: str, made: Path, source: Path, document: yaml_lines.Document, sources: Sources, side: str = ""
) -> str:
    """Return `problems` of the scenario file `made`, a line each, as those of `source`, whose text is `document`.

    `side` says which of several scenarios it is. A line that names no place keeps its words.
    """
    pattern = re.compile(rf"{re.escape(str(made))}:\d+: ([^\s:]+): (.*)", re.DOTALL)
    of = f"{source} ({side}, as a scenario)" if side else f"{source} (as a scenario)"
    told = []
    for line in problems.splitlines():
        match = pattern.fullmatch(line)
        if match is None:
            told.append(re.sub(rf"{re.escape(str(made))}(:\d+)?", lambda _: of, line))
            continue
        found = list(sources(_place(match[1])))
        place = next((one for one in found if one in document.lines), found[-1])
        where = f"{source}:{document.line_of(place)}: {f'{side}: ' if side else ''}{spell(place)}"
        told.append(f"{where}: {match[2]}")
    return "\n".join(told)


def _place(text: str) -> Place:
    """Return a place as `spell` writes it."""
    return tuple(int(index) if index else key for index, key in re.findall(r"\[(\d+)\]|([^.\[\]]+)", text))
