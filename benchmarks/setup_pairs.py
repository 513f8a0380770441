"""Sets WebRTC pairs up, both ends in this process, and tells what that cost: one of setup_rate's two sides.

    python -m benchmarks.setup_pairs ours|aiortc PAIRS AT_A_TIME

Prints {"event": "ready"}, then, at a line on its input, works and prints {"event": "done", "pairs", "cpu_s", ...}.
A pair is an offer, an answer, ICE, DTLS and the SRTP keys of both ends. Hanging up is not counted.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiortc import RTCConfiguration, RTCPeerConnection

from harness.media.loop import MediaLoop
from harness.media.peer.answering import AnsweringPeer
from harness.media.peer.host import PeerHost
from harness.media.peer.offering import OfferingPeer
from harness.media.peer.seam import use_host_addresses

_HOST = "127.0.0.1"
_LIMIT_S = 60.0
_WARM_UP_PAIRS = 8

HangUp = Callable[[], Awaitable[None]]


class Side(Protocol):
    """Who sets pairs up."""

    async def pair(self) -> HangUp:
        """Set one pair up; return what hangs it up."""

    def close(self) -> None:
        """Let go of everything."""


class Ours:
    """Peers of ours, as the engine and the reference responder use them: each end with its own host."""

    def __init__(self) -> None:
        self._media_loop = MediaLoop(4096)
        self._media_loop.start()
        self._callers, self._agents = PeerHost(self._media_loop), PeerHost(self._media_loop)

    async def pair(self) -> HangUp:
        """Set one pair up."""
        caller = OfferingPeer(self._callers, "benchmark", [_HOST])
        agent = AnsweringPeer(self._agents, caller.offer_sdp, [_HOST])
        caller.accept(agent.answer_sdp)
        await asyncio.gather(caller.connect(_LIMIT_S), agent.connect(_LIMIT_S))

        async def hang_up() -> None:
            caller.close()
            agent.close()

        return hang_up

    def close(self) -> None:
        """Let go of ports and loop."""
        self._callers.close()
        self._agents.close()
        self._media_loop.stop()


class Stock:
    """aiortc's RTCPeerConnection on both ends, as its examples use it."""

    def __init__(self) -> None:
        use_host_addresses([_HOST])

    async def pair(self) -> HangUp:
        """Set one pair up."""
        ends = [RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2)]
        caller, agent = ends
        up = [_connected(pc) for pc in ends]
        caller.addTransceiver("audio")
        await caller.setLocalDescription(await caller.createOffer())
        await agent.setRemoteDescription(caller.localDescription)
        await agent.setLocalDescription(await agent.createAnswer())
        await caller.setRemoteDescription(agent.localDescription)
        await asyncio.wait_for(asyncio.gather(*up), _LIMIT_S)

        async def hang_up() -> None:
            await asyncio.gather(*(pc.close() for pc in ends))

        return hang_up

    def close(self) -> None:
        """Nothing is shared."""


def _connected(pc: RTCPeerConnection) -> asyncio.Future[None]:
    up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @pc.on("connectionstatechange")  # type: ignore[untyped-decorator]
    def on_change() -> None:
        if pc.connectionState == "connected" and not up.done():
            up.set_result(None)

    return up


async def measure(side: Side, pairs: int, at_a_time: int) -> dict[str, Any]:
    """Set `pairs` up, `at_a_time` together; return counts and costs in seconds."""
    cpu_ns = wall_ns = done = 0
    while done < pairs:
        batch = min(at_a_time, pairs - done)
        cpu, wall = time.process_time_ns(), time.monotonic_ns()
        up = await asyncio.gather(*(side.pair() for _ in range(batch)))
        cpu_ns += time.process_time_ns() - cpu
        wall_ns += time.monotonic_ns() - wall
        done += batch
        await asyncio.gather(*(hang_up() for hang_up in up))
    return {"pairs": done, "cpu_s": cpu_ns / 1e9, "seconds": wall_ns / 1e9}


def tell(event: str, **fields: Any) -> None:
    """Print one message."""
    print(json.dumps({"event": event, **fields}), flush=True)


async def main(name: str, pairs: int, at_a_time: int) -> None:
    """Warm up, wait to be told, measure."""
    side: Side = Ours() if name == "ours" else Stock()
    try:
        await measure(side, _WARM_UP_PAIRS, _WARM_UP_PAIRS)
        # As the engine has it, for both sides.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        tell("ready")
        await asyncio.to_thread(sys.stdin.readline)
        tell("done", **await measure(side, pairs, at_a_time))
    finally:
        side.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
