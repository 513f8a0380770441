"""`python -m benchmarks.our_sip_calls HOST:PORT CALLS AT_A_TIME`: SIP calls without audio, as the engine runs them.

Each call is read from its plan's JSON and leaves its record's, as over the engine's wire. Says ready, waits for a line,
and says done with what it took.
"""

import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

from harness.callers.call import Call, CallContext
from harness.callers.setup_queue import SetupQueue
from harness.callers.sip_host import SipHost
from harness.callers.source_ports import SourcePorts
from harness.media.loop import MediaLoop
from harness.media.peer.host import PeerHost
from harness.media.priority import raise_priority
from harness.model.codec import from_json, to_json
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, SipSpec, TargetSpec
from harness.model.records import Outcome


def _plan(address: str, index: int) -> bytes:
    plan = CallPlan(
        call_id=f"benchmark-{index}",
        index=index,
        due_ms=None,
        caller="benchmark",
        persona=Persona("benchmark", "", "", "", "unlimited"),
        patience=Patience("unlimited", 0.0, 1.0, 0),
        turns=(),
        target=TargetSpec(
            f"sip:agent@{address}", transport="sip", dialect="", codec="PCMU", sip=SipSpec(media=False, hold_ms=0.0)
        ),
        limits=CallLimits(connect_timeout_ms=30_000),
    )
    return json.dumps(to_json(plan)).encode()


def _context(host: SipHost, http: aiohttp.ClientSession, loop: MediaLoop, peers: PeerHost) -> CallContext:
    def nothing(*_: Any) -> None:
        """Be what a call tells its turns and milestones to."""

    def no_clip(*_: Any) -> Any:
        raise AssertionError("a call without audio asked for some")

    return CallContext(
        worker="benchmark",
        run_dir=Path(),
        http=http,
        media_loop=loop,
        peers=peers,
        source_ports=SourcePorts(loop),
        setup_queue=SetupQueue(),
        timers=peers.timers,
        utterances={},
        clip=no_clip,
        on_turn=nothing,
        on_milestone=nothing,
        sip=host,
    )


async def _place(plans: list[bytes], at_a_time: int, context: CallContext) -> int:
    """Place every call; return how many failed."""
    left, failed = iter(plans), 0

    async def one_after_the_other() -> None:
        nonlocal failed
        for plan in left:
            record = await Call(from_json(CallPlan, json.loads(plan)), None, context).run()
            failed += record.outcome is not Outcome.COMPLETED
            json.dumps(to_json(record))

    await asyncio.gather(*(one_after_the_other() for _ in range(at_a_time)))
    return failed


async def _main(address: str, calls: int, at_a_time: int) -> None:
    plans = [_plan(address, index) for index in range(calls)]
    loop, host = MediaLoop(16), SipHost()
    peers = PeerHost(loop)
    async with aiohttp.ClientSession() as http:
        context = _context(host, http, loop, peers)
        # As the engine has it (harness/engine/__main__.py).
        gc.collect()
        gc.freeze()
        gc.disable()
        print(json.dumps({"event": "ready"}), flush=True)
        sys.stdin.readline()
        wall, cpu = time.monotonic(), time.process_time()
        failed = await _place(plans, at_a_time, context)
        wall_s, cpu_s = time.monotonic() - wall, time.process_time() - cpu
    sent_again = host.agent.counts.resent
    done = {"event": "done", "calls": calls, "failed": failed, "wall_s": wall_s, "cpu_s": cpu_s, "resent": sent_again}
    print(json.dumps(done), flush=True)
    await host.aclose()
    peers.close()
    loop.stop()


if __name__ == "__main__":
    raise_priority()
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
