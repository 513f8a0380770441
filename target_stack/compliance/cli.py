"""`compliance audit | consents | delete | sweep | rules`: what the operator does about calls that were kept."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from harness.model.errors import ScenarioError
from target_stack.compliance.audit import as_text, audit, look_up
from target_stack.compliance.consent import Evidence, Step
from target_stack.compliance.database import open_database
from target_stack.compliance.decision import Situation, decide
from target_stack.compliance.deletion import Deleted, Deletion
from target_stack.compliance.pseudonym import Pseudonyms, open_pseudonyms
from target_stack.compliance.recording.folders import CallFolders
from target_stack.compliance.rules import strictest_need
from target_stack.compliance.settings import POSTGRES, Settings, read_settings
from target_stack.compliance.store import ConsentStore
from target_stack.compliance.words import Activity, Direction, Form

ABOUT = """\
What the stack may do with callers' voices, and what it did. NOT LEGAL ADVICE: the table of rules is a starting point
for your counsel. The same file as of `callquake up --compliance FILE` says where consents and recordings are.

  compliance audit                        today: consent and disclosure rates, deletions, violations; exit 1 for any
  compliance audit --day 2026-11-22 --json
  compliance consents                     who was asked what and what they said, by pseudonym
  compliance consents +13125550100        one caller, with what stands behind each step
  compliance consents +13125550100 --give biometrics --region US-IL --evidence "release of 2026-11-20, no. 4711"
  compliance consents +13125550100 --withdraw record --region US-CA --evidence "by mail"
  compliance delete +13125550100          a caller: audio, transcripts, derived data, consents, rows
  compliance delete CALL --call           one call, by its id or key
  compliance sweep                        delete what is due (the running stack does so by itself)
  compliance rules --region US-CA         which rules apply, what each needs, and its source
"""
_ACTIONS = ("audit", "consents", "delete", "sweep", "rules")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `compliance` to a command line."""
    parser = commands.add_parser(
        "compliance",
        help="audit, consents, deletion",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=_ACTIONS)
    parser.add_argument("name", nargs="?", default="", metavar="CALLER", help="number or account; delete: or a call")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the stack's --compliance file; default: its defaults"
    )
    parser.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="audit: the day in UTC (today)")
    parser.add_argument("--json", action="store_true", help="audit: as JSON")
    parser.add_argument("--call", action="store_true", help="delete: the name is a call's")
    parser.add_argument("--region", default="", metavar="CODE", help="like DE or US-IL")
    parser.add_argument("--direction", choices=[d.value for d in Direction], default="inbound", help="rules: who calls")
    parser.add_argument("--give", metavar="ACTIVITY", help="consents: a yes in writing, obtained outside of a call")
    parser.add_argument("--withdraw", metavar="ACTIVITY", help="consents: taken back outside of a call")
    parser.add_argument("--evidence", default="", metavar="TEXT", help="consents: what proves it")
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class _Desk:
    settings: Settings
    store: ConsentStore
    folders: CallFolders
    pseudonyms: Pseudonyms

    @property
    def deletion(self) -> Deletion:
        return Deletion(self.store, self.folders, self.pseudonyms, always_purges=True)


@contextmanager
def _desk(settings: Settings) -> Iterator[_Desk]:
    pseudonyms = open_pseudonyms(settings.folder)
    store = ConsentStore(open_database(settings.store), pseudonyms.of)
    try:
        yield _Desk(settings, store, CallFolders(settings.folder), pseudonyms)
    finally:
        store.close()


def run(options: argparse.Namespace) -> int:
    """Do the action; return the exit status. Raises ScenarioError, StoreError, OSError."""
    config = options.config or (
        Path(os.environ["CALLQUAKE_COMPLIANCE"]) if os.environ.get("CALLQUAKE_COMPLIANCE") else None
    )
    settings = read_settings(config)
    if options.action == "rules":
        return _rules(settings, options)
    actions: dict[str, Callable[[_Desk, argparse.Namespace], int]] = {
        "audit": _audit,
        "consents": _consents,
        "delete": _delete,
        "sweep": _sweep,
    }
    if not options.give:
        _check_store(settings, config)
    with _desk(settings) as desk:
        return actions[options.action](desk, options)


def _check_store(settings: Settings, config: Path | None) -> None:
    """Refuse to report on a store that was never there: an empty report would look like a clean one."""
    if not settings.store.startswith(POSTGRES) and not Path(settings.store).exists():
        where = f"--config {config}" if config else "no --config and no CALLQUAKE_COMPLIANCE"
        raise ScenarioError(f"{settings.store}: there is no consent store ({where}); is it the stack's own file?")


def _audit(desk: _Desk, options: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    report = audit(look_up(desk.store, desk.folders, options.day or now.date(), now), desk.settings.table)
    print(json.dumps(report.as_dict(), indent=2) if options.json else as_text(report))
    return int(bool(report.violations))


def _consents(desk: _Desk, options: argparse.Namespace) -> int:
    if options.give or options.withdraw:
        return _enter(desk, options)
    now = datetime.now(UTC)
    if not options.name:
        for caller, consent in desk.store.all_consents():
            print(f"{caller}  {consent.activity:<10} {consent.state_at(now):<9} {consent.region}")
        return 0
    caller = desk.pseudonyms.of(options.name)
    print(f"{caller}: {len(desk.store.kept(caller=caller))} calls kept")
    for consent in desk.store.consents(caller).values():
        until = f" until {consent.expires_at:%Y-%m-%d}" if consent.expires_at else ""
        print(f"  {consent.activity:<10} {consent.state_at(now)}{until} ({consent.region})")
    for step in desk.store.steps(caller):
        evidence = step.evidence
        how = f" by {evidence.form}" if evidence.form else ""
        words = (
            f": asked {evidence.asked!r}, answered {evidence.answered!r}" if evidence.asked or evidence.answered else ""
        )
        call = f", call {evidence.call_id}" if evidence.call_id else ""
        print(f"  {evidence.at:%Y-%m-%d %H:%M:%S} {step.step} {step.activity}{how}{call}{words}")
    return 0


def _enter(desk: _Desk, options: argparse.Namespace) -> int:
    """Enter what was agreed, or taken back, on paper."""
    if not (options.name and options.region and options.evidence):
        raise ScenarioError("compliance consents --give or --withdraw needs CALLER, --region and --evidence")
    activity = _activity(options.give or options.withdraw)
    region = desk.settings.table.known(options.region)
    if region != options.region.strip().upper():
        raise ScenarioError(f"--region {options.region}: no rule knows it; see compliance rules")
    now = datetime.now(UTC)
    direction = Direction(options.direction)
    holds = decide(desk.settings.table, Situation(region, direction, now, {}, frozenset(Activity))).consent_lasts
    evidence = Evidence(now, region, form=Form.WRITTEN, answered=options.evidence)
    caller = desk.pseudonyms.of(options.name)
    step = Step.GIVE if options.give else Step.WITHDRAW
    consent = desk.store.take(caller, activity, step, evidence, now + holds if options.give else None)
    if not options.give:
        desk.store.make_due(caller, now, "withdrawn")
        return _told(desk.deletion.due(now, timedelta(days=desk.settings.block.proof_days)))
    print(f"{caller}: {activity} {consent.state} until {consent.expires_at:%Y-%m-%d} in {region}")
    return 0


def _delete(desk: _Desk, options: argparse.Namespace) -> int:
    if not options.name:
        raise ScenarioError("compliance delete needs a CALLER, or a CALL and --call")
    now = datetime.now(UTC)
    job = desk.deletion.of_call if options.call else desk.deletion.of_caller
    return _told(job(options.name, now))


def _sweep(desk: _Desk, options: argparse.Namespace) -> int:
    del options
    return _told(desk.deletion.due(datetime.now(UTC), timedelta(days=desk.settings.block.proof_days)))


def _told(done: Deleted) -> int:
    print(
        f"deleted: {done.calls} calls ({done.erased.files} files, {done.erased.bytes} bytes), {done.rows} consent rows"
        if done.is_anything
        else "nothing to delete"
    )
    for failure in done.failed:
        print(f"NOT deleted: {failure}", file=sys.stderr)
    return int(bool(done.failed))


def _rules(settings: Settings, options: argparse.Namespace) -> int:
    region = settings.table.known(options.region or settings.block.default_region)
    direction = Direction(options.direction)
    today = datetime.now(UTC).date()
    rows = settings.table.applying(region, direction, today)
    print(f"{region}, {direction} - not legal advice")
    for row in rows:
        print(f"  {row.id}: {row.title}\n    {row.source_for(region)} (as of {row.as_of})")
    for activity in Activity:
        notices = {n for row in rows if activity in row.before for n in row.before[activity].notices}
        after = f", after {', '.join(sorted(notices))}" if notices else ""
        print(f"  {activity:<10} {strictest_need(rows, activity).name.lower()}{after}")
    holds = decide(settings.table, Situation(region, direction, datetime.now(UTC), {}, frozenset(Activity)))
    kept = min(holds.retention.days, settings.block.retention_days)
    print(f"  kept {kept} days, a yes holds {holds.consent_lasts.days}")
    return 0


def _activity(word: str) -> Activity:
    try:
        return Activity(word)
    except ValueError:
        raise ScenarioError(f"{word}: legal activities: {', '.join(Activity)}") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; legal: YYYY-MM-DD") from error
