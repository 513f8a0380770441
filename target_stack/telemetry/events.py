"""Structured events, one JSON object a line: what happened in which call, without anybody's words in it."""

import contextlib
import json
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Literal

from target_stack.frames import TurnTiming
from target_stack.gate import Gate
from target_stack.telemetry.exposition import counter
from target_stack.telemetry.spans import Trace, rows

_log = logging.getLogger(__name__)
# answered: the model's reply was heard. reprompted: nothing was understood. fallback: the stock sentence stood in for
# the model. failed: a stage gave up. merged: the user went on speaking first. cancelled: the call ended first.
Outcome = Literal["answered", "reprompted", "fallback", "failed", "merged", "cancelled"]


@dataclass(frozen=True, slots=True)
class CallStarted:
    """An edge opened a session."""

    call_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """A turn's outcome is known; `timing` is None for a turn whose reply was never heard."""

    call_id: str
    at_ns: int
    turn: int
    outcome: Outcome
    timing: TurnTiming | None
    # Sizes instead of words: what was said stays out of the log.
    user_audio_ms: float
    transcript_words: int
    # The stage that failed, "" for none.
    failed_stage: str = ""
    # The wait by the budget's shares (telemetry/budget.py); empty for a turn whose reply was never heard.
    spent_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BargedIn:
    """The user interrupted turn `turn` after `heard_ms` of it: `heard_words` of the `said_words` queued till then."""

    call_id: str
    at_ns: int
    turn: int
    heard_ms: float
    heard_words: int = 0
    said_words: int = 0


@dataclass(frozen=True, slots=True)
class BudgetExceeded:
    """A turn took longer than the whole latency budget; `over_ms`: the stages that took more than their share."""

    call_id: str
    at_ns: int
    turn: int
    total_ms: float
    budget_ms: float
    over_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """The P95 of a stage over the last minutes went over its budget (`is_over`), or came back under it."""

    at_ns: int
    stage: str
    p95_ms: float
    budget_ms: float
    turns: int
    is_over: bool


@dataclass(frozen=True, slots=True)
class DigitHeard:
    """The user pressed a key of the telephone."""

    call_id: str
    at_ns: int
    digit: str
    duration_ms: float


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The session closed."""

    call_id: str
    at_ns: int
    turns: int


@dataclass(frozen=True, slots=True)
class StageRouted:
    """A provider was chosen for a stage's work on turn `turn`; told only where there is more than one."""

    call_id: str
    at_ns: int
    turn: int
    stage: str
    provider: str
    # own, overflow, complexity, failover or reserve: see routing/router.py.
    reason: str


@dataclass(frozen=True, slots=True)
class CallCosted:
    """What a call cost in US dollars, by component and in total; it ends with this."""

    call_id: str
    at_ns: int
    minutes: float
    usd: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EchoFound:
    """The agent's own voice comes back; `delay_ms`: from sending to hearing it, `gain_db`: by how much louder."""

    call_id: str
    at_ns: int
    delay_ms: float
    gain_db: float
    strength: float


@dataclass(frozen=True, slots=True)
class EchoLost:
    """It does not come back any more, or its call is over; `muted_ms`: so much was kept from the pipeline so far."""

    call_id: str
    at_ns: int
    muted_ms: float


Event = (
    CallStarted
    | TurnFinished
    | BargedIn
    | BudgetExceeded
    | BudgetAlert
    | DigitHeard
    | EchoFound
    | EchoLost
    | StageRouted
    | CallCosted
    | CallEnded
)

NAMES: dict[type, str] = {
    CallStarted: "call_started",
    TurnFinished: "turn_finished",
    BargedIn: "barged_in",
    BudgetExceeded: "budget_exceeded",
    BudgetAlert: "budget_alert",
    DigitHeard: "digit_heard",
    EchoFound: "echo_found",
    EchoLost: "echo_lost",
    StageRouted: "stage_routed",
    CallCosted: "call_costed",
    CallEnded: "call_ended",
}

# Behind the point, where it is not the two of milliseconds: a hundredth of a minute is a twentieth of a short call.
_DIGITS = {"minutes": 4}


def to_json(event: Event) -> str:
    """Return the line, without its newline; `timing` is laid flat beside the other fields."""
    fields = asdict(event)
    timing = fields.pop("timing", None) or {}
    if not fields.get("spent_ms", True):
        del fields["spent_ms"]
    rounded = {
        name: round(value, _DIGITS.get(name, 2)) if isinstance(value, float) else value
        for name, value in (timing | fields).items()
    }
    return json.dumps({"event": NAMES[type(event)], **rounded})


class EventLog:
    """Keeps the last `kept` events in memory and, given a path, appends every event to that file at once.

    A line that the disk does not take is counted and gone: no call ends because of it. `disk`: asked before each.
    """

    def __init__(self, path: Path | None = None, kept: int = 1000, disk: Gate | None = None) -> None:
        self.recent: deque[Event] = deque(maxlen=kept)
        self.lost_lines = 0
        self._disk = disk or Gate()
        self._path = path
        self._file: IO[str] | None = None

    def open(self) -> None:
        """Open the file; raises OSError when it cannot be written."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Line buffered: an event is on disk before the next one happens.
            self._file = self._path.open("a", buffering=1, encoding="utf-8")

    def write(self, event: Event) -> None:
        """Record one event."""
        self.recent.append(event)
        if self._file is not None:
            self._append([to_json(event)])

    def write_spans(self, trace: Trace) -> None:
        """Record a turn's spans, in the file only."""
        if self._file is not None:
            self._append([json.dumps(row) for row in rows(trace)])

    def _append(self, lines: list[str]) -> None:
        if self._file is None:
            return
        try:
            self._disk.pass_through()
            self._file.writelines(line + "\n" for line in lines)
        except OSError as error:
            if not self.lost_lines:
                _log.error("events are being lost: %s: %s", self._path, error)
            self.lost_lines += len(lines)

    def metrics(self) -> str:
        """Return the Prometheus text."""
        return counter(
            "lost_event_lines", "Lines of the event log that the disk did not take.", [({}, self.lost_lines)]
        )

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            # What a full disk did not take is tried once more here.
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
