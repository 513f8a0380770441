"""Whole SIP calls as an engine holds them: their records, and nothing of them left to the collector."""

import asyncio
import gc
from dataclasses import replace

import pytest
from sip_agent import SipAgent, refuse
from sip_audio_agent import AudioAgent
from sip_bench import plan
from whole_calls import hold

from harness.model.codec import from_json, to_json
from harness.model.plan import CallLimits, PlannedAction, PlannedTurn
from harness.model.records import CallRecord
from harness.model.sip_facts import Bye

pytestmark = pytest.mark.loopback
LIMITS = CallLimits(connect_timeout_ms=8_000, answer_timeout_ms=4_000, quiet_ms=250)


def held(tmp_path, make_agent, plans):
    async def main():
        async with make_agent() as agent:
            return await hold(tmp_path, plans(agent))

    gc.collect()
    gc.disable()
    try:
        return asyncio.run(main())
    finally:
        gc.enable()


def test_a_call_with_audio_keys_and_a_hold(tmp_path):
    turn = PlannedTurn("voiced-b", 50.0, (PlannedAction(dtmf="1"), PlannedAction(hold_ms=300)))

    def plans(agent):
        return [replace(plan(agent.url), turns=(turn,), limits=LIMITS, expect_greeting=False, record=True)]

    records, turns, kept = held(tmp_path, AudioAgent, plans)
    record = records[0]
    # An echo talks over its caller: what it says counts, whatever it makes of the turn.
    assert record.connected_at_ns is not None
    assert (record.sip.bye, record.sip.digits_sent, record.sip.holds) == (Bye.ANSWERED, 1, 1)
    assert (record.codec, record.transport) == ("PCMU", "sip")
    assert turns
    assert (tmp_path / record.recording).stat().st_size > 1000
    assert from_json(CallRecord, to_json(record)) == record
    assert kept == [None] * 3


def test_calls_without_audio(tmp_path):
    def plans(agent):
        return [plan(agent.url, f"call-{i}", media=False, hold_ms=50.0) for i in range(3)]

    records, turns, kept = held(tmp_path, SipAgent, plans)
    for record in records:
        assert (record.outcome, record.codec, record.turns_planned) == ("completed", None, 0)
        assert record.sip.session_ms >= 50
        assert (record.sip.bye, record.sip.media, record.greeting_ms) == (Bye.ANSWERED, False, None)
    assert turns == []
    assert kept == [None] * 9


def test_a_refused_call(tmp_path):
    def plans(agent):
        return [replace(plan(agent.url), turns=())]

    records, _turns, kept = held(tmp_path, lambda: SipAgent(refuse(486)), plans)
    assert (records[0].outcome, records[0].cause) == ("failed", "sip_busy")
    assert kept == [None] * 3
