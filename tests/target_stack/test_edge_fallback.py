"""Whole calls of Callquake's callers whose WebRTC is blocked, with the bundled agent's edge at the other end."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from edge_peer import TRANSCRIPT, Sessions, running_edge

from harness.callers.call import Call, CallContext
from harness.callers.media_stream_host import StreamHost
from harness.callers.setup_queue import SetupQueue
from harness.callers.source_ports import SourcePorts
from harness.corpus.manifest import load_corpus
from harness.engine.clip_store import ClipStore
from harness.media.hot.stream_ear import compile_stream_ears
from harness.media.loop import MediaLoop
from harness.media.peer.host import PeerHost
from harness.model.codec import from_json, to_json
from harness.model.records import CallRecord, Cause, Outcome

sys.path.append(str(Path(__file__).parents[1] / "harness" / "engine"))
from engine_bench import bench_clips, plan, write_wav_corpus

pytestmark = pytest.mark.loopback


async def placed(folder, call_plan):
    """Return the record and the turns of one call."""
    corpus = load_corpus(write_wav_corpus(folder / "corpus", bench_clips()))
    compile_stream_ears()
    loop, turns = MediaLoop(capacity=4), []
    loop.start()
    peers = PeerHost(loop)
    try:
        async with aiohttp.ClientSession() as http:
            streams = StreamHost(http)
            context = CallContext(
                worker="w", run_dir=folder, http=http, media_loop=loop, peers=peers, source_ports=SourcePorts(loop),
                setup_queue=SetupQueue(), timers=peers.timers, utterances=corpus.utterances,
                clip=ClipStore(corpus).clip, on_turn=turns.append, on_milestone=lambda *_: None, streams=streams,
            )  # fmt: skip
            try:
                return await Call(call_plan, None, context).run(), turns
            finally:
                streams.close()
    finally:
        peers.close()
        loop.stop()


def blocked(url, turns, **target):
    made = plan(f"{url}/api/offer", "call-1", turns, record=True)
    spec = replace(made.target, fallback="websocket", fallback_after_ms=300.0, **target)
    return replace(made, target=spec, sabotage="blocked_udp")


@pytest.mark.parametrize("webrtc", ["aiortc", "light"])
def test_a_blocked_call_talks_its_turns_over_the_websocket_and_frees_its_first_place(tmp_path, webrtc):
    async def main():
        async with running_edge(Sessions(), has_fallback=True, webrtc=webrtc) as (edge, base):
            record, turns = await placed(tmp_path, blocked(base, ["voiced-a", "voiced-b"]))
            return record, turns, edge.counts.calls_ended, edge.media_streams.counts.replacements

    record, turns, ended, replacements = asyncio.run(main())
    assert (record.outcome, record.cause) == (Outcome.COMPLETED, Cause.NONE)
    assert (record.transport, record.codec, record.stream.dialect) == ("media_stream", "PCMU", "twilio")
    assert record.fallback.cause is Cause.ICE_FAILED
    assert record.fallback.after_ms >= 300
    assert record.setup.total_ms >= record.fallback.after_ms + record.fallback.took_ms
    assert record.greeting_ms is not None
    assert [turn.transport for turn in turns] == ["media_stream"] * 2
    for turn in turns:
        assert turn.ttfb_ms > 200
        assert turn.heard_ttfb_ms >= turn.ttfb_ms
        assert (turn.codec, turn.hypothesis) == ("PCMU", TRANSCRIPT)
    assert (tmp_path / record.recording).stat().st_size > 1_000
    assert from_json(CallRecord, to_json(record)) == record
    assert (ended, replacements) == ({"replaced": 1}, 1)


def test_where_the_agent_offers_no_websocket_the_call_fails_as_before(tmp_path):
    async def main():
        async with running_edge(Sessions()) as (_edge, base):
            return await placed(tmp_path, blocked(base, ["voiced-a"]))

    record, turns = asyncio.run(main())
    assert (record.outcome, record.cause, record.transport) == (Outcome.FAILED, Cause.ICE_FAILED, "webrtc")
    assert record.fallback is None
    assert "no WebSocket to fall back to" in record.detail
    assert turns == []
