"""`python -m benchmarks.peers.aiortc_callers URL`: stock aiortc calls, AudioStreamTrack out and MediaBlackhole in.

That is aiortc as its own examples use it: a track that is encoded packet by packet, a jitter buffer, a decoder. The
track speaks what all callers of a comparison speak; `--talk 0` leaves it as aiortc has it, with digital silence, which
takes its encoder and its decoder less time. Nothing of aiortc is changed but the list of local addresses,
which by itself leaves loopback out.
"""

import argparse
import asyncio
import secrets
import sys
from typing import Any

import aiohttp
import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack
from av import AudioFrame
from av.frame import Frame

from benchmarks.commands import obey
from benchmarks.turns import DEFAULT_TALK, Cycle
from harness.media.clips import Pcm

CONNECT_LIMIT_S = 30.0
_SETUPS_AT_ONCE = 4
# What AudioStreamTrack makes of itself.
_TRACK_RATE = 8_000
_FRAME_SAMPLES = 160


def stay_on_loopback() -> None:
    """Have aioice offer 127.0.0.1 and nothing else."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"] if use_ipv4 else []  # noqa: ARG005 - its signature


async def connect(pc: RTCPeerConnection, http: aiohttp.ClientSession, url: str, **body: Any) -> None:
    """Offer `pc` to `url` as JSON and wait until media can flow; TimeoutError, ConnectionError."""
    connected = asyncio.Event()

    @pc.on("connectionstatechange")
    def on_state() -> None:
        if pc.connectionState in ("connected", "failed", "closed"):
            connected.set()

    await pc.setLocalDescription(await pc.createOffer())
    offer = {"sdp": pc.localDescription.sdp, "type": pc.localDescription.type, **body}
    async with http.post(url, json=offer) as response:
        answer = await response.json()
    await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
    await asyncio.wait_for(connected.wait(), CONNECT_LIMIT_S)
    if pc.connectionState != "connected":
        raise ConnectionError(f"the connection is {pc.connectionState}")


class SpeakingTrack(AudioStreamTrack):
    """The stock track, its 20 ms of silence at 8 kHz filled with speech."""

    def __init__(self, samples: Pcm, first: int) -> None:
        super().__init__()
        self._samples = samples
        self._next = first

    async def recv(self) -> Frame:
        """Return the next frame when it is due."""
        frame = await super().recv()
        assert isinstance(frame, AudioFrame)
        self._next %= len(self._samples)
        frame.planes[0].update(self._samples[self._next : self._next + frame.samples].tobytes())
        self._next += frame.samples
        return frame


class StockCallers:
    """Calls to one echo server."""

    def __init__(self, url: str, http: aiohttp.ClientSession, talk: float) -> None:
        self._url = url
        self._samples = Cycle(talk).samples(_TRACK_RATE) if talk > 0 else None
        self._http = http
        self._up: list[tuple[RTCPeerConnection, MediaBlackhole]] = []
        self._failed = 0

    def _track(self) -> AudioStreamTrack:
        if self._samples is None:
            return AudioStreamTrack()
        # Calls speak at different times; in whole frames, so that none reaches over the end.
        frames = len(self._samples) // _FRAME_SAMPLES
        return SpeakingTrack(self._samples, _FRAME_SAMPLES * secrets.randbelow(frames))

    async def _place(self) -> None:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        sink = MediaBlackhole()
        pc.addTrack(self._track())

        @pc.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            sink.addTrack(track)

        try:
            await connect(pc, self._http, self._url)
        except (TimeoutError, OSError, aiohttp.ClientError, KeyError, ValueError) as error:
            print(f"aiortc caller: {error!r}", file=sys.stderr)
            self._failed += 1
            await pc.close()
            return
        await sink.start()
        self._up.append((pc, sink))

    async def add(self, calls: int) -> tuple[int, int]:
        """Place calls, a few at a time."""
        slots = asyncio.Semaphore(_SETUPS_AT_ONCE)

        async def one() -> None:
            async with slots:
                await self._place()

        await asyncio.gather(*(one() for _ in range(calls)))
        return len(self._up), self._failed

    async def count(self) -> dict[str, Any]:
        """Sum aiortc's own statistics."""
        totals = {"packetsSent": 0, "packetsReceived": 0}
        for pc, _sink in self._up:
            for report in (await pc.getStats()).values():
                if report.type in ("outbound-rtp", "inbound-rtp"):
                    for name in totals:
                        totals[name] += getattr(report, name, 0)
        return {"calls": len(self._up), "sent": totals["packetsSent"], "received": totals["packetsReceived"]}

    async def close(self) -> None:
        """Hang up."""
        await asyncio.gather(*(pc.close() for pc, _sink in self._up))
        await asyncio.gather(*(sink.stop() for _pc, sink in self._up))


async def _run(url: str, talk: float) -> None:
    stay_on_loopback()
    async with aiohttp.ClientSession() as http:
        await obey(StockCallers(url, http, talk))


def main() -> None:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.aiortc_callers", description=__doc__)
    parser.add_argument("url", help="where offers are POSTed as JSON")
    parser.add_argument("--talk", type=float, default=DEFAULT_TALK, help="share of speech; 0 = digital silence")
    options = parser.parse_args()
    asyncio.run(_run(options.url, options.talk))


if __name__ == "__main__":
    main()
