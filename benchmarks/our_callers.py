"""`python -m benchmarks.our_callers URL`: our own callers, as the engine runs them, without Locust in front.

Each call is set up by the product's caller and lives in the product's media loop: RTP both ways, RTCP, ICE consent,
onset detection. Every call speaks a turn a cycle and times the onset of its echo. http://... is called over WebRTC,
rtp://HOST:PORT over plain RTP in PCMU, from shared ports.
"""

import argparse
import asyncio
import gc
import os
import sys
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from benchmarks.commands import obey
from benchmarks.turn_clock import TurnClock, TurnLog
from benchmarks.turns import CYCLE_S, Cycle, add_talk_option
from harness.callers.caller import Caller
from harness.callers.exchange import CallEvent
from harness.callers.rtp import RtpCaller
from harness.callers.setup_failure import SetupFailure
from harness.callers.setup_queue import SetupQueue
from harness.callers.source_ports import SourcePorts
from harness.callers.webrtc import WebRtcCaller
from harness.engine.headroom import raise_descriptor_limit
from harness.media.codecs import OPUS, PCMU, Codec
from harness.media.hot.jit import MODE
from harness.media.loop import MediaLoop
from harness.media.peer import seam
from harness.media.peer.host import PeerHost
from harness.media.priority import raise_priority
from harness.media.timers import Timers
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, TargetSpec

_NOBODY = Persona("benchmark", "", "", "", "unlimited")
_ENDLESS = Patience("unlimited", 0.0, 1.0, 0)
_LIMITS = CallLimits(connect_timeout_ms=60_000)


class Post(Protocol):
    """Where a caller's events go."""

    def __call__(self, event: CallEvent, /) -> None: ...


class Transports:
    """Makes the product's callers, of the kind that the target's address calls for."""

    def __init__(self, url: str, http: aiohttp.ClientSession, media_loop: MediaLoop) -> None:
        self._is_rtp = url.startswith("rtp://")
        self._http = http
        self._media_loop = media_loop
        self._peers = PeerHost(media_loop)
        self._ports = SourcePorts(media_loop)
        self.codec: Codec = PCMU if self._is_rtp else OPUS
        if self._is_rtp:
            self._target = TargetSpec(url, transport="rtp", codec=PCMU.name, source_ports="shared")
        else:
            self._target = TargetSpec(url, dialect="json")

    def caller(self, index: int, post: Post) -> Caller:
        """Return a caller that has not yet called."""
        plan = CallPlan(
            call_id=f"benchmark-{index}",
            index=index,
            due_ms=None,
            caller="benchmark",
            persona=_NOBODY,
            patience=_ENDLESS,
            turns=(),
            target=self._target,
            limits=_LIMITS,
        )
        if self._is_rtp:
            return RtpCaller(plan, self._http, self._media_loop, self._ports, post)
        return WebRtcCaller(plan, self._http, self._peers, self._media_loop, post)

    @property
    def timers(self) -> Timers:
        """Return the timers that all calls share, as in the engine."""
        return self._peers.timers

    def close(self) -> None:
        """Close the shared ports."""
        self._peers.close()


@dataclass(frozen=True, slots=True)
class _Call:
    caller: Caller
    clock: TurnClock


class OurCallers:
    """Calls to one address, each speaking once a cycle."""

    def __init__(self, transports: Transports, media_loop: MediaLoop, cycle: Cycle) -> None:
        self._transports = transports
        self._media_loop = media_loop
        self._queue = SetupQueue()
        self._clip = cycle.clip(transports.codec)
        self._log = TurnLog()
        self._up: list[_Call] = []
        self._failed = 0

    async def add(self, calls: int) -> tuple[int, int]:
        """Place calls through the product's set-up queue; their turns are spread over the cycle."""
        first = len(self._up) + self._failed
        await asyncio.gather(*(self._place(first + i, CYCLE_S * i / calls) for i in range(calls)))
        return len(self._up), self._failed

    async def _place(self, index: int, first_after_s: float) -> None:
        clock = TurnClock(self._clip, self._log, self._transports.timers)
        caller = self._transports.caller(index, clock.take)
        try:
            async with self._queue.turn(None) as turn:
                await caller.connect(turn)
        except SetupFailure as error:
            print(f"call {index}: {error.cause.value}: {error.detail}", file=sys.stderr)
            self._failed += 1
            await caller.close()
            return
        assert caller.media is not None
        clock.start(caller.media.play, first_after_s)
        self._up.append(_Call(caller, clock))

    async def count(self) -> dict[str, Any]:
        """Sum the calls' counts; lateness and TTFB are those since the last count."""
        stats = [call.caller.media.stats() for call in self._up if call.caller.media is not None]
        loop = self._media_loop.take_stats()
        late = loop.tick_lateness_ms
        return {
            "calls": len(self._up),
            "sent": sum(s.packets_sent for s in stats),
            "received": sum(s.packets_received for s in stats),
            "lost": sum(s.packets_lost for s in stats),
            "send_errors": sum(s.send_errors for s in stats),
            "tick_lateness_ms": {"p50": late.percentile(0.5), "p99": late.percentile(0.99), "max": late.maximum},
            "overflows": loop.overflows,
            "unknown_source": loop.unknown_source,
            **self._log.as_json(),
        }

    async def close(self) -> None:
        """Hang up."""
        for call in self._up:
            call.clock.stop()
        await asyncio.gather(*(call.caller.close() for call in self._up))
        self._transports.close()


async def _run(url: str, cycle: Cycle) -> None:
    seam.guard_versions()
    media_loop = MediaLoop()
    media_loop.start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            await obey(OurCallers(Transports(url, http, media_loop), media_loop, cycle), mode=MODE)
        if media_loop.failure is not None:
            raise media_loop.failure
    finally:
        media_loop.stop()


def main() -> None:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.our_callers", description=__doc__)
    parser.add_argument("url", help="http://HOST:PORT/PATH or rtp://HOST:PORT")
    add_talk_option(parser)
    options = parser.parse_args()
    # As the engine's process sets itself up.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    # A benchmark starts all competitors as real-time ones, of a higher priority than the engine asks for.
    if os.sched_getscheduler(0) != os.SCHED_RR:
        raise_priority()
    raise_descriptor_limit()
    asyncio.run(_run(options.url, Cycle(options.talk)))


if __name__ == "__main__":
    main()
