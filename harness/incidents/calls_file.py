"""A file of calls (CDR, CSV, JSON lines) to when calls came, how they ended, and who called.

Columns are found by the names that carriers and switches give them (Asterisk, FreeSWITCH, Twilio, Telnyx), or named by
the user. A row that cannot be read is left out and told with its line; so many that most rows are bad, and the file is
refused.
"""

import contextlib
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from harness.incidents.rows import Row, read_text, rows_of
from harness.model.errors import ScenarioError

TIME_NAMES = (
    *("start_time", "starttime", "start", "started_at", "start_stamp", "calldate", "call_start", "startdate"),
    *("created_at", "date_created", "datecreated", "timestamp", "time", "datetime", "date", "ts", "at", "at_s"),
)
DURATION_NAMES = ("duration_s", "duration", "billsec", "call_duration", "duration_seconds", "length")
STATUS_NAMES = ("disposition", "status", "outcome", "result", "hangup_cause", "call_status", "state")
CALLER_NAMES = ("caller_kind", "segment", "accent", "region", "queue", "campaign")
# What ended calls well, in the words of the switches above.
GOOD = frozenset(("answered", "completed", "normal_clearing", "success", "ok", "normal", "16", "200"))
# As exchanges write it; as milliseconds since 1970 it would be of the 24th century, or later.
_COMPACT = re.compile(r"(19|20)\d{12}")
_FORMATS = (
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y%m%d%H%M%S",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
)
_SHOWN = 5
# What the last, the last but one and the one before of H:M:S are in seconds.
_CLOCK = (1, 60, 3_600)
LONGEST_S = 86_400.0
# Larger numbers are milliseconds, microseconds or nanoseconds since 1970.
_SECONDS_END = 1e11


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns to read; "" = find it, or do without (all but the time)."""

    time: str = ""
    duration: str = ""
    status: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class ImportedCalls:
    """`at_s` rises from 0; `began` is the first call's time where the file says a date."""

    at_s: list[float]
    began: datetime | None
    durations_s: list[float]
    statuses: Counter[str]
    callers: Counter[str]
    columns: Columns
    n_rows: int
    notes: list[str] = field(default_factory=list)

    @property
    def failed_ratio(self) -> float | None:
        """Share of calls that did not end well by the file's own words."""
        n = self.statuses.total()
        return sum(count for word, count in self.statuses.items() if word not in GOOD) / n if n else None


def read_calls(path: Path, columns: Columns = Columns(), tolerance: float = 0.5) -> ImportedCalls:
    """Read a CSV (any usual delimiter) or JSON-lines file of calls; raises ScenarioError.

    A file of which more than `tolerance` of the rows cannot be read is refused.
    """
    return _calls(path, rows_of(path, read_text(path)), columns, tolerance)


def _calls(path: Path, rows: Sequence[Row], wanted: Columns, tolerance: float) -> ImportedCalls:
    names = list(dict.fromkeys(key for row in rows[:50] for key in row.values if isinstance(key, str)))
    columns = Columns(
        time=_column(path, names, wanted.time, TIME_NAMES, "--time-column") or "",
        duration=_column(path, names, wanted.duration, DURATION_NAMES, "--duration-column") or "",
        status=_column(path, names, wanted.status, STATUS_NAMES, "--status-column") or "",
        caller=_column(path, names, wanted.caller, CALLER_NAMES, "--caller-column") or "",
    )
    if not columns.time:
        there = ", ".join(names) or "there are none"
        raise ScenarioError(f"{path}: no column with the time of a call; name it by --time-column: {there}")
    times: list[tuple[float, bool]] = []
    bad: list[str] = []
    lengths = _Lengths(path, columns.duration)
    statuses, callers = Counter[str](), Counter[str]()
    for row in rows:
        at = parse_time(row.values.get(columns.time))
        if at is None:
            told = row.why_not or f"{columns.time} {str(row.values.get(columns.time, ''))[:40]!r} is no time"
            bad.append(f"{path.name}:{row.number}: {told}")
            continue
        times.append(at)
        lengths.add(row)
        _count(row.values, columns.status, statuses, str.lower)
        _count(row.values, columns.caller, callers, str)
    if not times or len(bad) > tolerance * len(rows):
        shown = "\n".join(bad[:_SHOWN])
        raise ScenarioError(f"{path}: {len(bad)} of {len(rows)} rows have no time that can be read\n{shown}")
    first = min(at for at, _ in times)
    at_s = sorted(round(at - first, 3) for at, _ in times)
    if at_s[-1] > LONGEST_S:
        raise ScenarioError(f"{path}: calls over {at_s[-1] / 3600:.0f} hours; legal: a day at most, cut the file")
    notes = [f"{len(bad)} of {len(rows)} rows had no time that could be read: {'; '.join(bad[:_SHOWN])}"] if bad else []
    notes += lengths.notes(len(times))
    is_dated = all(flag for _, flag in times)
    began = datetime.fromtimestamp(first, UTC) if is_dated else None
    return ImportedCalls(at_s, began, lengths.found, statuses, callers, columns, len(rows), notes)


class _Lengths:
    """Lengths of calls, and the rows whose length cannot be read."""

    def __init__(self, path: Path, column: str) -> None:
        self._path, self._column = path, column
        self.found: list[float] = []
        self._bad: list[str] = []

    def add(self, row: Row) -> None:
        """Take in one row; one that tells no length is none the worse."""
        text = str(row.values.get(self._column) or "").strip() if self._column else ""
        length = parse_length(text)
        if length is not None:
            self.found.append(length)
        elif text:
            self._bad.append(f"{self._path.name}:{row.number}: {self._column} {text[:40]!r} is no length")

    def notes(self, n_rows: int) -> list[str]:
        """Return a sentence on what could not be read, where there is something."""
        shown = "; ".join(self._bad[:_SHOWN])
        return [f"{len(self._bad)} of {n_rows} calls had no length that could be read: {shown}"] if self._bad else []


def _count(row: Mapping[str, Any], column: str, into: Counter[str], worded: Callable[[str], str]) -> None:
    if column and row.get(column):
        into[worded(str(row[column]).strip())] += 1


def parse_length(text: str) -> float | None:
    """Return the seconds of a length written as seconds, M:S or H:M:S; None where it is none."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    if len(numbers) > len(_CLOCK) or not all(0 <= number < math.inf for number in numbers):
        return None
    return sum(number * unit for number, unit in zip(reversed(numbers), _CLOCK, strict=False))


def _column(path: Path, names: Sequence[str], wanted: str, usual: Sequence[str], option: str) -> str | None:
    if wanted:
        if wanted not in names:
            raise ScenarioError(
                f"{option}: {path} has no column {wanted!r}; legal: {', '.join(names) or 'there are none'}"
            )
        return wanted
    by_lower = {name.strip().lower().replace(" ", "_"): name for name in reversed(names)}
    return next((by_lower[name] for name in usual if name in by_lower), None)


def parse_time(value: Any) -> tuple[float, bool] | None:
    """Return (seconds, whether since 1970) of a time in any usual form; None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    text = str(value).strip()
    if _COMPACT.fullmatch(text) and (dated := _parse_date(text)) is not None:
        return dated
    try:
        number = float(text)
    except ValueError:
        return _parse_date(text)
    if number != number or number < 0 or number == float("inf"):  # noqa: PLR0124 (NaN)
        return None
    while number > _SECONDS_END:
        number /= 1000
    return number, number > 1e8


def _parse_date(text: str) -> tuple[float, bool] | None:
    for read in _DATE_READERS:
        with contextlib.suppress(ValueError, TypeError):
            found = read(text)
            # Without a zone it is taken for UTC: only differences matter for a replay.
            aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
            return aware.timestamp(), True
    return None


def _in_form(form: str) -> Callable[[str], datetime]:
    return lambda text: datetime.strptime(text, form)  # noqa: DTZ007 (made aware by the caller)


# ISO 8601, what switches write, and RFC 2822, which Twilio's API writes.
_DATE_READERS: tuple[Callable[[str], datetime], ...] = (
    datetime.fromisoformat,
    *map(_in_form, _FORMATS),
    parsedate_to_datetime,
)
