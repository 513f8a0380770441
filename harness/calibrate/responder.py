"""The reference responder: an agent that answers a known delay after the end of the caller's speech.

It is what Callquake's own error is measured against, so it keeps its own truth, on its own clock reads, independent of
the caller's: when the packet with the last audible caller audio reached this host (kernel time), and when the packet
with the first audible sample of its answer was sent. Both are written to the truth file, one JSON line per answer.

Its answers open with a chosen amount of leading silence; between answers it sends silence packets on and on, or nothing
(DTX). Packets can be lost on purpose in both directions; the truth is taken before the loss.

The end of speech is found by level: the last 5 ms window over -35 dBFS, confirmed by a hangover of quiet. So it wants
callers whose utterances have no pause longer than the hangover, and delays longer than it.
"""

import argparse
import asyncio
import contextlib
import json
import random
import secrets
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from harness.calibrate.voice import voiced
from harness.media import takeover
from harness.media.clips import Clip, encode_clip
from harness.media.loop import MediaLoop
from harness.media.onset import window_levels_dbfs
from harness.media.opus import PACKET_SAMPLES, RATE, SILENCE_PAYLOAD, Decoder
from harness.media.priority import raise_priority
from harness.media.stream import RTCP_INTERVAL_NS, TICK_NS
from harness.model.clock import NS_PER_MS, monotonic_ns
from harness.model.errors import RemoteProtocolError
from harness.protocols import rtcp, rtp, small_webrtc

# Opus rings on for a packet after an abrupt end, 30 dB down and more: that is not speech.
AUDIBLE_DBFS = -35.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the responder does; ranges are drawn from uniformly, by the seed."""

    delay_ms: tuple[float, float] = (200.0, 2000.0)
    leading_silence_ms: tuple[float, float] = (0.0, 0.0)
    answer_ms: float = 700.0
    # Length of the greeting, 0 = none.
    greeting_ms: float = 700.0
    # Send nothing at all in silence, instead of silence packets.
    dtx: bool = False
    loss_ratio: float = 0.0
    # Take calls and never say a word.
    mute: bool = False
    seed: int = 1
    # This much quiet ends the caller's turn.
    hangover_ms: float = 160.0


@dataclass(frozen=True, slots=True)
class Truth:
    """One answer as the responder knows it; monotonic ns of this host."""

    call: str
    turn: int
    speech_ended_at_ns: int
    onset_sent_at_ns: int
    planned_delay_ms: float
    leading_silence_ms: float
    first_audible_packet_lost: bool

    @property
    def ttfb_ms(self) -> float:
        """What a perfect caller on this host would measure."""
        return (self.onset_sent_at_ns - self.speech_ended_at_ns) / NS_PER_MS


class AnsweringStream:
    """One call's media on the responder's side; driven by the media loop like a caller's stream."""

    def __init__(self, call: str, taken: takeover.TakenMedia, behaviour: Behaviour, seed: int, truth: IO[str]) -> None:
        self._call = call
        self._link = taken.link
        self._ssrc = taken.ssrc
        self._payload_type = taken.payload_type
        self._behaviour = behaviour
        self._random = random.Random(seed)
        self._truth = truth
        self._decoder = Decoder()
        self._stats = rtp.ReceptionStats(RATE)
        self._sequence = secrets.randbits(15)
        self._timestamp = secrets.randbits(32)
        self._clip: Clip | None = None
        self._position = 0
        self._leading_ms = 0.0
        self._turn = 0
        self._last_audible_ns: int | None = None
        self._talking_since_ns: int | None = None
        self._ended_ns: int | None = None
        self._answer_due_ns: int | None = None
        self._delay_ms = 0.0
        self._next_rtcp_ns = 0
        self._packets = 0
        self._octets = 0
        self._last_remote_sr: tuple[int, int] | None = None
        if behaviour.greeting_ms and not behaviour.mute:
            # A moment of silence first, as an agent that picks up has.
            self._clip = self._answer_clip(300.0, behaviour.greeting_ms)

    def _answer_clip(self, leading_ms: float, length_ms: float) -> Clip:
        silence = np.zeros(int(leading_ms * RATE / 1000), np.int16)
        samples = np.concatenate([silence, voiced(length_ms, RATE)])
        return encode_clip("answer", samples, leading_ms, leading_ms + length_ms)

    def tick(self, now_ns: int, unix_ns: int) -> None:
        """Send this tick's packet, if this agent sends in silence or has something to say."""
        self._decide(now_ns)
        clip, position = self._clip, self._position
        payload = SILENCE_PAYLOAD if clip is None else clip.payloads[position]
        lost = self._random.random() < self._behaviour.loss_ratio
        sent_at_ns = now_ns
        if clip is not None or not self._behaviour.dtx:
            header = rtp.pack_header(
                self._payload_type, clip is not None and position == 0, self._sequence, self._timestamp, self._ssrc
            )
            self._sequence = (self._sequence + 1) & 0xFFFF
            if lost:
                sent_at_ns = monotonic_ns()
            else:
                sent_at_ns = self._link.send_rtp(header + payload)
                self._packets += 1
                self._octets += len(payload)
        self._timestamp = (self._timestamp + PACKET_SAMPLES) & 0xFFFFFFFF
        if clip is not None:
            self._advance(clip, position, sent_at_ns, lost)
        if now_ns >= self._next_rtcp_ns:
            self._next_rtcp_ns = now_ns + RTCP_INTERVAL_NS
            self._report(now_ns, unix_ns)

    def _advance(self, clip: Clip, position: int, sent_at_ns: int, lost: bool) -> None:
        if position == clip.first_voiced_packet and self._ended_ns is not None:
            self._turn += 1
            row = Truth(self._call, self._turn, self._ended_ns, sent_at_ns, self._delay_ms, self._leading_ms, lost)
            self._truth.write(json.dumps({**asdict(row), "ttfb_ms": row.ttfb_ms}) + "\n")
            self._truth.flush()
            self._ended_ns = None
        self._position = position + 1
        if self._position >= len(clip.payloads):
            self._clip, self._position = None, 0

    def _decide(self, now_ns: int) -> None:
        """Find the caller's end of speech, then start the answer so that its voice begins when it is due."""
        last = self._last_audible_ns
        if (
            self._talking_since_ns is not None
            and last is not None
            and now_ns - last > self._behaviour.hangover_ms * NS_PER_MS
        ):
            self._talking_since_ns = None
            if not self._behaviour.mute:
                self._plan_answer(last)
        due = self._answer_due_ns
        if due is not None and now_ns + TICK_NS // 2 >= due:
            self._answer_due_ns = None
            self._clip, self._position = self._answer_clip(self._leading_ms, self._behaviour.answer_ms), 0

    def _plan_answer(self, ended_ns: int) -> None:
        self._ended_ns = ended_ns
        self._delay_ms = self._random.uniform(*self._behaviour.delay_ms)
        # Leading silence is part of the delay, and starts only after the hangover has told the end of speech.
        most = max(0.0, self._delay_ms - self._behaviour.hangover_ms - 2 * TICK_NS / NS_PER_MS)
        self._leading_ms = min(most, self._random.uniform(*self._behaviour.leading_silence_ms))
        self._answer_due_ns = ended_ns + int((self._delay_ms - self._leading_ms) * NS_PER_MS)

    def heard(self, arrived_at_ns: int, drops: int | None) -> None:
        """Take note of any datagram: nothing to do here."""

    def receive_rtp(self, data: bytes, arrived_at_ns: int) -> None:
        """Listen to the caller."""
        plain = self._link.unprotect_rtp(data)
        if plain is None:
            return
        try:
            header = rtp.parse_header(plain)
        except RemoteProtocolError:
            return
        if self._random.random() >= self._behaviour.loss_ratio:
            self._stats.add(header, arrived_at_ns)
        samples = self._decoder.decode(plain[header.payload_start : header.payload_end])
        if max(window_levels_dbfs(samples, RATE), default=-96.0) > AUDIBLE_DBFS:
            self._last_audible_ns = arrived_at_ns
            self._talking_since_ns = self._talking_since_ns or arrived_at_ns

    def receive_rtcp(self, data: bytes, now_ns: int, unix_ns: int) -> None:
        """Remember the caller's last sender report, to quote it back."""
        del unix_ns
        plain = self._link.unprotect_rtcp(data)
        if plain is None:
            return
        with contextlib.suppress(RemoteProtocolError):
            for packet in rtcp.parse(plain):
                if isinstance(packet, rtcp.Report) and packet.ntp_middle is not None:
                    self._last_remote_sr = (packet.ntp_middle, now_ns)

    def _report(self, now_ns: int, unix_ns: int) -> None:
        blocks = []
        if self._stats.ssrc is not None:
            last_sr, at_ns = self._last_remote_sr or (0, now_ns)
            delay = (now_ns - at_ns) * 65536 // 1_000_000_000
            stats = self._stats
            blocks.append(
                rtcp.ReportBlock(
                    stats.ssrc or 0, stats.fraction_lost(), stats.lost, stats.highest, int(stats.jitter), last_sr, delay
                )
            )
        self._link.send_rtcp(
            rtcp.pack_sender_report(
                self._ssrc, unix_ns, self._timestamp, self._packets, self._octets, blocks, "responder"
            )
        )

    def failed(self, error: Exception) -> None:
        """Say why this call's media ended."""
        print(f"responder: call {self._call}: {error!r}", file=sys.stderr)

    def goodbye(self) -> None:
        """Leave without a word."""


class Responder:
    """HTTP offer/answer (SmallWebRTC and plain JSON bodies) in front of AnsweringStreams."""

    def __init__(self, behaviour: Behaviour, truth: IO[str]) -> None:
        self._behaviour = behaviour
        self._truth = truth
        self._media_loop = MediaLoop()
        self._calls: dict[RTCPeerConnection, AnsweringStream | None] = {}
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def start(self, host: str, port: int) -> int:
        """Listen; return the bound port."""
        takeover.use_host_addresses([host])
        self._media_loop.start()
        app = web.Application()
        app.router.add_post("/api/offer", self._offer)
        app.router.add_post("/offer", self._offer)
        app.router.add_get("/healthz", self._health)
        self._runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def aclose(self) -> None:
        """End every call and stop listening."""
        for pc in list(self._calls):
            await self._end(pc)
        if self._runner is not None:
            await self._runner.cleanup()
        self._media_loop.stop()

    async def _health(self, _request: web.Request) -> web.Response:
        about = {"name": "callquake reference responder", "behaviour": asdict(self._behaviour)}
        return web.json_response(
            {**about, "simulated": ["the whole agent: a reference responder with scripted delays"]}
        )

    async def _offer(self, request: web.Request) -> web.Response:
        try:
            offer = small_webrtc.parse_offer(await request.read())
        except RemoteProtocolError as error:
            return web.json_response({"error": str(error)}, status=400)
        takeover.use_host_addresses([str(request.url.host)])
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._calls[pc] = None
        self._count += 1
        call = str(offer.request_data.get("call_id") or f"call-{self._count}")
        seed = self._behaviour.seed * 1_000_003 + self._count

        @pc.on("connectionstatechange")
        def on_state() -> None:
            task = asyncio.get_running_loop().create_task(self._state_changed(pc, call, seed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        await pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        for transceiver in pc.getTransceivers():
            transceiver.direction = "sendrecv"
        await pc.setLocalDescription(await pc.createAnswer())
        return web.Response(
            text=small_webrtc.build_answer(small_webrtc.Answer(pc.localDescription.sdp, call)),
            content_type="application/json",
        )

    async def _state_changed(self, pc: RTCPeerConnection, call: str, seed: int) -> None:
        if pc.connectionState == "connected" and self._calls.get(pc) is None:
            taken = await takeover.take_over(pc)
            stream = AnsweringStream(call, taken, self._behaviour, seed, self._truth)
            self._calls[pc] = stream
            self._media_loop.add(stream, taken.sock, taken.feed_back)
        elif pc.connectionState in ("failed", "closed", "disconnected"):
            await self._end(pc)

    async def _end(self, pc: RTCPeerConnection) -> None:
        stream = self._calls.pop(pc, None)
        if stream is not None:
            self._media_loop.remove(stream)
        await pc.close()


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    values = (float(low), float(high or low))
    if values[0] < 0 or values[1] < values[0]:
        raise argparse.ArgumentTypeError(f"'{text}' is no range; legal: MS or MS:MS, e.g. 200:2000")
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; prints the address first."""
    parser = argparse.ArgumentParser(prog="python -m harness.calibrate.responder", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = any free port; it is printed (default: %(default)s)")
    parser.add_argument(
        "--delay-ms", type=_range, default=(200.0, 2000.0), metavar="A:B", help="end of speech to answer"
    )
    parser.add_argument("--leading-silence-ms", type=_range, default=(0.0, 0.0), metavar="A:B")
    parser.add_argument("--answer-ms", type=float, default=700.0)
    parser.add_argument("--greeting-ms", type=float, default=700.0, help="0 = no greeting")
    parser.add_argument("--dtx", action="store_true", help="send nothing in silence")
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets lost, in both directions")
    parser.add_argument("--mute", action="store_true", help="take calls and never answer")
    parser.add_argument(
        "--hangover-ms",
        type=float,
        default=160.0,
        help="quiet that ends the caller's turn; 700 for real speech with its pauses (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--truth", type=Path, default=Path("/dev/null"), help="JSON lines, one per answer")
    options = parser.parse_args(arguments)
    if options.delay_ms[0] <= options.hangover_ms:
        parser.error(f"--delay-ms must be longer than --hangover-ms ({options.hangover_ms:g})")
    behaviour = Behaviour(
        delay_ms=options.delay_ms,
        leading_silence_ms=options.leading_silence_ms,
        answer_ms=options.answer_ms,
        greeting_ms=options.greeting_ms,
        dtx=options.dtx,
        loss_ratio=options.loss,
        mute=options.mute,
        seed=options.seed,
        hangover_ms=options.hangover_ms,
    )
    with options.truth.open("w") as truth:
        asyncio.run(_serve(behaviour, truth, options.host, options.port))
    return 0


async def _serve(behaviour: Behaviour, truth: IO[str], host: str, port: int) -> None:
    sys.setswitchinterval(0.0005)
    raise_priority()
    responder = Responder(behaviour, truth)
    bound = await responder.start(host, port)
    print(f"http://{host}:{bound}/api/offer", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await responder.aclose()


if __name__ == "__main__":
    sys.exit(main())
