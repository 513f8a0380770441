"""Faults by hand in a run that goes on: asked for in its folder, followed in its records."""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.commands import fault_words
from harness.exit_codes import ExitCode
from harness.faults import orders
from harness.faults.admin_client import END_TIMEOUT_S
from harness.model.errors import ScenarioError
from harness.model.fault import Fault, FaultEvent, FaultMoment

_TAKEN_S = 15.0
# As long as a run itself waits for a target that loads a model.
_ENDED_S = END_TIMEOUT_S + 15.0
# Of an order that is withdrawn, for the run to tell that it took it after all.
_UNTAKEN_S = 3.0
# A run tells of a fault every 2 s, unless what counts it takes long.
_SILENT_S = 30.0
_POLL_S = 0.2
_RENEW_S = 2.0
_WENT_WRONG = (FaultMoment.FAILED, FaultMoment.NOT_UNDONE)
_OVER = (FaultMoment.STOPPED, *_WENT_WRONG)


class _Story:
    """What the run tells of one fault, each line once."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self._run_dir, self._name = run_dir, name
        self._told = 0
        self.events: list[FaultEvent] = []

    def read(self) -> list[FaultEvent]:
        """Return everything so far, and print what is new."""
        self.events = orders.events_of(self._run_dir, self._name)
        for event in self.events[self._told :]:
            if words := fault_words.event_words(event):
                print(words, file=sys.stderr, flush=True)
        self._told = len(self.events)
        return self.events

    def wait_for(
        self, condition: Callable[[list[FaultEvent]], bool], limit_s: float, renewed: Path | None = None
    ) -> bool:
        """Read on until that holds; False when the time was over before. `renewed`: an order to keep up meanwhile."""
        deadline = time.monotonic() + limit_s
        while not condition(self.read()):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
            if renewed is not None:
                orders.renew(renewed)
        return True

    @property
    def is_over(self) -> bool:
        """Whether it was undone, or failed."""
        return any(event.event in _OVER for event in self.events)


def start(fault: Fault, run_dir: Path, *, keep: bool) -> int:
    """Have the run inject a fault; with `keep` return at once, else hold it and return the exit code."""
    _check(run_dir)
    story = _Story(run_dir, fault.name)
    if orders.events_of(run_dir, fault.name):
        raise ScenarioError(f"--name {fault.name}: the run has, or had, a fault of this name; legal: another one")
    path = orders.place(run_dir, orders.Order(fault, is_kept=keep))
    # From here on nothing but `keep` leaves the order there: one that is kept would be taken whenever the run sees it.
    with contextlib.suppress(KeyboardInterrupt):
        if not story.wait_for(bool, _TAKEN_S, path):
            orders.withdraw(path)
            raise ScenarioError(f"--run {run_dir}: nobody has taken the fault in {_TAKEN_S:g} s; does the run go on?")
        if keep and not story.is_over:
            print(f"kept: callquake fault stop {fault.name} --run {run_dir}", flush=True)
            return ExitCode.PASSED
        print(f"{fault.name}: Ctrl-C undoes it", file=sys.stderr, flush=True)
        _hold(story, path)
    return _end(story, path)


def _hold(story: _Story, path: Path) -> None:
    """Keep an order up until the fault is over; a run that was killed tells nothing of it, and that is told."""
    n_told, heard_s = 0, time.monotonic()
    while not story.is_over and orders.renew(path):
        story.wait_for(lambda _: story.is_over, _RENEW_S)
        if len(story.events) > n_told:
            n_told, heard_s = len(story.events), time.monotonic()
        elif time.monotonic() - heard_s > _SILENT_S:
            heard_s = time.monotonic()
            print(f"the run has told nothing of it for {_SILENT_S:g} s; does it go on?", file=sys.stderr, flush=True)


def stop(name: str, run_dir: Path) -> int:
    """Have the run undo a fault that was asked for by hand."""
    _check(run_dir)
    path = orders.path_of(run_dir, name)
    if not path.is_file():
        there = ", ".join(orders.placed(run_dir)) or "none"
        raise ScenarioError(f"{name}: nobody has asked the run for such a fault by hand; legal: {there}")
    return _end(_Story(run_dir, name), path)


def _end(story: _Story, path: Path) -> int:
    orders.withdraw(path)
    # The run may have taken it in the same instant.
    if not story.wait_for(bool, _UNTAKEN_S):
        print("withdrawn before the run took it", file=sys.stderr)
        return ExitCode.INTERRUPTED
    if not story.wait_for(lambda _: story.is_over, _ENDED_S):
        print(f"the run has not told of its end in {_ENDED_S:g} s", file=sys.stderr)
        return ExitCode.LOCUST_ERROR
    return _code(story)


def _code(story: _Story) -> int:
    last = story.events[-1]
    if last.event in _WENT_WRONG:
        return ExitCode.LOCUST_ERROR
    return ExitCode.PASSED if last.evidence is not None and last.evidence.touched else ExitCode.NO_DATA


def _check(run_dir: Path) -> None:
    """Raise ScenarioError unless there is a run that goes on."""
    try:
        status = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))["status"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScenarioError(f"--run {run_dir}: no run's directory: {error}") from error
    if status != "running":
        raise ScenarioError(f"--run {run_dir}: the run is over ({status}); legal: one that goes on")
