"""The table of failure modes, in Markdown: both columns, a row a symptom, and below it what each run was.

A mode that was not run in this command keeps the lines that an earlier one wrote into the file; one that was never run
is told as "not run".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.failures.failure_file import Failure
from harness.failures.judge import Judged, SideRun, SymptomMove, deciding, declared
from harness.failures.moves import Figure

BEGIN = "<!-- failures: written by `callquake failures run --into`; do not edit -->"
END = "<!-- end of failures -->"
HEAD = (
    "| failure mode | symptom's metric | declared, fix off | fix off | fix on | n off / on | verdict off | and on | |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)
_NEVER = "not run"
_NOTE = re.compile(r"- \*\*([^*]+)\*\*")


@dataclass(frozen=True, slots=True)
class Lines:
    """A mode's rows of the table, and the paragraph below it."""

    rows: tuple[str, ...]
    note: str


def lines_of(judged: Judged, when: str, where: str) -> Lines:
    """Return the lines of a mode that was run; `when` is a date, `where` names the machine."""
    rows = tuple(_row(judged, i) for i in range(len(judged.failure.file.symptoms)))
    return Lines(rows, _note(judged, when, where))


def never(failure: Failure) -> Lines:
    """Return the lines of a mode that was never run."""
    block = failure.file.symptoms[0]
    cells = [failure.name, f"`{block.metric}`", declared(block), *([_NEVER] * 2), "", "", "", _NEVER]
    return Lines((_cells(cells),), f"- **{failure.name}**: {_NEVER}.")


def _row(judged: Judged, index: int) -> str:
    block = judged.failure.file.symptoms[index]
    symptom = judged.symptoms[index] if judged.symptoms else None
    off, on, n = _figures(symptom)
    shown = "" if symptom is None else {True: "shown", False: "not shown", None: "not measured"}[symptom.off.is_shown]
    return _cells(
        [
            judged.failure.name,
            f"`{block.metric}`",
            declared(block),
            off,
            on,
            n,
            judged.off.verdict,
            judged.on.verdict,
            f"{shown}; **{judged.outcome.value}**" if index == 0 else shown,
        ]
    )


def _figures(symptom: SymptomMove | None) -> tuple[str, str, str]:
    if symptom is None:
        return "-", "-", "-"
    if symptom.on is None:
        on, off = symptom.off.start, symptom.off.end
        return off.shown, on.shown, f"{off.n} / {on.n} {off.sample}"
    return _way(symptom.off.start, symptom.off.end), _way(symptom.on.start, symptom.on.end), _counts(symptom)


def _way(start: Figure, end: Figure) -> str:
    return f"{start.shown} → {end.shown}"


def _counts(symptom: SymptomMove) -> str:
    on = symptom.on
    assert on is not None
    off_n, on_n = f"{symptom.off.start.n}, {symptom.off.end.n}", f"{on.start.n}, {on.end.n}"
    return f"{off_n} / {on_n} {symptom.off.end.sample}"


def _cells(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _note(judged: Judged, when: str, where: str) -> str:
    about = judged.failure.about
    why = f" Not as declared: {'; '.join(judged.reasons)}." if judged.reasons else ""
    return (
        f"- **{judged.failure.name}** ({about.title}; models {about.models}; {when}, {where}). Fix: {about.fix}. "
        f"{_side(judged.off)} {_side(judged.on)}{_simulated(judged)}{why}"
    )


def _side(run: SideRun) -> str:
    said = "; ".join(f"`{text}`" for text in deciding(run))
    faults = _faults(run)
    return f"Off (`{run.up}`): {said}{faults}." if run.side == "off" else f"On (`{run.up}`): {said}{faults}."


def _faults(run: SideRun) -> str:
    if run.analysis is None or not run.analysis.measured.faults:
        return ""
    told = (
        f"{one.fault.name}: {one.evidence.what or 'touched'} {one.evidence.touched}"
        for one in run.analysis.measured.faults
    )
    return f"; injected: {', '.join(told)}"


def _simulated(judged: Judged) -> str:
    parts = judged.off.analysis.run.info.simulated if judged.off.analysis is not None else ()
    return f" Simulated: {'; '.join(parts)}." if parts else ""


def render(modes: Mapping[str, Lines]) -> str:
    """Return the text between the marks, marks included."""
    rows = [row for lines in modes.values() for row in lines.rows]
    notes = [lines.note for lines in modes.values()]
    return "\n".join([BEGIN, "", *HEAD, *rows, "", *notes, "", END])


def kept(page: str) -> dict[str, Lines]:
    """Return what the page says of modes that were run before, files of one's own too; nothing of those never run."""
    body = page.partition(BEGIN)[2].partition(END)[0].splitlines()
    found: dict[str, Lines] = {}
    for name in dict.fromkeys(match[1] for line in body if (match := _NOTE.match(line))):
        rows = tuple(line for line in body if line.startswith(f"| {name} |"))
        note = next((line for line in body if line.startswith(f"- **{name}**")), "")
        if rows and f"| {_NEVER} | {_NEVER} |" not in rows[0]:
            found[name] = Lines(rows, note)
    return found


def into(page: str, text: str) -> str:
    """Return the page with `text` in place of what is between the marks; raises ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"has no lines {BEGIN!r} and {END!r} to write between")
    return before + text + after
