"""Whole SIP calls, held one after the other as an engine holds them."""

import asyncio
import weakref

import aiohttp
from engine_bench import bench_clips, write_wav_corpus

from harness.callers.call import Call, CallContext
from harness.callers.setup_queue import SetupQueue
from harness.callers.sip_host import SipHost
from harness.callers.source_ports import SourcePorts
from harness.corpus.manifest import load_corpus
from harness.engine.clip_store import ClipStore
from harness.media.loop import MediaLoop
from harness.media.timers import Timers


async def hold(tmp_path, plans):
    """Return the records, the turns, and what is left of each call: its Call, caller, conversation."""
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
