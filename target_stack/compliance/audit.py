"""The daily audit: rates, deletions, violations, computed from the trail, the store and what is really on disk.

Violations are found anew from what happened, by the rules, not from what the stack thought at the time: so a fault of
the stack shows. Pure but for `look_up`, which reads. Not legal advice.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from target_stack.compliance.recording.folders import CallFolders
from target_stack.compliance.rules import RuleTable, strictest_need
from target_stack.compliance.store import ConsentStore, KeptCall
from target_stack.compliance.trail import CONSENTS, TrailRow, What
from target_stack.compliance.words import Activity, Direction, Form, Need, Notice

_CONSENTS = {What.GIVEN, What.REFUSED, What.WITHDRAWN}
_ENDED = {What.GIVEN: "given", What.REFUSED: "refused", What.UNANSWERED: "unanswered"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What an audit is computed from. `before`: consents, notices, dates of deletion in the trail of earlier days."""

    day: date
    now: datetime
    before: Sequence[TrailRow]
    rows: Sequence[TrailRow]
    kept: Sequence[KeptCall]
    # Folders on disk, by their names.
    folders: Sequence[str]


@dataclass
class Audit:
    """One day, in UTC. A rate is None where nothing was to be counted."""

    day: str
    calls: int = 0
    disclosures_played: int = 0
    disclosure_rate: float | None = None
    # By activity: questions put (once a call), and what came of them.
    asked: dict[str, int] = field(default_factory=dict)
    answers: dict[str, dict[str, int]] = field(default_factory=dict)
    consent_rate: float | None = None
    withdrawn: int = 0
    declined: int = 0
    began: dict[str, int] = field(default_factory=dict)
    deletions_due: int = 0
    deletions_done: int = 0
    deletions_overdue: int = 0
    kept_now: int = 0
    violations: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def look_up(store: ConsentStore, folders: CallFolders, day: date, now: datetime) -> Facts:
    """Read what the audit of `day` needs."""
    begin = datetime.combine(day, time(), UTC)
    end = begin + timedelta(days=1)
    # A call may have begun the day before; what was made due early is rare.
    before = [
        *store.trail(None, begin, {*_CONSENTS, What.DUE, What.DELETED}),
        *store.trail(begin - timedelta(days=1), begin, [What.PLAYED]),
        *(row for row in store.trail_due(begin, end) if row.at < begin),
    ]
    # Folders first: a call that begins meanwhile has its row before its folder.
    names = [folder.name for folder in folders]
    return Facts(day, now, before, store.trail(begin, end), store.kept(), names)


def audit(facts: Facts, table: RuleTable) -> Audit:
    """Compute the day's report."""
    by = Counter(row.what for row in facts.rows)
    disclosed = {row.call for row in facts.rows if row.what is What.PLAYED and row.about == Notice.AI_DISCLOSURE}
    due_to_hear = {row.call for row in facts.rows if _is_owed_disclosure(row)} | disclosed
    asked, answers = _answers(facts.rows)
    ended = sum(sum(results.values()) for results in answers.values())
    given = sum(results.get("given", 0) for results in answers.values())
    return Audit(
        day=facts.day.isoformat(),
        calls=by[What.CALL_STARTED],
        disclosures_played=len(disclosed),
        disclosure_rate=_rate(len(disclosed), len(due_to_hear)),
        asked=asked,
        answers=answers,
        consent_rate=_rate(given, ended),
        withdrawn=len({(row.caller, row.call) for row in facts.rows if row.what is What.WITHDRAWN}),
        declined=by[What.DECLINED],
        began=dict(Counter(row.about for row in facts.rows if row.what is What.BEGAN)),
        deletions_due=_due(facts),
        deletions_done=sum(1 for row in facts.rows if row.what is What.DELETED and row.call),
        deletions_overdue=sum(1 for call in facts.kept if call.due <= facts.now),
        kept_now=len(facts.kept),
        violations=[*_in_calls(facts, table), *_on_disk(facts)],
    )


def _is_owed_disclosure(row: TrailRow) -> bool:
    """Tell whether a disclosure was due and not heard. A call that may not even be spoken to is owed none."""
    return row.what is What.NOT_PLAYED and row.about == Notice.AI_DISCLOSURE


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _answers(rows: Iterable[TrailRow]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Count each question once a call and activity, however often it was put, and its last answer."""
    asked: Counter[str] = Counter()
    last: dict[tuple[str, str], str] = {}
    seen: set[tuple[str, str]] = set()
    for row in rows:
        key = (row.call, row.about)
        if row.what is What.ASKED and key not in seen and row.call:
            seen.add(key)
            asked[row.about] += 1
        elif row.what in _ENDED and row.call:
            last[key] = _ENDED[row.what]
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (_, about), result in last.items():
        answers[about][result] += 1
    return dict(asked), {about: dict(results) for about, results in answers.items()}


def _due(facts: Facts) -> int:
    """Count the calls whose deletion fell due on the day: by retention, by withdrawal, on request."""
    due: dict[str, datetime] = {}
    for row in sorted((*facts.before, *facts.rows), key=lambda row: row.at):
        if row.what in (What.KEPT, What.DUE) and row.due is not None:
            due[row.call] = row.due
    requested = {
        row.call
        for row in facts.rows
        if row.what is What.DELETED and row.call and row.detail.get("reason") != "retention"
    }
    return len(requested | {call for call, at in due.items() if at.astimezone(UTC).date() == facts.day})


def _in_calls(facts: Facts, table: RuleTable) -> list[str]:
    """Find what began in a call without what the rules need before it."""
    found: list[str] = []
    consents: dict[tuple[str, str], TrailRow] = {}
    played: defaultdict[str, set[str]] = defaultdict(set)
    for row in sorted((*facts.before, *facts.rows), key=lambda row: row.at):
        if row.what in _CONSENTS:
            consents[row.caller, row.about] = row
        elif row.what is What.DELETED and row.about == CONSENTS:
            # Who asked for deletion is unknown from then on: an earlier yes is none any more.
            consents = {key: consent for key, consent in consents.items() if key[0] != row.caller}
        elif row.what is What.PLAYED:
            played[row.call].add(row.about)
        elif row.what is What.BEGAN:
            found += _missing(row, consents.get((row.caller, row.about)), played[row.call], table)
    return found


def _missing(row: TrailRow, consent: TrailRow | None, played: set[str], table: RuleTable) -> list[str]:
    rows = table.applying(row.region, Direction(row.direction), row.at.date())
    activity = Activity(row.about)
    place = f"call {row.call}, {row.at:%H:%M:%S}, {row.region}: {row.about} began"
    found = []
    if not _suffices(strictest_need(rows, activity), consent, row):
        found.append(f"{place} without the consent it needs")
    notices = {notice for rule in rows if activity in rule.before for notice in rule.before[activity].notices}
    unsaid = sorted(notices - played)
    if unsaid:
        found.append(f"{place} before {', '.join(unsaid)} was played")
    return found


def _suffices(need: Need, consent: TrailRow | None, row: TrailRow) -> bool:
    if consent is not None and consent.what is not What.GIVEN:
        return False
    if need < Need.EXPLICIT:
        return True
    if need is Need.NEVER or consent is None or consent.region != row.region:
        return False
    is_valid = consent.due is not None and row.at < consent.due
    return is_valid and (need < Need.WRITTEN or consent.detail.get("form") == Form.WRITTEN)


def _on_disk(facts: Facts) -> list[str]:
    """Compare what is on disk with what may be there."""
    kept = {call.key: call for call in facts.kept}
    found = [f"folder {name}: on disk, and no call of the store" for name in facts.folders if name not in kept]
    for name in facts.folders:
        call = kept.get(name)
        if call is not None and call.due <= facts.now:
            found.append(f"folder {name}: was to be deleted by {call.due:%Y-%m-%d %H:%M} ({call.reason})")
    return found


def as_text(report: Audit) -> str:
    """Return the report for a terminal or a mail."""
    lines = [
        f"compliance audit of {report.day} (UTC) - not legal advice",
        f"  calls                 {report.calls}",
        f"  disclosure rate       {_percent(report.disclosure_rate)} (played to the end: {report.disclosures_played})",
        f"  consent rate          {_percent(report.consent_rate)} (yes per question put)",
    ]
    for about, count in sorted(report.asked.items()):
        results = ", ".join(f"{result} {n}" for result, n in sorted(report.answers.get(about, {}).items()))
        lines.append(f"    asked to {about:<12} {count}: {results or 'call ended first'}")
    lines += [
        f"  withdrawn, declined   {report.withdrawn}, {report.declined}",
        f"  began                 {', '.join(f'{a} {n}' for a, n in sorted(report.began.items())) or 'nothing'}",
        f"  deletions             due {report.deletions_due}, done {report.deletions_done}",
        f"  calls kept            {report.kept_now}, overdue for deletion {report.deletions_overdue}",
        f"  violations            {len(report.violations) or 'none'}",
        *(f"    {violation}" for violation in report.violations),
    ]
    return "\n".join(lines)


def _percent(rate: float | None) -> str:
    return "no data" if rate is None else f"{100 * rate:.1f} %"
