"""What becomes of records on this side of the wire: files, Locust requests, live tables, lost calls."""

import json

import pytest

from harness.load.live import Live
from harness.load.lost_call import lost_call
from harness.load.request_events import RequestEvents
from harness.load.run_writer import RunWriter
from harness.load.schedule import Schedule
from harness.model.codec import from_json, to_json
from harness.model.impairment import Impairment
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, PlannedTurn, TargetSpec
from harness.model.records import CallRecord, Cause, MediaStats, Outcome, SetupTimes, TurnRecord

pytestmark = pytest.mark.unit

PERSONA = Persona("Ann Example", "+12025550101", "US", "american", "normal")


def turn(**changes):
    base = {
        "call_id": "c",
        "turn": 1,
        "attempt": 0,
        "caller": "a",
        "utterance_id": "u",
        "reference": "hello there",
        "accent": "american",
        "native": True,
        "noise": "clean",
        "snr_db": None,
        "vocabulary": "general",
        "utterance_ms": 3000.0,
        "codec": "opus",
        "speech_started_at_ns": 0,
        "speech_ended_at_ns": 3_000_000_000,
        "onset_at_ns": 3_800_000_000,
        "ttfb_ms": 800.0,
        "censored": False,
        "waited_ms": 800.0,
        "false_endpoint": False,
        "cut": False,
        "hypothesis": "hello bear",
        "transcript_channel": "rtvi",
    }
    return to_json(TurnRecord(**(base | changes)))


def call(outcome=Outcome.COMPLETED, cause=Cause.NONE, connected=1_000_000_000):
    record = CallRecord(
        call_id="c",
        index=0,
        worker="local",
        caller="a",
        persona=PERSONA,
        outcome=outcome,
        cause=cause,
        detail="",
        transport="webrtc",
        codec="opus",
        due_at_ns=0,
        started_at_ns=0,
        connected_at_ns=connected,
        ended_at_ns=9_000_000_000,
        arrival_lateness_ms=0.0,
        setup=SetupTimes(total_ms=None if connected is None else 40.0),
        greeting_ms=500.0,
        turns_planned=1,
        turns_answered=1,
        media=MediaStats(),
    )
    return to_json(record)


CONNECTED = {"t": "milestone", "call_id": "c", "name": "connected", "at_ns": 1, "value_ms": 40.0}
DROPPED = call(Outcome.DROPPED, Cause.PATIENCE_SLOW_ANSWERS)
NO_ANSWER = {"ttfb_ms": None, "onset_at_ns": None, "censored": True, "waited_ms": 15_000.0}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([("milestone", CONNECTED), ("call", call())], [("call set-up", 40, None), ("call", 9000, None)]),
        # A connected call whose milestone had no value, or was missed, still counts its set-up, once.
        ([("call", call())], [("call set-up", 40, None), ("call", 9000, None)]),
        (
            [("call", call(Outcome.FAILED, Cause.ICE_FAILED, None))],
            [("call set-up", 9000, "ice_failed"), ("call", 9000, "ice_failed")],
        ),
        (
            [("milestone", CONNECTED), ("call", DROPPED)],
            [("call set-up", 40, None), ("call", 9000, "patience_slow_answers")],
        ),
        ([("turn", turn())], [("turn TTFB", 800, None)]),
        ([("turn", turn(**NO_ANSWER))], [("turn TTFB", 15_000, "no answer while it was waited for")]),
        ([("turn", turn(false_endpoint=True))], [("turn TTFB", None, "the agent spoke before the user had finished")]),
        # Ended by us: says nothing about the agent.
        ([("turn", turn(cut=True)), ("call", call(Outcome.INTERRUPTED, Cause.OPERATOR))], []),
        ([("call", call(Outcome.LOST, Cause.ENGINE_DIED))], []),
        ([("health", {})], []),
    ],
)
def test_records_become_locust_requests(messages, expected):
    fired = []
    events = RequestEvents(lambda **f: fired.append(f))
    for kind, row in messages:
        events.take(kind, row)
    told = [(f["name"], f["response_time"], f["exception"] and str(f["exception"])) for f in fired]
    assert told == expected
    assert {f["request_type"] for f in fired} <= {"webrtc"}


@pytest.mark.parametrize("end", [call(), DROPPED, call(Outcome.INTERRUPTED, Cause.OPERATOR)])
def test_nothing_is_kept_of_a_call_that_is_over(end):
    events = RequestEvents(lambda **_: None)
    events.take("milestone", {"call_id": end["call_id"], "name": "connected", "value_ms": 20.0})
    assert events._set_up == {end["call_id"]}
    events.take("call", end)
    assert events._set_up == set()


def test_live_tables_hold_ttfb_wer_and_drop_off():
    live = Live(15_000)
    for i in range(3):
        live.take("turn", turn(call_id=f"c{i}", ttfb_ms=700.0 + 100 * i))
    live.take("turn", turn(accent="british", native=True, noise="street", snr_db=5.0, **NO_ANSWER, hypothesis=None))
    live.take("call", call())
    live.take("call", DROPPED)
    tables = live.tables()
    ttfb = {row["name"]: row for row in tables["callquake-ttfb"]}
    assert (ttfb["(all)"]["n"], ttfb["(all)"]["response"], ttfb["(all)"]["p50"]) == (4, "75.0 %", "800")
    # The slowest turn is only known to have taken longer than it was waited for.
    assert ttfb["(all)"]["p99"] == "≥ 15000"
    assert ttfb["accent: american"]["p99"] == "900"
    wer = {row["name"]: row for row in tables["callquake-wer"]}
    assert wer["accent: american"]["wer"] == "50.0 %"
    assert wer["noise: street"]["deletions"] == 2
    assert tables["callquake-drop-off"] == [
        {"name": "(all)", "calls": 1, "share": "50.0 %", "of": 2},
        {"name": "patience_slow_answers", "calls": 1, "share": "50.0 %", "of": 2},
    ]
    assert (live.ended, live.turns, live.last_ttfb_ms) == (2, 4, 900.0)


def test_live_tables_of_a_run_that_has_measured_nothing():
    tables = Live(15_000).tables()
    assert tables["callquake-ttfb"][0]["p95"] == "-"
    assert "not measured" in tables["callquake-wer"][0]["name"]
    assert tables["callquake-drop-off"][0]["share"] == "-"


def test_a_record_is_on_disk_when_write_returns(tmp_path):
    writer = RunWriter(tmp_path / "run", {"status": "running", "notes": []})
    writer.open()
    writer.write("turn", turn())
    line = (tmp_path / "run" / "turns.jsonl").read_text()
    assert from_json(TurnRecord, json.loads(line)).reference == "hello there"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "running"
    writer.close()
    writer.write("turn", turn())
    assert (tmp_path / "run" / "turns.jsonl").read_text() == line
    writer.save_info(status="finished")
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == {"status": "finished", "notes": []}
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "calls.jsonl",
        "health.jsonl",
        "run.json",
        "turns.jsonl",
    ]


class Progress:
    connected_at_ns = 150
    greeting_ms = 12.0
    turns_answered = 2


def test_a_lost_call_keeps_what_was_known_of_it():
    plan = CallPlan(
        "c", 3, 0.0, "a", PERSONA, Patience("normal", 1, 1, 1), (PlannedTurn("u", 1.0),) * 3,
        TargetSpec("http://127.0.0.1:9/o"), CallLimits(), impair_incoming=Impairment(loss_ratio=0.02),
    )  # fmt: skip
    record = lost_call(plan, "w", due_at_ns=100, placed_at_ns=50, now_ns=900, why="it died", progress=Progress())
    assert (record.outcome, record.cause, record.detail) == (Outcome.LOST, Cause.ENGINE_DIED, "it died")
    assert (record.started_at_ns, record.connected_at_ns, record.ended_at_ns) == (100, 150, 900)
    assert (record.turns_planned, record.turns_answered, record.greeting_ms) == (3, 2, 12.0)
    assert record.impairments == {"incoming": "2% loss"}


class Planned:
    """Stands for check.Prepared: due times and a planner that echoes."""

    def __init__(self, due_ms=None, max_calls=None):
        self.due_ms, self.max_calls, self.planner = due_ms, max_calls, self

    def plan_for_index(self, index, due_ms):
        return (index, due_ms)


def test_workers_share_a_schedule_without_overlap():
    due = [0.0, 100.0, 200.0, 300.0, 400.0]
    taken = []
    for worker in (0, 1):
        schedule = Schedule(Planned(due), worker, 2)
        schedule.start(1_000)
        while (call := schedule.take()) is not None:
            taken.append((call.plan, call.due_at_ns))
    assert sorted(taken) == [((i, d), 1_000 + round(d * 1e6)) for i, d in enumerate(due)]


def test_a_closed_loop_schedule_ends_by_its_cap_or_when_it_is_closed():
    capped = Schedule(Planned(max_calls=2))
    assert [capped.take().due_at_ns, capped.take().due_at_ns, capped.take()] == [None, None, None]
    assert capped.is_exhausted
    endless = Schedule(Planned())
    assert endless.take().plan == (0, None)
    assert not endless.is_exhausted
    endless.close()
    assert endless.take() is None
