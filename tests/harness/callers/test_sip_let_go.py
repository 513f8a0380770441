"""Whole SIP calls as an engine holds them: their records, and nothing of them left to the collector."""

import asyncio
import gc
import weakref
from dataclasses import replace

import aiohttp
import pytest
from engine_bench import bench_clips, write_wav_corpus
from sip_agent import SipAgent, refuse
from sip_audio_agent import AudioAgent
from sip_bench import plan

from harness.callers.call import Call, CallContext
from harness.callers.setup_queue import SetupQueue
from harness.callers.sip_host import SipHost
from harness.callers.source_ports import SourcePorts
from harness.corpus.manifest import load_corpus
from harness.engine.clip_store import ClipStore
from harness.media.loop import MediaLoop
from harness.media.timers import Timers
from harness.model.codec import from_json, to_json
from harness.model.plan import CallLimits, PlannedAction, PlannedTurn
from harness.model.records import Bye, CallRecord

pytestmark = pytest.mark.loopback
LIMITS = CallLimits(connect_timeout_ms=8_000, answer_timeout_ms=4_000, quiet_ms=250)


async def hold(tmp_path, plans):
    loaded = load_corpus(write_wav_corpus(tmp_path / "corpus", bench_clips()))
    loop = MediaLoop(capacity=16)
    loop.start()
    host, turns = SipHost(), []
    try:
        async with aiohttp.ClientSession() as http:
            context = CallContext(
                worker="w", run_dir=tmp_path, http=http, media_loop=loop, peers=None, source_ports=SourcePorts(loop),
                setup_queue=SetupQueue(), timers=Timers(), utterances=loaded.utterances, clip=ClipStore(loaded).clip,
                on_turn=turns.append, on_milestone=lambda *_: None, sip=host,
            )  # fmt: skip
            records, kept = [], []
            for call_plan in plans:
                call = Call(call_plan, None, context)
                parts = [weakref.ref(part) for part in (call, call._caller, call._conversation)]
                records.append(await call.run())
                del call
                await asyncio.sleep(0.1)
                kept += [part() for part in parts]
            return records, turns, kept
    finally:
        await host.aclose()
        loop.stop()


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
