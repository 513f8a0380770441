"""WebRTC calls whose agent vanishes without a goodbye: noticed by our own watchdog, counted by cause, nothing left."""

import asyncio
import signal
from dataclasses import replace

import aiohttp
import pytest
from engine_bench import bench_clips, plan, responder, write_wav_corpus

from harness.callers.call import Call, CallContext
from harness.callers.setup_queue import SetupQueue
from harness.callers.source_ports import SourcePorts
from harness.corpus.manifest import load_corpus
from harness.engine.clip_store import ClipStore
from harness.media.loop import MediaLoop
from harness.media.peer import ice
from harness.media.peer.host import PeerHost

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(120)]


async def vanish(run_dir, corpus, plans, agent, how):
    """Hold the calls, end the agent by a signal when each has had an answer; return records and what is left."""
    loaded, answered = load_corpus(corpus), []
    media_loop = MediaLoop(capacity=64)
    media_loop.start()
    peers = PeerHost(media_loop)
    try:
        async with aiohttp.ClientSession() as http:
            context = CallContext(
                worker="w", run_dir=run_dir, http=http, media_loop=media_loop, peers=peers,
                source_ports=SourcePorts(media_loop), setup_queue=SetupQueue(), timers=peers.timers,
                utterances=loaded.utterances, clip=ClipStore(loaded).clip,
                on_turn=lambda turn: answered.append(turn.call_id), on_milestone=lambda *_: None,
            )  # fmt: skip
            calls = [asyncio.ensure_future(Call(call_plan, None, context).run()) for call_plan in plans]
            while len(set(answered)) < len(plans):
                await asyncio.sleep(0.05)
            agent.send_signal(how)
            records = await asyncio.gather(*calls)
            await asyncio.sleep(0.1)
            return records, leftovers(media_loop, peers)
    finally:
        peers.close()
        media_loop.stop()


def leftovers(media_loop, peers):
    """Return what a call has of its own: its rows, its sockets, its places on shared sockets, its relays."""
    shared = [port for ports in peers._shared.values() for port in ports]
    own_sockets = len(media_loop._ports) - len(shared)
    places = [place for port in shared for place in (*port.owners, *port.checks, *port.claims)]
    return [*media_loop._calls._calls, *places, *peers._relays, *range(own_sockets)]


def calls_to(url, count, **limits):
    """Return plans; the calls would go on for minutes."""
    plans = [plan(url, f"c{i}", ["voiced-b"] * 60, dialect="json", **limits) for i in range(count)]
    return [replace(p, target=replace(p.target, source_ports=kind)) for p, kind in zip(plans, KINDS, strict=True)]


KINDS = ["per_call", "shared", "shared"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_an_agent_that_vanishes_is_noticed_by_the_media_watchdog(tmp_path, how):
    corpus = write_wav_corpus(tmp_path / "corpus", bench_clips())
    with responder(tmp_path / "truth", "--delay-ms", "200") as (url, agent):
        plans = calls_to(url, 3, media_timeout_ms=1500)
        try:
            records, left = asyncio.run(vanish(tmp_path, corpus, plans, agent, how))
        finally:
            agent.send_signal(signal.SIGCONT)
    assert [(r.outcome, r.cause) for r in records] == [("dropped", "media_lost")] * 3
    assert all(r.turns_answered >= 1 for r in records)
    assert left == []


def test_consent_that_is_gone_ends_a_call_that_would_wait_for_media_much_longer(tmp_path, monkeypatch):
    """RFC 7675 5.1: 30 s without an answer; here less."""
    monkeypatch.setattr(ice, "CONSENT_INTERVAL_S", 0.2)
    monkeypatch.setattr(ice, "CONSENT_LOST_S", 1.5)
    corpus = write_wav_corpus(tmp_path / "corpus", bench_clips())
    with responder(tmp_path / "truth", "--delay-ms", "200") as (url, agent):
        # What waits for an answer waits longer, too.
        plans = calls_to(url, 3, media_timeout_ms=90_000, answer_timeout_ms=80_000)
        records, left = asyncio.run(vanish(tmp_path, corpus, plans, agent, signal.SIGKILL))
    assert [(r.outcome, r.cause) for r in records] == [("dropped", "media_lost")] * 3
    assert {r.detail for r in records} == {"the agent stopped answering consent checks (RFC 7675)"}
    assert left == []
