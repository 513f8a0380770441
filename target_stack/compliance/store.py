"""The consent store: consents with what stands behind them, calls of which something is kept, and the audit trail.

Callers are pseudonyms in it. Synchronous and for one thread; ledger.py keeps it off the event loop.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from target_stack.compliance.consent import Consent, ConsentError, Evidence, State, Step
from target_stack.compliance.database import Database, Row
from target_stack.compliance.schema import PERSONAL, statements
from target_stack.compliance.trail import CONSENTS, TrailRow, What, detail_text, from_ms, to_ms
from target_stack.compliance.words import Activity, Form

_TRAIL = "at_ms, what, caller, call, region, direction, about, due_ms, detail"
_TOLD = {Step.ASK: What.ASKED, Step.GIVE: What.GIVEN, Step.REFUSE: What.REFUSED, Step.WITHDRAW: What.WITHDRAWN}


@dataclass(frozen=True, slots=True)
class KeptCall:
    """A call of which something is on disk, in the folder named `key`, until `due` at the latest."""

    key: str
    call_id: str
    caller: str
    region: str
    direction: str
    started: datetime
    due: datetime
    reason: str = "retention"


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of a consent, with what stands behind it."""

    caller: str
    activity: Activity
    step: Step
    evidence: Evidence


class ConsentStore:
    """`pseudonym` turns a call's key into what the trail calls it."""

    def __init__(self, database: Database, pseudonym: Callable[[str], str]) -> None:
        self._database = database
        self._pseudonym = pseudonym
        database.create(statements(database.numbered))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # --- consents --------------------------------------------------------------------------------------------------

    def consents(self, caller: str) -> dict[Activity, Consent]:
        """Return what the caller has been asked or has said, by activity."""
        rows = self._database.execute(
            "SELECT activity, state, region, form, changed_ms, expires_ms FROM consent WHERE caller = ?", (caller,)
        )
        return {consent.activity: consent for consent in map(_consent, rows)}

    def all_consents(self) -> list[tuple[str, Consent]]:
        """Return every caller's pseudonym with each consent."""
        rows = self._database.execute(
            "SELECT activity, state, region, form, changed_ms, expires_ms, caller FROM consent"
            " ORDER BY changed_ms, caller, activity"
        )
        return [(row[6], _consent(row)) for row in rows]

    def take(
        self,
        caller: str,
        activity: Activity,
        step: Step,
        evidence: Evidence,
        expires: datetime | None = None,
        key: str = "",
    ) -> Consent:
        """Move a consent on, with its evidence and the trail's entry, all or nothing. Raises ConsentError.

        `key`: the call's; the trail names it by pseudonym.
        """
        if step not in _TOLD:
            raise ConsentError(f"{step} is no step that somebody takes: consents run out by themselves")
        with self._database.transaction():
            chosen = "SELECT activity, state, region, form, changed_ms, expires_ms FROM consent"
            rows = self._database.execute(
                f"{chosen} WHERE caller = ? AND activity = ?{self._database.for_update}", (caller, activity.value)
            )
            before = _consent(rows[0]) if rows else Consent(activity)
            after = before.after(step, evidence, expires)
            self._write(caller, after)
            self._write_step(StepRow(caller, activity, step, evidence))
            self._write_trail(
                TrailRow(
                    evidence.at,
                    _TOLD[step],
                    caller=caller,
                    call=self._pseudonym(key) if key else "",
                    region=evidence.region,
                    about=activity.value,
                    due=expires,
                    detail={"form": evidence.form.value} if evidence.form else {},
                )
            )
        return after

    def steps(self, caller: str) -> list[StepRow]:
        """Return how the caller's consents came to be, the oldest first."""
        rows = self._database.execute(
            "SELECT activity, step, at_ms, region, call_id, form, asked, answered FROM consent_step"
            " WHERE caller = ? ORDER BY id",
            (caller,),
        )
        return [
            StepRow(
                caller,
                Activity(row[0]),
                Step(row[1]),
                Evidence(from_ms(row[2]), row[3], row[4], Form(row[5]) if row[5] else None, row[6], row[7]),
            )
            for row in rows
        ]

    def _write(self, caller: str, consent: Consent) -> None:
        self._database.execute(
            "INSERT INTO consent (caller, activity, state, region, form, changed_ms, expires_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (caller, activity) DO UPDATE SET state = excluded.state,"
            " region = excluded.region, form = excluded.form, changed_ms = excluded.changed_ms,"
            " expires_ms = excluded.expires_ms",
            (
                caller,
                consent.activity.value,
                consent.state.value,
                consent.region,
                consent.form.value if consent.form else "",
                to_ms(consent.changed_at or datetime.now(UTC)),
                to_ms(consent.expires_at) if consent.expires_at else None,
            ),
        )

    def _write_step(self, row: StepRow) -> None:
        evidence = row.evidence
        self._database.execute(
            "INSERT INTO consent_step (caller, activity, step, at_ms, region, call_id, form, asked, answered)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.caller,
                row.activity.value,
                row.step.value,
                to_ms(evidence.at),
                evidence.region,
                evidence.call_id,
                evidence.form.value if evidence.form else "",
                evidence.asked,
                evidence.answered,
            ),
        )

    # --- calls of which something is kept --------------------------------------------------------------------------

    def keep(self, call: KeptCall) -> None:
        """Note, before its first byte is written, that something of a call is kept."""
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO kept_call (key, call_id, caller, region, direction, started_ms, due_ms, reason)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    call.key,
                    call.call_id,
                    call.caller,
                    call.region,
                    call.direction,
                    to_ms(call.started),
                    to_ms(call.due),
                    call.reason,
                ),
            )
            self._write_trail(self._about(call, What.KEPT, call.started, due=call.due))

    def make_due(self, caller: str, at: datetime, reason: str) -> int:
        """Let everything kept of a caller be deleted at the next sweep; return how many calls that is."""
        with self._database.transaction():
            calls = [call for call in self.kept(caller=caller) if call.due > at]
            for call in calls:
                self._database.execute(
                    "UPDATE kept_call SET due_ms = ?, reason = ? WHERE key = ?", (to_ms(at), reason, call.key)
                )
                self._write_trail(self._about(call, What.DUE, at, due=at, detail={"reason": reason}))
        return len(calls)

    def kept(
        self, *, caller: str | None = None, call_id: str | None = None, due: datetime | None = None
    ) -> list[KeptCall]:
        """Return the calls kept: a caller's, those of a name (its call id or key), those due; all without any."""
        asked = {"caller = ?": caller, "? IN (call_id, key)": call_id, "due_ms <= ?": due and to_ms(due)}
        given = {condition: value for condition, value in asked.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        columns = "key, call_id, caller, region, direction, started_ms, due_ms, reason"
        rows = self._database.execute(
            f"SELECT {columns} FROM kept_call{where} ORDER BY started_ms, key",  # noqa: S608 - conditions of ours
            tuple(given.values()),
        )
        return [_kept(row) for row in rows]

    def forget_call(self, call: KeptCall, at: datetime, reason: str, detail: dict[str, str | int]) -> None:
        """Delete a call's row and what its evidence says of the call; the trail says that it was deleted."""
        with self._database.transaction():
            self._database.execute("DELETE FROM kept_call WHERE key = ?", (call.key,))
            self._forget_words(call.call_id)
            self._write_trail(self._about(call, What.DELETED, at, detail={"reason": reason, **detail}))

    def forget_words(self, call_id: str) -> int:
        """Delete what was answered in a call, and its name, from the evidence; return from how many rows."""
        with self._database.transaction():
            return self._forget_words(call_id)

    def _forget_words(self, call_id: str) -> int:
        ((count,),) = self._database.execute("SELECT COUNT(*) FROM consent_step WHERE call_id = ?", (call_id,))
        self._database.execute("UPDATE consent_step SET call_id = '', answered = '' WHERE call_id = ?", (call_id,))
        return int(count)

    def forget_consents(self, caller: str, at: datetime, reason: str) -> int:
        """Delete a caller's consents and all that stands behind them; return how many rows that were."""
        with self._database.transaction():
            count = 0
            for table in ("consent", "consent_step"):
                (row,) = self._database.execute(f"SELECT COUNT(*) FROM {table} WHERE caller = ?", (caller,))  # noqa: S608 - two names of ours
                self._database.execute(f"DELETE FROM {table} WHERE caller = ?", (caller,))  # noqa: S608 - same
                count += row[0]
            if count:
                detail: dict[str, str | int] = {"reason": reason, "rows": count}
                self._write_trail(TrailRow(at, What.DELETED, caller=caller, about=CONSENTS, detail=detail))
        return count

    def callers_past(self, before: datetime) -> list[str]:
        """Return callers of whom nothing is kept and all of whose consents ended, or were last moved, before then."""
        rows = self._database.execute(
            "SELECT caller FROM consent WHERE caller NOT IN (SELECT caller FROM kept_call)"
            " GROUP BY caller HAVING MAX(CASE WHEN state = ? THEN expires_ms ELSE changed_ms END) < ?",
            (State.GIVEN.value, to_ms(before)),
        )
        return [row[0] for row in rows]

    def purge(self) -> None:
        """Make sure that what was deleted is in no file of the database."""
        self._database.purge(PERSONAL)

    # --- the audit trail -------------------------------------------------------------------------------------------

    def note(self, rows: Iterable[TrailRow]) -> None:
        """Append to the trail."""
        with self._database.transaction():
            for row in rows:
                self._write_trail(row)

    def trail(self, since: datetime | None, until: datetime, kinds: Iterable[What] = What) -> list[TrailRow]:
        """Return the entries of these kinds from `since` (None: from the first) up to `until`, that not included."""
        wanted = [kind.value for kind in kinds]
        marks = ", ".join("?" * len(wanted))
        rows = self._database.execute(
            f"SELECT {_TRAIL} FROM trail WHERE at_ms >= ? AND at_ms < ? AND what IN ({marks})"  # noqa: S608 - marks only
            " ORDER BY at_ms, id",
            (0 if since is None else to_ms(since), to_ms(until), *wanted),
        )
        return [_trail_row(row) for row in rows]

    def trail_due(self, since: datetime, until: datetime) -> list[TrailRow]:
        """Return the entries of calls kept whose deletion falls due in this time."""
        rows = self._database.execute(
            f"SELECT {_TRAIL} FROM trail WHERE what = ? AND due_ms >= ? AND due_ms < ? ORDER BY at_ms, id",  # noqa: S608 - columns of ours
            (What.KEPT.value, to_ms(since), to_ms(until)),
        )
        return [_trail_row(row) for row in rows]

    def _about(
        self,
        call: KeptCall,
        what: What,
        at: datetime,
        due: datetime | None = None,
        detail: dict[str, str | int] | None = None,
    ) -> TrailRow:
        return TrailRow(
            at,
            what,
            caller=call.caller,
            call=self._pseudonym(call.key),
            region=call.region,
            direction=call.direction,
            due=due,
            detail=detail or {},
        )

    def _write_trail(self, row: TrailRow) -> None:
        self._database.execute(
            "INSERT INTO trail (at_ms, what, caller, call, region, direction, about, due_ms, detail)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                to_ms(row.at),
                row.what.value,
                row.caller,
                row.call,
                row.region,
                row.direction,
                row.about,
                to_ms(row.due) if row.due else None,
                detail_text(row.detail),
            ),
        )


def _trail_row(row: Row) -> TrailRow:
    at, what, caller, call, region, direction, about, due, detail = row
    return TrailRow(
        at=from_ms(at),
        what=What(what),
        caller=caller,
        call=call,
        region=region,
        direction=direction,
        about=about,
        due=from_ms(due) if due is not None else None,
        detail=json.loads(detail),
    )


def _kept(row: Row) -> KeptCall:
    key, call_id, caller, region, direction, started_ms, due_ms, reason = row
    return KeptCall(key, call_id, caller, region, direction, from_ms(started_ms), from_ms(due_ms), reason)


def _consent(row: Row) -> Consent:
    return Consent(
        Activity(row[0]),
        State(row[1]),
        row[2],
        Form(row[3]) if row[3] else None,
        from_ms(row[4]),
        from_ms(row[5]) if row[5] is not None else None,
    )
