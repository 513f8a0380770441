"""A call that is over is gone with its last reference: an engine collects circles only after minutes of new calls."""

import asyncio
import gc
import weakref
from dataclasses import replace

import aiohttp
import pytest
from engine_bench import bench_clips, plan, responder, write_wav_corpus

from harness.callers.call import Call, CallContext
from harness.callers.setup_queue import SetupQueue
from harness.callers.sip_host import SipHost
from harness.callers.source_ports import SourcePorts
from harness.corpus.manifest import load_corpus
from harness.engine.clip_store import ClipStore
from harness.media.loop import MediaLoop
from harness.media.peer.host import PeerHost
from harness.media.timers import Timers
from harness.model.plan import SipSpec

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(120)]

TRANSPORTS = {
    "webrtc": {},
    "webrtc-data": {"dialect": "pipecat"},
    "rtp-shared": {"transport": "rtp", "codec": "PCMU", "srtp": "required", "source_ports": "shared"},
    "rtp-own-port": {"transport": "rtp", "codec": "opus", "source_ports": "per_call"},
    "sip-udp": {"transport": "sip", "codec": "PCMU", "sip": SipSpec()},
    "sip-tcp": {"transport": "sip", "codec": "PCMU", "sip": SipSpec(transport="tcp")},
}


async def talk(run_dir, corpus, plans):
    """Hold the calls one by one, without a collector; return their outcomes and what of them is still there."""
    loaded = load_corpus(corpus)
    media_loop = MediaLoop(capacity=64)
    media_loop.start()
    peers = PeerHost(media_loop)
    sip = SipHost()
    nothing = lambda *_: None  # noqa: E731 - one for both
    try:
        async with aiohttp.ClientSession() as http:
            context = CallContext(
                worker="w", run_dir=run_dir, http=http, media_loop=media_loop, peers=peers,
                source_ports=SourcePorts(media_loop), setup_queue=SetupQueue(), timers=Timers(),
                utterances=loaded.utterances, clip=ClipStore(loaded).clip, on_turn=nothing, on_milestone=nothing,
                sip=sip,
            )  # fmt: skip
            outcomes, kept = [], []
            for call_plan in plans:
                call = Call(call_plan, None, context)
                parts = [weakref.ref(call), weakref.ref(call._caller)]
                record = await call.run()
                parts.append(weakref.ref(call._conversation))
                outcomes.append(record.outcome.value)
                del call
                # What still waits for the event loop's next rounds holds a call for that long.
                await asyncio.sleep(0.1)
                kept += [part() for part in parts]
            return outcomes, kept
    finally:
        await sip.aclose()
        peers.close()
        media_loop.stop()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_of_a_call_is_left_to_the_collector(tmp_path, transport):
    corpus = write_wav_corpus(tmp_path / "corpus", bench_clips())
    with responder(tmp_path / "truth", "--delay-ms", "300:500", "--sip-port", "0") as (http_url, process):
        url = http_url
        if TRANSPORTS[transport].get("transport") == "sip":
            _rtp, url = (process.stdout.readline().strip() for _ in range(2))
        plans = []
        for i in range(2):
            call_plan = plan(url, f"{transport}-{i}", ["voiced-b"], dialect="json")
            plans.append(replace(call_plan, target=replace(call_plan.target, **TRANSPORTS[transport])))
        gc.collect()
        gc.disable()
        try:
            outcomes, kept = asyncio.run(talk(tmp_path, corpus, plans))
        finally:
            gc.enable()
    assert outcomes == ["completed", "completed"]
    assert kept == [None] * 6
