"""A run with several targets ends when nobody is at any of them any more, and says so of one that is gone."""

import pytest

from harness.load.schedule import Schedule
from harness.load.session import UNREACHABLE_IN_A_ROW, Session
from harness.scenario.check import prepare

pytestmark = pytest.mark.unit

SCENARIO = """\
name: side
targets: {web: {url: "http://127.0.0.1:9/o"}, phone: {url: "sip:a@127.0.0.1:9"}}
callers: [{name: a, turns: 1}]
load: {arrivals: {rate_per_minute: 60, calls: 40, distribution: uniform}}
"""


def row(target, is_there):
    media = {"packets_received": 0, "impaired_lost_incoming": 0}
    end = {"outcome": "completed", "cause": "none", "connected_at_ns": 1}
    if not is_there:
        end = {"outcome": "failed", "cause": "signalling_unreachable", "connected_at_ns": None}
    return {"target": target, "detail": "connection refused", "media": media, **end}


@pytest.fixture
def session(tmp_path, monkeypatch):
    path = tmp_path / "side.yaml"
    path.write_text(SCENARIO)
    prepared = prepare(path)
    session = Session(prepared, tmp_path, "local", Schedule(prepared), lambda *_: None)
    # No engine was started, so that there is none to end.
    monkeypatch.setattr(session, "finish", lambda: None)
    return session


def test_one_that_is_gone_is_told_once_and_the_others_calls_go_on(session):
    for _ in range(UNREACHABLE_IN_A_ROW + 3):
        session._on_message("call", row("phone", False))
        session._on_message("call", row("web", True))
    assert session.status == "finished"
    assert not session.is_ending
    (note,) = session.notes
    assert note.startswith(f"target phone: {UNREACHABLE_IN_A_ROW} calls in a row could not reach sip:a@127.0.0.1:9;")


def test_the_run_ends_when_nobody_is_anywhere(session):
    for _ in range(UNREACHABLE_IN_A_ROW):
        session._on_message("call", row("phone", False))
        assert not session.is_ending
        session._on_message("call", row("web", False))
    assert session.status == "target_unreachable"
    assert session.notes[-1].startswith("target_unreachable_mid_run: 10 calls in a row could not reach http://")
