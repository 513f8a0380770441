"""The store on SQLite: what every order of steps leaves, and that what was deleted is in no byte of any file."""

import secrets
import sqlite3
from datetime import timedelta

import pytest
from compliance_bench import NOW, Desk, found_in
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from target_stack.compliance.consent import ConsentError, Evidence, State, Step
from target_stack.compliance.database import IN_MEMORY, SqliteDatabase, StoreError
from target_stack.compliance.decision import Situation, decide
from target_stack.compliance.rules import shipped_rules
from target_stack.compliance.store import ConsentStore
from target_stack.compliance.trail import TrailRow, What, from_ms, to_ms
from target_stack.compliance.words import Activity, Direction, Form, Notice

pytestmark = pytest.mark.unit

STEPS = (Step.ASK, Step.GIVE, Step.REFUSE, Step.WITHDRAW)
REGIONS = ("US-CA", "US-TX", "DE")
WANTED = frozenset({Activity.CALL, Activity.PROCESS, Activity.TRANSCRIBE, Activity.RECORD})


class Consents(RuleBasedStateMachine):
    """Callers are asked, answer, change their minds, move, wait; the store must say what they last said."""

    def __init__(self):
        super().__init__()
        self.store = ConsentStore(SqliteDatabase(IN_MEMORY), lambda name: name)
        self.now = NOW
        # By caller and activity: the last answer, its region, and when a yes ends.
        self.last = {}
        self.steps = []

    def teardown(self):
        self.store.close()

    @rule(
        caller=st.sampled_from(["anna", "ben"]),
        step=st.sampled_from(STEPS),
        region=st.sampled_from(REGIONS),
        days=st.integers(1, 30),
    )
    def take(self, caller, step, region, days):
        activity = Activity.RECORD
        expires = self.now + timedelta(days=days) if step is Step.GIVE else None
        self.store.take(caller, activity, step, Evidence(self.now, region, "c", Form.KEYPAD, "q", "a"), expires, "key")
        self.steps.append((caller, activity, step))
        if step is not Step.ASK:
            self.last[caller, activity] = (step, region, expires)
        elif self.last.get((caller, activity), (Step.GIVE,))[0] is Step.GIVE:
            # A question makes an earlier yes void, and leaves a no.
            self.last.pop((caller, activity), None)

    @rule(days=st.integers(1, 40))
    def wait(self, days):
        self.now += timedelta(days=days)

    @rule(caller=st.sampled_from(["anna", "ben"]))
    def forget(self, caller):
        self.store.forget_consents(caller, self.now, "request")
        self.last = {key: value for key, value in self.last.items() if key[0] != caller}
        self.steps = [row for row in self.steps if row[0] != caller]

    @invariant()
    def no_record_without_consent(self):
        for caller in ("anna", "ben"):
            consents = self.store.consents(caller)
            for region in REGIONS:
                situation = Situation(region, Direction.INBOUND, self.now, consents, WANTED, said=frozenset(Notice))
                decision = decide(shipped_rules(), situation)
                step, where, expires = self.last.get((caller, Activity.RECORD), (None, "", None))
                is_yes = step is Step.GIVE and where == region and self.now < expires
                is_no = step in (Step.REFUSE, Step.WITHDRAW)
                # In Texas a notice is enough; nowhere is it after a no.
                assert decision.allows(Activity.RECORD) == (not is_no if region == "US-TX" else is_yes)

    @invariant()
    def the_evidence_is_whole(self):
        rows = [(row.caller, row.activity, row.step) for caller in ("anna", "ben") for row in self.store.steps(caller)]
        assert sorted(rows) == sorted(self.steps)


TestConsents = Consents.TestCase
TestConsents.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


@given(st.lists(st.sampled_from(STEPS), max_size=8))
@settings(max_examples=20, deadline=None)
def test_silence_is_no_consent(steps):
    store = ConsentStore(SqliteDatabase(IN_MEMORY), lambda name: name)
    for step in steps:
        expires = NOW + timedelta(days=1) if step is Step.GIVE else None
        store.take("anna", Activity.RECORD, step, Evidence(NOW, "DE", form=Form.VOICE), expires)
    consent = store.consents("anna").get(Activity.RECORD)
    store.close()
    assert (consent is not None and consent.holds("DE", NOW)) == (bool(steps) and steps[-1] is Step.GIVE)


def test_a_step_is_whole_or_not_at_all():
    store = ConsentStore(SqliteDatabase(IN_MEMORY), lambda name: name)
    with pytest.raises(ConsentError):
        store.take("anna", Activity.RECORD, Step.GIVE, Evidence(NOW, "DE"), NOW + timedelta(days=1))
    assert (store.consents("anna"), store.steps("anna"), store.trail(None, NOW + timedelta(days=1))) == ({}, [], [])
    with pytest.raises(ConsentError, match="run out by themselves"):
        store.take("anna", Activity.RECORD, Step.EXPIRE, Evidence(NOW, "DE"))
    store.close()


def test_what_is_written_is_read_back_by_another_connection(tmp_path):
    with Desk(tmp_path) as desk:
        given_ = desk.give("+13125550100", call_id="call-7")
        call = desk.keep("+13125550100", "call-7")
        desk.store.note([TrailRow(NOW, What.PLAYED, about="ai_disclosure", detail={"why": "x", "n": 2})])
        with Desk(tmp_path) as other:
            caller = other.pseudonyms.of("+13125550100")
            assert other.store.consents(caller) == {Activity.RECORD: given_}
            assert other.store.kept() == other.store.kept(caller=caller) == other.store.kept(call_id="call-7") == [call]
            assert other.store.kept(call_id=call.key) == [call]
            assert other.store.kept(due=NOW) == other.store.kept(caller="nobody") == []
            (step,) = other.store.steps(caller)
            assert (step.step, step.evidence.answered, step.evidence.call_id) == (Step.GIVE, "yes you may", "call-7")
            rows = other.store.trail(NOW, NOW + timedelta(days=1))
            assert [row.what for row in rows] == [What.GIVEN, What.KEPT, What.PLAYED]
            assert rows[2].detail == {"why": "x", "n": 2}
            assert other.store.all_consents() == [(caller, given_)]
    assert (tmp_path / "compliance.sqlite").stat().st_mode & 0o777 == 0o600


WORDS = b"yes you may record Jonathan Reyes"


def test_a_deleted_caller_is_in_no_byte_of_any_file(tmp_path):
    audio = secrets.token_bytes(64_000)
    with Desk(tmp_path) as desk:
        for number in range(40):
            desk.give(f"other-{number}", words=f"yes {number}", call_id=f"other-call-{number}")
        desk.give("+13125550100", words=WORDS.decode(), call_id="call-jonathan")
        files = {
            "caller.wav": audio,
            "agent.wav": audio[::-1],
            "transcript.jsonl": WORDS,
            "turns.jsonl": b'{"stt_ms": 7}',
        }
        call = desk.keep("+13125550100", "call-jonathan", files=files)
        kept = desk.keep("other-1", "other-call-1", files={"caller.wav": b"other audio"})
        pseudonym = desk.pseudonyms.of("+13125550100").encode()
        needles = (WORDS, audio[:400], audio[-400:], audio[::-1][:400], b"call-jonathan", call.key.encode())
        assert len(found_in(tmp_path, *needles)) >= 6, "the search must be able to find"
        done = desk.deletion.of_caller("+1 312 555 0100", NOW)
        assert (done.calls, done.erased.files, done.failed) == (1, 4, [])
        assert done.erased.bytes == 2 * len(audio) + len(WORDS) + len(files["turns.jsonl"])
        # While the store is open, its write-ahead log and its shared memory are searched, too.
        assert found_in(tmp_path, *needles) == []
        # What stays of them is the trail's: pseudonyms.
        rows = desk.store.trail(None, NOW + timedelta(days=1))
        assert {row.caller for row in rows if row.what is What.DELETED} == {pseudonym.decode()}
        assert not (desk.folders.of(call.key)).exists()
        # The others are untouched.
        assert (desk.folders.of(kept.key) / "caller.wav").read_bytes() == b"other audio"
        assert len(desk.store.all_consents()) == 40
    assert found_in(tmp_path, *needles, b"+13125550100", b"3125550100") == []


def test_a_deleted_call_takes_its_words_and_leaves_the_consent(tmp_path):
    with Desk(tmp_path) as desk:
        desk.give("anna", words="certainly Jonathan", call_id="call-1")
        desk.keep("anna", "call-1", files={"caller.wav": b"a" * 1000})
        other = desk.keep("anna", "call-2", files={"caller.wav": b"b" * 1000})
        done = desk.deletion.of_call("call-1", NOW)
        assert (done.calls, done.erased.bytes) == (1, 1000)
        assert found_in(tmp_path, b"certainly Jonathan", b"call-1", b"a" * 100) == []
        assert desk.store.kept() == [other]
        assert desk.store.consents(desk.pseudonyms.of("anna"))[Activity.RECORD].state is State.GIVEN
        assert not desk.deletion.of_call("call-1", NOW).is_anything


def test_the_sweep_deletes_what_is_due_and_consents_that_prove_nothing_more(tmp_path):
    with Desk(tmp_path) as desk:
        desk.give("anna")
        desk.give("ben")
        first = desk.keep("anna", "call-1", days=30, files={"caller.wav": b"x" * 10})
        second = desk.keep("anna", "call-2", days=90, files={"caller.wav": b"y" * 10})
        proof = timedelta(days=365)
        assert not desk.deletion.due(first.due - timedelta(seconds=1), proof).is_anything
        assert desk.deletion.due(first.due, proof).calls == 1
        assert desk.store.kept() == [second]
        assert desk.store.make_due(second.caller, NOW, "withdrawn") == 1
        assert desk.deletion.due(NOW, proof).calls == 1
        assert list(desk.folders) == []
        # Both yeses end after a year; a year later nobody needs to prove them.
        assert desk.deletion.due(NOW + timedelta(days=729), proof).rows == 0
        assert desk.deletion.due(NOW + timedelta(days=731), proof).rows == 4
        assert desk.store.all_consents() == []
        reasons = [
            row.detail["reason"]
            for row in desk.store.trail(None, NOW + timedelta(days=800))
            if row.what is What.DELETED
        ]
        assert sorted(reasons) == ["proof no longer needed", "proof no longer needed", "retention", "withdrawn"]


def test_files_that_cannot_be_removed_keep_their_row(tmp_path, monkeypatch):
    with Desk(tmp_path) as desk:
        desk.give("anna")
        call = desk.keep("anna", "call-1", files={"caller.wav": b"x"})

        def stuck(key):
            raise PermissionError(f"no right to remove {key}")

        monkeypatch.setattr(desk.folders, "erase", stuck)
        done = desk.deletion.of_caller("anna", NOW)
        assert (done.calls, done.rows) == (0, 0)
        assert "no right to remove" in done.failed[0]
        assert desk.store.kept() == [call]
        assert len(desk.store.all_consents()) == 1


def test_a_reader_in_the_way_is_told_and_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr("target_stack.compliance.database._BUSY_MS", 100)
    with Desk(tmp_path) as desk:
        desk.give("anna")
        reader = sqlite3.connect(tmp_path / "compliance.sqlite", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM consent").fetchall()
        with pytest.raises(StoreError, match=r"a reader holds|locked"):
            desk.deletion.of_caller("anna", NOW)
        reader.close()
        desk.store.purge()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello, this is no database at all" * 100)
    with pytest.raises(StoreError, match=r"notes\.txt"):
        ConsentStore(SqliteDatabase(str(path)), lambda name: name)


def test_times_keep_their_milliseconds():
    assert from_ms(to_ms(NOW)) == NOW
    with pytest.raises(ValueError, match="no time zone"):
        to_ms(NOW.replace(tzinfo=None))
