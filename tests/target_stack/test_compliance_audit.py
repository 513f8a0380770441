"""The daily report from the trail and the disk; and that what ought not to have happened shows in it."""

from datetime import timedelta

import pytest
from compliance_bench import NOW, Desk

from target_stack.compliance.audit import as_text, audit, look_up
from target_stack.compliance.rules import shipped_rules
from target_stack.compliance.trail import TrailRow, What

pytestmark = pytest.mark.unit

MINUTE = timedelta(minutes=1)
NOTICES = ("ai_disclosure", "data_notice", "recording_notice")


def call(name, *events, caller="anna", region="US-CA", at=NOW, direction="inbound"):
    """A call's trail; an event is (what, about) or (what, about, how it was given)."""
    rows = [TrailRow(at, What.CALL_STARTED, caller, name, region, direction)]
    for number, (what, about, *form) in enumerate(events, 1):
        due = at + timedelta(days=365) if what is What.GIVEN else None
        detail = {"form": form[0]} if form else {}
        rows.append(TrailRow(at + number * MINUTE / 60, what, caller, name, region, direction, about, due, detail))
    return rows


def heard(*notices):
    return [(What.PLAYED, notice) for notice in notices or NOTICES]


def yes(activity, form="keypad"):
    return [(What.ASKED, activity), (What.GIVEN, activity, form)]


def began(*activities):
    return [(What.BEGAN, activity) for activity in activities]


def report(tmp_path, *calls, before=(), now=NOW + timedelta(hours=6)):
    with Desk(tmp_path) as desk:
        desk.store.note([row for rows in (*before, *calls) for row in rows])
        return audit(look_up(desk.store, desk.folders, NOW.date(), now), shipped_rules())


def test_a_clean_day(tmp_path):
    good = report(
        tmp_path,
        call("c1", *heard(), *yes("transcribe"), *yes("record"), *began("process", "record", "transcribe")),
        call("c2", *heard(), (What.ASKED, "record"), (What.REFUSED, "record"), *began("process"), caller="ben"),
        call("c3", *heard(), (What.ASKED, "record"), (What.ASKED, "record"), (What.UNANSWERED, "record"), caller="c"),
        call("c4", (What.NOT_PLAYED, "ai_disclosure"), caller="dora"),
        call(
            "c5", *heard("ai_disclosure", "recording_notice"), *began("process", "record"), region="US-TX", caller="e"
        ),
        # Of the day before: not counted.
        call("c0", *heard(), at=NOW - timedelta(days=1)),
    )
    assert (good.calls, good.disclosures_played, good.disclosure_rate) == (5, 4, 0.8)
    assert good.asked == {"record": 3, "transcribe": 1}
    assert good.answers == {"record": {"given": 1, "refused": 1, "unanswered": 1}, "transcribe": {"given": 1}}
    assert good.consent_rate == 0.5
    assert good.began == {"process": 3, "record": 2, "transcribe": 1}
    assert good.violations == []
    text = as_text(good)
    assert "disclosure rate       80.0 %" in text
    assert "not legal advice" in text
    assert "violations            none" in text


def test_a_day_without_calls_has_no_rates(tmp_path):
    empty = report(tmp_path)
    assert (empty.calls, empty.disclosure_rate, empty.consent_rate) == (0, None, None)
    assert "no data" in as_text(empty)


def test_a_consent_of_an_earlier_day_counts(tmp_path):
    before = [call("c0", *heard(), *yes("record"), at=NOW - timedelta(days=30))]
    assert report(tmp_path, call("c1", *heard(), *began("process", "record")), before=before).violations == []


WRONG = {
    "no disclosure": (call("c1", *began("process"), region="US-TX"), "process began before ai_disclosure was played"),
    "disclosed too late": (
        call("c1", *began("process"), *heard(), region="US-TX"),
        "process began before ai_disclosure was played",
    ),
    "no consent": (call("c1", *heard(), *began("record")), "record began without the consent it needs"),
    "asked, not answered": (
        call("c1", *heard(), (What.ASKED, "record"), *began("record")),
        "record began without the consent it needs",
    ),
    "refused": (
        call("c1", *heard(), (What.REFUSED, "record"), *began("record"), region="US-TX"),
        "record began without the consent it needs",
    ),
    "taken back": (
        call("c1", *heard(), *yes("record"), (What.WITHDRAWN, "record"), *began("record")),
        "record began without the consent it needs",
    ),
    "consent to another thing": (
        call("c1", *heard(), *yes("transcribe"), *began("record")),
        "record began without the consent it needs",
    ),
    "not in writing": (
        call("c1", *heard(), *yes("biometrics", "voice"), *began("biometrics"), region="US-IL"),
        "biometrics began without the consent it needs",
    ),
    "GDPR, understood without consent": (
        call("c1", *heard(), *began("process"), region="DE"),
        "process began without the consent it needs",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_ought_not_to_have_happened_shows(tmp_path, name):
    rows, message = WRONG[name]
    violations = report(tmp_path, rows).violations
    assert any(message in violation for violation in violations), violations
    assert all("anna" not in violation for violation in violations)


@pytest.mark.parametrize(
    ("region", "age"), [("US-WA", timedelta(days=1)), ("US-CA", timedelta(days=366))], ids=["elsewhere", "run out"]
)
def test_a_consent_that_does_not_hold_here_or_now_is_none(tmp_path, region, age):
    before = [call("c0", *heard(), *yes("record"), at=NOW - age)]
    violations = report(tmp_path, call("c1", *heard(), *began("record"), region=region), before=before).violations
    assert len(violations) == 1


@pytest.mark.parametrize("days_ago", [0, 1])
@pytest.mark.parametrize(
    ("region", "before", "after"),
    [
        # Whose yes was deleted is to be asked anew; whose no was deleted is unknown, and told as everybody is.
        ("US-CA", yes("record"), 1),
        ("US-TX", [(What.WITHDRAWN, "record")], 0),
    ],
)
def test_consents_that_were_deleted_are_none(tmp_path, region, before, after, days_ago):
    then = NOW - timedelta(days=days_ago)
    deleted = [TrailRow(then + MINUTE, What.DELETED, "anna", about="consents")]
    earlier = [call("c0", *before, region=region, at=then), deleted]
    later = call("c1", *heard(), *began("record"), region=region, at=NOW + 2 * MINUTE)
    assert len(report(tmp_path, later, before=earlier).violations) == after
    others = [TrailRow(then + MINUTE, What.DELETED, "ben", about="consents")]
    with_others = report(tmp_path / "other", later, before=[earlier[0], others])
    assert len(with_others.violations) == 1 - after


def test_another_callers_consent_is_none(tmp_path):
    before = [call("c0", *heard(), *yes("record"), at=NOW - timedelta(days=1), caller="ben")]
    assert len(report(tmp_path, call("c1", *heard(), *began("record")), before=before).violations) == 1


def test_deletions_due_done_and_overdue(tmp_path):
    with Desk(tmp_path) as desk:
        due_today = desk.keep("anna", "call-1", at=NOW - timedelta(days=30), days=30, files={"caller.wav": b"x"})
        desk.keep("ben", "call-2", at=NOW - timedelta(days=1), days=30, files={"caller.wav": b"x"})
        facts = look_up(desk.store, desk.folders, NOW.date(), NOW + MINUTE)
        late = audit(facts, shipped_rules())
        assert (late.deletions_due, late.deletions_done, late.deletions_overdue, late.kept_now) == (1, 0, 1, 2)
        assert late.violations == [f"folder {due_today.key}: was to be deleted by 2026-11-23 12:00 (retention)"]
        desk.deletion.due(NOW + MINUTE, timedelta(days=365))
        # On request, before it was due.
        desk.deletion.of_caller("ben", NOW + 2 * MINUTE)
        done = audit(look_up(desk.store, desk.folders, NOW.date(), NOW + 3 * MINUTE), shipped_rules())
        assert (done.deletions_due, done.deletions_done, done.deletions_overdue, done.kept_now) == (2, 2, 0, 0)
        assert done.violations == []
        next_day = audit(look_up(desk.store, desk.folders, NOW.date() + timedelta(days=1), NOW), shipped_rules())
        assert (next_day.deletions_due, next_day.deletions_done) == (0, 0)


def test_a_folder_that_no_call_explains_is_found(tmp_path):
    (tmp_path / "calls" / "2026-11-23" / "left-behind").mkdir(parents=True)
    assert report(tmp_path).violations == ["folder left-behind: on disk, and no call of the store"]
