"""`python -m benchmarks.our_callers KIND URL`: our own callers, as the engine runs them, without Locust in front.

Each call is set up by the product's caller and lives in the product's media loop: RTP both ways, RTCP, ICE consent,
onset detection. Every call speaks a turn a cycle and times the onset of its echo.
"""

import argparse
import asyncio
import gc
import secrets
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.commands import CallersProcess, obey
from benchmarks.turn_clock import TurnClock, TurnLog
from benchmarks.turns import CYCLE_S, speech
from harness.media.codecs import PCMU
from harness.media.hot.jit import MODE
from harness.media.loop import MediaLoop
from harness.media.priority import raise_priority
from harness.media.spec import MediaSpec

if TYPE_CHECKING:
    from harness.media.media_call import MediaCall
    from harness.media.port import MediaPort

QUIET_MS = 900.0
_MEDIA_TIMEOUT_MS = 8_000.0


class RtpCallers:
    """Plain RTP calls from one shared port to one address, told apart by SSRC."""

    def __init__(self, loop: MediaLoop, url: str) -> None:
        address = urlsplit(url)
        self._loop = loop
        self._remote = (str(address.hostname), int(address.port or 0))
        self._port: MediaPort | None = None
        self._clip = speech(PCMU)
        self._calls: list[tuple[MediaCall, TurnClock]] = []
        self._log = TurnLog()

    async def add(self, calls: int) -> tuple[int, int]:
        """Add calls; their turns are spread over the cycle."""
        if self._port is None:
            self._port = self._loop.open_port(self._remote[0], lambda _data, _address, _at_ns: None)
        for index in range(calls):
            clock = TurnClock(self._clip, self._log)
            call = self._loop.add_call(self._port, self._spec(clock))
            clock.start(call.play, call.listen, CYCLE_S * index / calls)
            self._calls.append((call, clock))
        return len(self._calls), 0

    def _spec(self, clock: TurnClock) -> MediaSpec:
        return MediaSpec(
            remote=self._remote,
            ssrc=secrets.randbits(32),
            first_sequence=secrets.randbits(15),
            first_timestamp=secrets.randbits(32),
            cname="benchmark",
            quiet_ms=QUIET_MS,
            media_timeout_ms=_MEDIA_TIMEOUT_MS,
            post=clock.take,
            codec=PCMU,
            payload_type=PCMU.payload_type,
            by_ssrc=True,
        )

    async def count(self) -> dict[str, Any]:
        """Sum the calls' counts."""
        stats = [call.stats() for call, _clock in self._calls]
        return {
            "calls": len(self._calls),
            "sent": sum(s.packets_sent for s in stats),
            "received": sum(s.packets_received for s in stats),
            "lost": sum(s.packets_lost for s in stats),
            "send_errors": sum(s.send_errors for s in stats),
            "socket_drops": max((s.socket_drops for s in stats), default=0),
            **self._log.as_json(),
        }

    async def close(self) -> None:
        """Hang up."""
        for _call, clock in self._calls:
            clock.stop()
        await asyncio.gather(*(call.close() for call, _clock in self._calls))


async def _run(url: str) -> None:
    loop = MediaLoop()
    loop.start()
    try:
        process: CallersProcess = RtpCallers(loop, url)
        await obey(process, mode=MODE)
        if loop.failure is not None:
            raise loop.failure
    finally:
        loop.stop()


def main() -> None:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.our_callers", description=__doc__)
    parser.add_argument("kind", choices=["rtp"])
    parser.add_argument("url", help="rtp://HOST:PORT")
    options = parser.parse_args()
    # As the engine's process sets itself up.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    raise_priority()
    asyncio.run(_run(options.url))


if __name__ == "__main__":
    main()
