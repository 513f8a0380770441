"""`callquake fault`: what can be broken, how one fault is asked for, and faults by hand: start, status, stop."""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from harness.commands import fault_exchange, fault_in_run, fault_words
from harness.exit_codes import ExitCode
from harness.faults import command_line
from harness.faults.catalogue import KINDS
from harness.faults.effect import Admin, Means
from harness.faults.errors import FaultError
from harness.faults.injection import Injector
from harness.faults.journal import Entry, Journal, state_folder
from harness.faults.owner import host_name, is_alive
from harness.faults.reverts import RevertError
from harness.model.errors import ScenarioError
from harness.model.fault import Fault, FaultEvent, Where
from harness.scenario.faults import origin_of

# How long a target keeps a fault that nobody renews: --keep without --for.
_KEPT_S = 3_600.0
_TELL_EVERY_S = 2.0
_STOP_TIMEOUT_S = 15.0
_NOTHING = "no fault of this user's outlives its process: nothing to undo"

_EPILOG = """\
A fault is a claim: this is injected, this is what it must do, so fast things must recover. What it did is counted where
it is done; a fault that touched nothing was not injected, and a run with such a fault does not pass. Every fault is
undone on every way out. What would outlive a killed process stands in a journal on disk before it is done, and the
next callquake command undoes it.

In a scenario, with time, symptoms and recovery (docs/faults.md):
  faults:
    - name: slow_llm
      kind: stage.delay
      start_s: 60
      duration_s: 30
      parameters: {stage: llm, delay_ms: 1500}
      symptoms: [{metric: ttfb_ms p95, direction: up, by: 1000}]
      recovers_within_s: 15

By hand:
  callquake fault list                                        every kind, a line each
  callquake fault describe stage.delay                        its parameters, its evidence, how it is undone, an example
  callquake fault start stage.delay stage=llm delay_ms=1500 --for 30s        in the foreground; Ctrl-C undoes it
  callquake fault start stage.error stage=stt --share 0.5 --keep             until `fault stop`
  callquake fault start network.loss loss_ratio=0.1 --run reports/RUN        in a run that goes on, on its calls too
  callquake fault status                                      what is in force, and whose it is
  callquake fault stop --all                                  undo all that is not a living run's
  callquake fault import experiment.json                      a Chaos Toolkit experiment as faults; export: back
"""
_START_EPILOG = """\
examples:
  callquake fault start stage.delay stage=llm delay_ms=1500 --admin http://127.0.0.1:8080 --for 30s
  callquake fault start stage.rate_limit stage=llm per_minute=6 retry_after_s=5 --for 2m
  CALLQUAKE_ADMIN_TOKEN=... callquake fault start stage.stall stage=tts --admin https://agent.test --for 10s

exit codes: 0 it did something and is over, 97 it touched nothing (not injected), 104 wrong kind or parameter, 105
interrupted before the run took it, 1 it could not be injected or not be undone.
"""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `fault` with its actions."""
    shape = argparse.RawDescriptionHelpFormatter
    text = "break something on purpose: list and describe faults, start and stop them by hand"
    parser = commands.add_parser("fault", help=text, description=text, epilog=_EPILOG, formatter_class=shape)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="every kind of fault, a line each")
    listing.add_argument("--where", choices=[where.value for where in Where], help="only faults of this side")
    listing.set_defaults(call=list_kinds)
    describe = actions.add_parser("describe", help="one kind: parameters, evidence, revert, an example to copy")
    describe.add_argument("kind", metavar="KIND", help="like stage.delay")
    describe.add_argument("--json", action="store_true", help="as JSON, with a JSON Schema of its parameters")
    describe.set_defaults(call=describe_kind)
    start = actions.add_parser("start", help="inject one now", epilog=_START_EPILOG, formatter_class=shape)
    command_line.add_options(start)
    start.set_defaults(call=start_fault)
    stop = actions.add_parser("stop", help="undo one, or all")
    stop.add_argument("id", nargs="?", metavar="ID", help="as `fault status` tells it")
    stop.add_argument("--all", action="store_true", help="everything that is not a living run's")
    stop.add_argument("--run", type=Path, metavar="DIR", help="one that was started by hand in this run")
    stop.set_defaults(call=stop_fault)
    status = actions.add_parser("status", help="what is in force")
    status.set_defaults(call=show_status)
    fault_exchange.add_to(actions)


def list_kinds(options: argparse.Namespace) -> int:
    """Print every kind."""
    print("\n".join(fault_words.listing(KINDS.values(), options.where)))
    return ExitCode.PASSED


def describe_kind(options: argparse.Namespace) -> int:
    """Print all there is to know of one kind."""
    kind = command_line.kind_from(options.kind)
    print(fault_words.as_json(kind) if options.json else "\n".join(fault_words.description(kind)))
    return ExitCode.PASSED


def start_fault(options: argparse.Namespace) -> int:
    """Inject one fault, in the foreground or to be kept."""
    fault = command_line.fault_from(options)
    if options.run is not None:
        if options.admin or options.target:
            raise ScenarioError(
                "--run: the run knows its target and its admin API; legal: without --admin and --target"
            )
        with _signals_interrupt():
            return fault_in_run.start(fault, options.run, keep=options.keep)
    token = os.environ.get(command_line.TOKEN_VARIABLE, "")
    lease_s = _lease_s(fault) if options.keep else None
    means = Means(
        admin=Admin(_admin_url(options), token), environ=dict(os.environ), folder=str(Path.cwd()), lease_s=lease_s
    )
    journal = Journal(state_folder(os.environ))
    try:
        injector = Injector(fault, means, journal, _say)
    except FaultError as error:
        raise ScenarioError(f"{fault.kind}: {error}") from error
    if options.keep:
        _check_keep(injector)
    with _signals_interrupt():
        return _carry_out(injector, journal, keep=options.keep)


def _admin_url(options: argparse.Namespace) -> str:
    """Return where the admin API is. Raises ScenarioError for a target that tells nothing of it."""
    if options.target is None:
        return str(options.admin or command_line.default_admin()).rstrip("/")
    origin = origin_of(options.target)
    if not origin:
        raise ScenarioError(f"--target {options.target}: its admin API is not to be seen from it; legal: --admin URL")
    return origin


def _check_keep(injector: Injector) -> None:
    """Raise ScenarioError for what cannot be kept: what nothing would undo later, or end at its time."""
    kind = injector.fault.kind
    if not injector.outlives_us:
        raise ScenarioError(
            f"--keep: nothing would undo this {kind} later: it lives as long as we do, or has no revert"
        )
    if injector.fault.duration_ms is not None and not _lapses(injector):
        raise ScenarioError(f"--for: with --keep nobody would end this {kind} then; legal: one of the two")


def _lapses(injector: Injector) -> bool:
    """Whether the target ends it by itself."""
    return injector.fault.where is Where.TARGET


def _carry_out(injector: Injector, journal: Journal, *, keep: bool) -> int:
    """Inject it and keep it in force until its time is over, or somebody interrupts at any point."""
    with contextlib.suppress(KeyboardInterrupt):
        if not injector.start(is_declared=False):
            return ExitCode.LOCUST_ERROR
        if keep:
            return _keep(injector, journal)
        print(f"{injector.fault.name}: Ctrl-C undoes it", file=sys.stderr, flush=True)
        _wait(injector)
    last = injector.stop()
    if injector.failure:
        return ExitCode.LOCUST_ERROR
    return ExitCode.PASSED if last.touched else ExitCode.NO_DATA


def _keep(injector: Injector, journal: Journal) -> int:
    entry = injector.entry
    assert entry is not None
    journal.keep(entry)
    ends = f"  (the target ends it by itself after {_lease_s(injector.fault):g} s)" if _lapses(injector) else ""
    print(f"kept: callquake fault stop {entry.id}{ends}", flush=True)
    return ExitCode.PASSED


def _lease_s(fault: Fault) -> float:
    """Return for how long a target keeps a fault that nobody renews."""
    return _KEPT_S if fault.duration_ms is None else fault.duration_ms / 1000


def _wait(injector: Injector) -> None:
    length_ms = injector.fault.duration_ms
    until = None if length_ms is None else time.monotonic() + length_ms / 1000
    while until is None or time.monotonic() < until:
        time.sleep(_TELL_EVERY_S if until is None else max(0.0, min(_TELL_EVERY_S, until - time.monotonic())))
        injector.gather()


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Have SIGTERM and SIGHUP undo the fault as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(event: FaultEvent) -> None:
    """Tell a step on stderr."""
    words = fault_words.event_words(event)
    if words:
        print(words, file=sys.stderr, flush=True)


def show_status(_options: argparse.Namespace) -> int:
    """Print what the journal holds."""
    entries = Journal(state_folder(os.environ)).entries()
    lines = [line for entry in entries for line in fault_words.entry_lines(entry, _whose(entry))]
    print("\n".join(lines) if lines else _NOTHING)
    return ExitCode.PASSED


def _whose(entry: Entry) -> str:
    if host := _elsewhere(entry):
        return f"injected on {host}: callquake fault stop {entry.id}, there"
    if entry.owner is None:
        return f"kept: callquake fault stop {entry.id}"
    if not is_alive(entry.owner):
        return f"process {entry.owner.pid} left it behind: callquake fault stop {entry.id}"
    return f"process {entry.owner.pid} holds it" + (f", for the run {entry.run}" if entry.run else "")


def stop_fault(options: argparse.Namespace) -> int:
    """Undo one fault, or all that no run holds."""
    if options.run is not None and options.id is not None and not options.all:
        return fault_in_run.stop(options.id, options.run)
    if (options.id is None) == (not options.all) or options.run is not None:
        raise ScenarioError("needs one of: ID, --all; --run goes with an ID")
    journal = Journal(state_folder(os.environ))
    entries = [entry for entry in journal.entries() if options.all or entry.id == options.id]
    if not entries and options.id is not None:
        there = ", ".join(entry.id for entry in journal.entries()) or "none is in force"
        raise ScenarioError(f"{options.id}: no such fault; legal: {there}")
    if not entries:
        print(_NOTHING)
    if options.all:
        entries = [entry for entry in entries if not _is_left_alone(entry)]
    failed = sum(not _stop(journal, entry) for entry in entries)
    return ExitCode.LOCUST_ERROR if failed else ExitCode.PASSED


def _is_left_alone(entry: Entry) -> bool:
    """Whether `--all` is not for it; told."""
    if host := _elsewhere(entry):
        print(f"{entry.id}: left alone, it was injected on {host}", file=sys.stderr)
        return True
    if entry.run and entry.owner is not None and is_alive(entry.owner):
        print(f"{entry.id}: left alone, the run {entry.run} goes on and ends it", file=sys.stderr)
        return True
    return False


def _elsewhere(entry: Entry) -> str:
    """Return the other machine that an entry is of, "" for this one; a home directory may be shared."""
    host = entry.host or (entry.owner.host if entry.owner is not None else "")
    return host if host != host_name() else ""


def _stop(journal: Journal, entry: Entry) -> bool:
    host = _elsewhere(entry)
    if host and not all(revert.how == "http" for revert in entry.reverts):
        # Its processes, files and devices are not here, and would be taken for undone.
        print(f"{entry.id}: injected on {host}; run this there, or {journal.by_hand(entry)}", file=sys.stderr)
        return False
    if entry.owner is not None and is_alive(entry.owner):
        return _ask_owner(journal, entry)
    try:
        with journal.locked():
            journal.undo(entry, os.environ)
    except (RevertError, OSError) as error:
        print(f"{entry.id}: still in force: {error}; {journal.by_hand(entry)}", file=sys.stderr)
        return False
    print(f"{entry.id}: undone")
    return True


def _ask_owner(journal: Journal, entry: Entry) -> bool:
    """Have the process that holds a fault undo it; a run's faults are the run's own."""
    if entry.run or entry.owner is None:
        print(f"{entry.id}: left alone, the run {entry.run} goes on and ends it", file=sys.stderr)
        return False
    try:
        # Not SIGINT: a shell has what it starts in the background ignore that.
        os.kill(entry.owner.pid, signal.SIGTERM)
    except PermissionError as error:
        print(f"{entry.id}: process {entry.owner.pid}, which holds it: {error.strerror}", file=sys.stderr)
        return False
    except ProcessLookupError:
        pass
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while any(other.id == entry.id for other in journal.entries()):
        if time.monotonic() > deadline:
            print(
                f"{entry.id}: process {entry.owner.pid} did not undo it within {_STOP_TIMEOUT_S:g} s", file=sys.stderr
            )
            return False
        time.sleep(0.05)
    print(f"{entry.id}: undone by process {entry.owner.pid}")
    return True
