"""Whole calls behind their compliance, by region and answer: what is processed, said, and left on disk."""

import asyncio
import contextlib
import json
import sqlite3
import tempfile
import threading
import wave
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from compliance_bench import found_in
from compliance_call import HEARD, QUESTION, VOICE, Guarded, silence, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from target_stack.compliance.audit import audit, look_up
from target_stack.compliance.consent import Evidence, Step
from target_stack.compliance.database import StoreError
from target_stack.compliance.deletion import Deletion
from target_stack.compliance.office import utc_now
from target_stack.compliance.recording.folders import CallFolders
from target_stack.compliance.recording.recording import AGENT_FILE, CALLER_FILE, TRANSCRIPT_FILE, TURNS_FILE
from target_stack.compliance.rules import shipped_rules
from target_stack.compliance.trail import What
from target_stack.compliance.words import Activity, Form
from target_stack.frames import StageFailed
from target_stack.gate import Gate

pytestmark = pytest.mark.unit

ALL_FILES = {CALLER_FILE, AGENT_FILE, TRANSCRIPT_FILE, TURNS_FILE}
DISCLOSURE = "Hello, you are speaking with an AI assistant of Example Ltd, not with a person."


def run(folder, scenario, **options):
    async def main():
        async with Guarded(folder, **options) as bench:
            await scenario(bench)
        return bench

    return asyncio.run(main())


def files_of(folder):
    return {path.name for path in (folder / "calls").rglob("*") if path.is_file()}


async def until_files(folder):
    """Wait for the writer's thread, which opens them when it gets to it."""
    async with asyncio.timeout(5):
        while files_of(folder) != ALL_FILES:
            await asyncio.sleep(0.002)


def trail(bench):
    with contextlib.closing(bench.store()) as store:
        return store.trail(None, utc_now() + timedelta(days=1))


def told(bench):
    return [(row.what.value, row.about) for row in trail(bench)]


async def converse(call):
    """Let the caller speak, hear the answer, and let it drain."""
    await call.until_in()
    await call.speak()
    await call.until_said("Thank you Jonathan.")
    await asyncio.sleep(0.01)


# Region, keys pressed at each question ("" for silence), then: is the caller understood, is anything stored.
CALLS = [
    ("US-TX", [], True, True),
    ("US-CA", ["1"], True, True),
    ("US-CA", ["2"], True, False),
    ("US-CA", ["", ""], True, False),
    ("US-IL", ["1"], True, True),
    ("US-FL", ["", "1"], True, True),
    ("DE", ["1", "1"], True, True),
    ("DE", ["1", "2"], True, False),
    ("DE", ["1", "", ""], True, False),
    ("DE", ["2"], False, False),
    ("DE", ["", ""], False, False),
    ("GB", ["1", "1"], True, True),
    ("JP", ["1", "1"], True, True),
    ("JP", ["", ""], False, False),
    ("", ["2"], False, False),
]


@pytest.mark.parametrize(
    ("region", "keys", "is_understood", "is_stored"),
    CALLS,
    ids=[f"{r or 'none'}-{'-'.join(k) or 'x'}" for r, k, *_ in CALLS],
)
def test_region_and_answer_decide_what_is_processed_and_stored(tmp_path, region, keys, is_understood, is_stored):
    async def scenario(bench):
        call = await bench.call(region=region).start()
        for key in keys:
            await call.until_asked()
            # Whatever is said now is kept by nobody.
            await call.speak(VOICE if key else QUESTION)
            if key:
                call.press(key)
            async with asyncio.timeout(5):
                while call.session._opening.ear is not None and call.session._opening.ear._is_open:
                    await asyncio.sleep(0.001)
        if is_understood:
            await converse(call)
        else:
            await call.until_declined()
            await call.speak()
        await call.close()

    bench = run(tmp_path, scenario, stt=[HEARD] if region in ("DE", "GB", "JP", "", "US-TX") else ["mumble", HEARD])
    call = bench.calls[0]
    assert call.edge.texts[0] == DISCLOSURE
    assert bool(bench.on_disk()) == is_stored
    assert files_of(tmp_path) == (ALL_FILES if is_stored else set())
    began = {about for what, about in told(bench) if what == "began"}
    assert began == ({"process", "record", "transcribe"} if is_stored else {"process"} if is_understood else set())
    assert call.edge.declined == (not is_understood)
    if not is_understood:
        assert (bench.vads, bench.stt.heard) == (0, []), "nothing may listen before it may"
        assert bench.telemetry.stats.sessions == 0


# What the store says of the caller when the call comes; then nothing is answered. Is the caller understood, and stored?
KNOWN = [
    ("US-TX", {"unknown": "ps", "asked": "ps", "given": "ps", "expired": "ps", "refused": "", "withdrawn": ""}),
    ("US-CA", {"unknown": "p", "asked": "p", "given": "ps", "expired": "p", "refused": "", "withdrawn": ""}),
    ("US-IL", {"unknown": "p", "asked": "p", "given": "ps", "expired": "p", "refused": "", "withdrawn": ""}),
    ("DE", {"unknown": "", "asked": "", "given": "ps", "expired": "", "refused": "", "withdrawn": ""}),
    ("ZZ", {"unknown": "", "asked": "", "given": "ps", "expired": "", "refused": "", "withdrawn": ""}),
]
STEPS = {
    "unknown": (),
    "asked": (Step.ASK,),
    "given": (Step.GIVE,),
    "expired": (Step.GIVE,),
    "refused": (Step.REFUSE,),
    "withdrawn": (Step.GIVE, Step.WITHDRAW),
}


@pytest.mark.parametrize("state", STEPS)
@pytest.mark.parametrize(("region", "expected"), KNOWN, ids=[row[0] for row in KNOWN])
def test_every_region_in_every_state_of_consent(tmp_path, region, expected, state):
    then = utc_now() - timedelta(days=2)

    def known(store, caller):
        for activity in (Activity.PROCESS, Activity.TRANSCRIBE, Activity.RECORD):
            for step in STEPS[state]:
                until = then + timedelta(days=1 if state == "expired" else 100) if step is Step.GIVE else None
                store.take(caller, activity, step, Evidence(then, region, form=Form.KEYPAD), until)

    async def scenario(bench):
        caller = bench.office.pseudonyms.of("+13125550100")
        await bench.office.ledger.ask(lambda store: known(store, caller))
        call = await bench.call(region=region).start()
        await call.speak(VOICE)
        if expected[state]:
            await converse(call)
        else:
            await call.until_declined()
            await call.speak()
        await call.close()

    bench = run(tmp_path, scenario, asks=1, answer_timeout_s=0.1)
    assert bool(bench.on_disk()) == (expected[state] == "ps")
    assert files_of(tmp_path) == (ALL_FILES if expected[state] == "ps" else set())
    assert bool(bench.stt.heard) == bool(expected[state])
    with contextlib.closing(bench.store()) as store:
        facts = look_up(store, bench.office.folders, utc_now().date(), utc_now())
    assert audit(facts, shipped_rules()).violations == []


def test_what_is_stored_is_the_call(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="US-TX").start()
        await call.until_in()
        # The greeting's 60 ms on the timeline are over.
        await asyncio.sleep(0.08)
        await converse(call)
        await call.close()

    run(tmp_path, scenario)
    (folder,) = (tmp_path / "calls").glob("*/*")
    assert folder.stat().st_mode & 0o777 == 0o700
    with wave.open(str(folder / CALLER_FILE)) as caller:
        assert (caller.getframerate(), caller.getnchannels(), caller.getsampwidth()) == (16_000, 1, 2)
        samples = np.frombuffer(caller.readframes(caller.getnframes()), np.int16)
    start = next(
        at
        for at in range(len(samples))
        if samples[at] == VOICE[0] and np.array_equal(samples[at : at + 50], VOICE[:50])
    )
    assert np.array_equal(samples[start : start + len(VOICE)], VOICE)
    with wave.open(str(folder / AGENT_FILE)) as agent:
        assert agent.getframerate() == 24_000
        spoken = np.frombuffer(agent.readframes(agent.getnframes()), np.int16)
    # Greeting and reply, each 60 ms.
    assert np.count_nonzero(spoken) == pytest.approx(2 * 1440, rel=0.02)
    lines = [json.loads(line) for line in (folder / TRANSCRIPT_FILE).read_text().splitlines()]
    assert (
        lines
        == [
            {"turn": 0, "who": "agent", "text": "How can I help?"},
            {"turn": 1, "who": "caller", "text": HEARD},
            {"turn": 1, "who": "agent", "text": "Thank you Jonathan."},
        ]
        or lines[0]["turn"] == 1
    )
    (turn,) = [json.loads(line) for line in (folder / TURNS_FILE).read_text().splitlines()]
    assert turn["turn"] == 1
    assert turn["endpointing_ms"] > 0


@pytest.mark.parametrize(("words", "is_stored"), [("Yes, you may.", True), ("No thank you.", False), ("What?", False)])
def test_a_spoken_answer_counts_where_it_may_be_understood(tmp_path, words, is_stored):
    async def scenario(bench):
        call = await bench.call(region="US-CA").start()
        for _ in range(2 if words == "What?" else 1):
            await call.until_asked()
            await call.speak(np.concatenate((tone(500), silence(700))))
            async with asyncio.timeout(5):
                while call.session._opening.ear is not None and call.session._opening.ear._is_open:
                    await asyncio.sleep(0.001)
        await converse(call)
        await call.close()

    texts = [words, words, HEARD] if words == "What?" else [words, HEARD]
    bench = run(tmp_path, scenario, stt=texts, answer_timeout_s=1.0)
    assert bool(bench.on_disk()) == is_stored
    with contextlib.closing(bench.store()) as store:
        steps = store.steps(bench.office.pseudonyms.of("+13125550100"))
    answers = {(step.step.value, step.evidence.answered) for step in steps if step.step.value != "ask"}
    # Of a no its words are not kept; of what was unclear nothing is.
    assert answers == {("give", words)} if is_stored else answers <= {("refuse", "no")}
    assert bool(answers) == (words != "What?")


def test_a_spoken_answer_is_understood_everywhere_where_the_operator_says_so(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="DE").start()
        for _ in range(2):
            await call.until_asked()
            await call.speak(np.concatenate((tone(500), silence(700))))
            async with asyncio.timeout(5):
                while call.session._opening.ear is not None and call.session._opening.ear._is_open:
                    await asyncio.sleep(0.001)
        await converse(call)
        await call.close()

    bench = run(tmp_path, scenario, stt=["yes", "no", HEARD], transient_answers=True, answer_timeout_s=1.0)
    assert bench.on_disk() == []
    assert ("began", "process") in told(bench)


def test_the_disclosure_is_delivered_when_its_last_audio_left_and_not_before(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="US-TX", is_stuck=True).start()
        (piece,) = call.edge.pieces
        assert (piece.text, piece.turn) == (DISCLOSURE, -1)
        call.session.playout_started(-1, 1)
        await asyncio.sleep(0.01)
        # Queued, begun, and not over.
        assert ("played", "ai_disclosure") not in told(bench)
        call.session.playout_drained(-1, 2)
        await call.until_said("If this call is recorded")
        assert ("played", "ai_disclosure") in told(bench)
        assert ("played", "recording_notice") not in told(bench)
        assert bench.office.counts.disclosure_ratio == 1.0
        await call.close()

    bench = run(tmp_path, scenario)
    assert ("not_played", "recording_notice") in told(bench)
    assert not any(what == "began" for what, _ in told(bench))


@pytest.mark.parametrize("how", ["hung up in it", "never audible"])
def test_a_disclosure_that_was_not_heard_is_not_delivered(tmp_path, how):
    async def scenario(bench):
        call = bench.call(region="US-TX", is_stuck=how == "hung up in it", is_mute=how == "never audible")
        await call.start()
        if how == "never audible":
            await call.edge.until_told(StageFailed)
        await call.speak()
        await call.close()

    bench = run(tmp_path, scenario)
    assert told(bench) == [("call_started", ""), ("not_played", "ai_disclosure"), ("call_ended", "")]
    assert bench.office.counts.disclosure_ratio == 0.0
    assert (bench.vads, bench.on_disk()) == (0, [])
    if how == "never audible":
        (failed,) = bench.calls[0].edge.told(StageFailed)
        assert (failed.stage, failed.fatal) == ("compliance", True)


def test_a_yes_is_remembered_in_its_region_until_it_runs_out(tmp_path):
    times = [utc_now()]

    async def scenario(bench):
        first = await bench.call("call-1", region="US-CA").start()
        await first.until_asked()
        first.press("1")
        await first.until_in()
        await first.close()
        second = await bench.call("call-2", region="US-CA").start()
        await second.until_in()
        assert not any("May we record" in text for text in second.edge.texts)
        await second.close()
        other = await bench.call("call-3", region="US-WA").start()
        await other.until_asked()
        other.press("2")
        await other.until_in()
        await other.close()
        times[0] += timedelta(days=400)
        late = await bench.call("call-4", region="US-CA", caller="+13125550199").start()
        await late.until_asked()
        await late.close()

    run(tmp_path, scenario, now=lambda: times[0])


def test_callers_without_a_number_are_each_asked(tmp_path):
    async def scenario(bench):
        for number in range(2):
            call = await bench.call(f"call-{number}", region="US-CA", caller="anonymous").start()
            await call.until_asked()
            call.press("1")
            await call.until_in()
            await call.close()

    run(tmp_path, scenario)


@pytest.mark.parametrize("how", ["key", "words"])
@pytest.mark.parametrize(("region", "goes_on"), [("US-TX", True), ("DE", False)])
def test_what_is_taken_back_is_erased_at_once(tmp_path, how, region, goes_on):
    async def scenario(bench):
        earlier = await bench.call("earlier", region=region).start()
        while region == "DE" and "How can I help?" not in earlier.edge.texts:
            if earlier.session._opening.ear is not None:
                earlier.press("1")
            await asyncio.sleep(0.002)
        await converse(earlier)
        await earlier.close()
        call = await bench.call("call-1", region=region).start()
        await call.until_in()
        await call.speak()
        await call.until_said("Thank you Jonathan.")
        async with asyncio.timeout(5):
            while len(list((tmp_path / "calls").glob("*/*"))) != 2:
                await asyncio.sleep(0.005)
        if how == "key":
            call.press("9")
        else:
            await asyncio.sleep(0.01)
            await call.speak()
        await (call.until_said("Nothing of this call is kept") if goes_on else call.until_declined())
        async with asyncio.timeout(5):
            while files_of(tmp_path):
                await asyncio.sleep(0.005)
        # The call goes on, unrecorded.
        await call.speak()
        await call.close()

    bench = run(tmp_path, scenario, stt=[HEARD, HEARD, "please delete my data", "and so on"])
    assert files_of(tmp_path) == set()
    assert bench.on_disk() == []
    rows = trail(bench)
    assert {row.about for row in rows if row.what is What.WITHDRAWN} >= {"record", "transcribe"}
    assert sum(row.what is What.DELETED for row in rows) == 2
    assert bench.office.counts.consents["withdrawn"] == 1
    with contextlib.closing(bench.store()) as store:
        assert store.kept() == []


def test_taken_back_while_the_call_opens_nothing_is_kept(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="US-TX").start()
        call.press("9")
        await converse(call)
        await call.close()

    bench = run(tmp_path, scenario)
    assert bench.on_disk() == []
    assert ("began", "process") in told(bench)
    assert ("began", "record") not in told(bench)


def test_an_outbound_call_without_consent_is_ended_without_a_word(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="US-TX", direction="outbound").start()
        await call.until_declined()
        assert call.edge.pieces == []
        await call.close()

    bench = run(tmp_path, scenario)
    assert told(bench) == [("call_started", ""), ("declined", "process"), ("call_ended", "")]


def test_an_outbound_call_agreed_to_in_writing_says_who_calls_and_ends_on_the_opt_out_key(tmp_path):
    async def scenario(bench):
        caller, now = bench.office.pseudonyms.of("+13125550100"), utc_now()
        evidence = Evidence(now, "US-TX", form=Form.WRITTEN, answered="form of 2026-11-01")
        await bench.office.ledger.ask(
            lambda store: store.take(caller, Activity.CALL, Step.GIVE, evidence, now + timedelta(days=9))
        )
        call = await bench.call(region="US-TX", direction="outbound").start()
        await call.until_in()
        assert call.edge.texts[:3] == [
            DISCLOSURE,
            "This is a call on behalf of Example Ltd.",
            "If this call is recorded, recording and transcript are deleted after 90 days.",
        ]
        assert "Press 9" in call.edge.texts[3]
        call.press("9")
        await call.until_declined()
        await call.close()
        again = await bench.call("call-2", region="US-TX", direction="outbound").start()
        await again.until_declined()
        assert again.edge.pieces == []
        # Who does not want to be called may still call.
        inbound = await bench.call("call-3", region="US-TX").start()
        await inbound.until_in()

    bench = run(tmp_path, scenario)
    assert files_of(tmp_path) == set()
    assert {row.about for row in trail(bench) if row.what is What.WITHDRAWN} == {"call", "record", "transcribe"}


@pytest.mark.parametrize(("trusts", "is_stored"), [(True, True), (False, False)])
def test_an_answer_that_comes_with_the_call_counts_only_where_it_is_trusted(tmp_path, trusts, is_stored):
    async def scenario(bench):
        call = await bench.call(region="US-CA", consent="given").start()
        await converse(call)
        await call.close()

    bench = run(tmp_path, scenario, trust_consent_parameter=trusts)
    assert bool(bench.on_disk()) == is_stored
    assert any("May we record" in text for text in bench.calls[0].edge.texts) != trusts


def test_what_the_operator_does_not_want_is_not_asked_for(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="US-CA").start()
        await converse(call)
        await call.close()

    bench = run(tmp_path, scenario, activities={Activity.PROCESS})
    assert not any("record" in text for text in bench.calls[0].edge.texts)
    assert files_of(tmp_path) == set()


def test_a_store_that_fails_ends_the_call_unheard(tmp_path):
    async def scenario(bench):
        await bench.office.ledger.ask(lambda store: store.close())
        call = await bench.call(region="US-TX").start()
        failed = await call.edge.until_told(StageFailed, timeout_s=5)
        assert failed.fatal
        assert call.edge.pieces == []
        with pytest.raises(Exception, match="closed"):
            await call.close()
        assert bench.vads == 0
        bench.calls.clear()

    run(tmp_path, scenario)


def test_a_caller_who_hangs_up_in_a_question_leaves_nothing(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="DE").start()
        await call.until_asked()
        await call.speak()
        await call.close()

    bench = run(tmp_path, scenario)
    assert (bench.on_disk(), files_of(tmp_path), bench.vads) == ([], set(), 0)


def test_speech_shorter_than_the_question_is_not_taken_for_an_answer(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="US-CA").start()
        await call.until_said("May we record")
        # Into the question: dropped.
        await call.speak(QUESTION)
        await call.until_asked()
        call.press("2")
        await call.until_in()
        await call.close()

    bench = run(tmp_path, scenario, stt=["yes"])
    assert bench.stt.heard == []


def test_a_caller_deleted_in_the_middle_of_a_call_leaves_nothing_when_it_ends(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="US-TX").start()
        await converse(call)
        await until_files(tmp_path)
        await bench.office.delete(lambda deletion: deletion.of_caller("+13125550100", utc_now()), "request")
        assert files_of(tmp_path) == set()
        await call.speak()
        await asyncio.sleep(0.05)
        await call.close()

    bench = run(tmp_path, scenario)
    assert (files_of(tmp_path), bench.on_disk()) == (set(), [])


class SlowDisk:
    """Stops whoever writes before job number `at`, until `go`."""

    def __init__(self, at):
        self.jobs = at
        self.is_reached, self.go = threading.Event(), threading.Event()

    def __call__(self):
        if self.jobs == 0:
            self.is_reached.set()
            assert self.go.wait(10)
        self.jobs -= 1


@pytest.mark.parametrize("files_open", range(5))
def test_a_caller_deleted_while_the_recordings_files_are_being_opened_leaves_nothing(tmp_path, files_open):
    disk, gate = SlowDisk(files_open), Gate()
    gate.put(disk)

    async def scenario(bench):
        try:
            call = await bench.call(region="US-TX").start()
            await converse(call)
            assert await asyncio.to_thread(disk.is_reached.wait, 5)
            assert len(files_of(tmp_path)) == files_open
            await bench.office.delete(lambda deletion: deletion.of_caller("+13125550100", utc_now()), "request")
            assert files_of(tmp_path) == set()
        finally:
            disk.go.set()
        await call.speak()
        await call.close()
        assert list(bench.office.folders) == []

    bench = run(tmp_path, scenario, disk=gate)
    assert (files_of(tmp_path), bench.on_disk()) == (set(), [])


def test_a_caller_deleted_by_another_process_before_the_calls_folder_is_there_leaves_nothing(tmp_path):
    async def scenario(bench):
        office = bench.office
        make = office.folders.make

        def made_late(key):
            with contextlib.closing(bench.store()) as store:
                deleted = Deletion(store, CallFolders(tmp_path), office.pseudonyms).of_caller("+13125550100", utc_now())
            assert deleted.calls == 1
            return make(key)

        office.folders.make = made_late
        call = await bench.call(region="US-TX").start()
        await converse(call)
        await call.close()
        assert list(office.folders) == []

    bench = run(tmp_path, scenario)
    assert (files_of(tmp_path), bench.on_disk()) == (set(), [])


def test_a_folder_made_while_its_call_is_deleted_by_another_process_is_erased_too(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="US-TX").start()
        await converse(call)
        await until_files(tmp_path)
        await call.close()
        folders = CallFolders(tmp_path)
        erase = folders.erase

        def erased(key):
            gone = erase(key)
            if store.kept():
                # As a call that still sees its row would.
                (folders.make(key) / CALLER_FILE).touch()
            return gone

        folders.erase = erased
        with contextlib.closing(bench.store()) as store:
            done = Deletion(store, folders, bench.office.pseudonyms).of_caller("+13125550100", utc_now())
        assert (done.calls, done.erased.files, done.failed) == (1, 5, [])
        assert list(folders) == []

    run(tmp_path, scenario)


def test_a_purge_that_failed_is_made_up_for(tmp_path, monkeypatch):
    monkeypatch.setattr("target_stack.compliance.database._BUSY_MS", 100)

    async def scenario(bench):
        call = await bench.call(region="US-TX").start()
        await converse(call)
        await call.close()
        reader = sqlite3.connect(tmp_path / "compliance.sqlite", isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT call_id FROM kept_call").fetchall() == [("call-1",)]
        with pytest.raises(StoreError, match=r"a reader holds"):
            await bench.office.delete(lambda deletion: deletion.of_caller("+13125550100", utc_now()), "request")
        # The row is gone for everybody else, its bytes are not.
        assert files_of(tmp_path) == set()
        assert found_in(tmp_path, b"call-1")
        reader.close()
        await bench.office.delete(lambda deletion: deletion.due(utc_now(), timedelta(days=1)), "due")
        assert found_in(tmp_path, b"call-1") == []

    run(tmp_path, scenario)


def test_an_office_that_was_closed_left_no_thread_and_no_lock(tmp_path):
    async def scenario(bench):
        call = await bench.call(region="US-TX").start()
        await converse(call)
        await call.close()

    run(tmp_path, scenario)
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith(("compliance", "recording")) for name in names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls", "compliance.sqlite", "pseudonym.key"]


_DEEDS = st.lists(st.sampled_from(["press 1", "press 2", "press 9", "speak", "wait", "yield"]), min_size=1, max_size=10)


@pytest.mark.slow
@given(region=st.sampled_from(["US-TX", "US-CA", "DE"]), deeds=_DEEDS, hangs_up=st.booleans())
@settings(max_examples=60, deadline=None)
def test_in_every_order_of_keys_speech_and_hanging_up_nothing_is_stored_without_consent(region, deeds, hangs_up):
    async def scenario(bench):
        call = await bench.call(region=region).start()
        for deed in deeds:
            match deed.split():
                case ["press", key]:
                    call.press(key)
                case ["speak"]:
                    await call.speak()
                case ["wait"]:
                    await asyncio.sleep(0.12)
                case ["yield"]:
                    await asyncio.sleep(0.001)
        if not hangs_up:
            await asyncio.sleep(0.3)
        await call.close()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = run(folder, scenario, asks=1, answer_timeout_s=0.1)
        rows = trail(bench)
        began = {row.about for row in rows if row.what is What.BEGAN}
        last = {row.about: row.what for row in rows if row.what in (What.GIVEN, What.REFUSED, What.WITHDRAWN)}
        if bench.on_disk() or files_of(folder):
            assert last.get("record") is (None if region == "US-TX" else What.GIVEN)
            assert "record" in began
        if region == "DE" and "process" in began:
            assert any(row.what is What.GIVEN and row.about == "process" for row in rows)
        with contextlib.closing(bench.store()) as store:
            facts = look_up(store, bench.office.folders, utc_now().date(), utc_now())
        assert audit(facts, shipped_rules()).violations == []
