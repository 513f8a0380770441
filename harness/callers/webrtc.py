"""One WebRTC call: aiortc does SDP, ICE, DTLS and the data channel; the media loop does the audio."""

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from harness.callers import http_signalling
from harness.callers.exchange import CallEvent, Disconnected
from harness.callers.setup_failure import SetupFailure
from harness.callers.side_channel import RtviSideChannel
from harness.media import takeover
from harness.media.loop import MediaLoop
from harness.media.recorder import Recorder
from harness.media.stream import MediaStream
from harness.model.clock import monotonic_ns, ms_between
from harness.model.errors import RemoteProtocolError
from harness.model.plan import CallPlan
from harness.model.records import Cause, MediaStats, SetupTimes
from harness.protocols import rtvi

CODEC = "opus"
_logger = logging.getLogger(__name__)


def _loopback_addresses(url: str) -> list[str] | None:
    """Return the local addresses ICE must use for a target on this host, None for any other target."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return ["127.0.0.1"]
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return ["::1"] if ":" in host else ["127.0.0.1"]
    return None


class WebRtcCaller:
    """One call over WebRTC. `connect`, then events arrive at `post` until `close`."""

    def __init__(
        self, plan: CallPlan, http: aiohttp.ClientSession, media_loop: MediaLoop, post: Callable[[CallEvent], None]
    ) -> None:
        self._plan = plan
        self._http = http
        self._media_loop = media_loop
        self._post = post
        self._pc: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._side = RtviSideChannel()
        self._pinger: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._closing = False
        self.stream: MediaStream | None = None
        self.recorder: Recorder | None = None
        self.setup = SetupTimes()
        self.candidate_types: tuple[str, str] | None = None

    async def connect(self) -> int:
        """Set the call up; return the monotonic ns at which media was up. Raises SetupFailure."""
        started = monotonic_ns()
        limit_s = self._plan.limits.connect_timeout_ms / 1000
        takeover.use_host_addresses(_loopback_addresses(self._plan.target.url))
        configuration = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self._pc = pc = RTCPeerConnection(configuration)
        self._watch(pc)
        transceiver = pc.addTransceiver("audio", direction="sendrecv")
        opus = [c for c in RTCRtpSender.getCapabilities("audio").codecs if c.mimeType.lower() == "audio/opus"]
        transceiver.setCodecPreferences(opus)
        self._open_channel(pc)
        await pc.setLocalDescription(await pc.createOffer())
        offered = monotonic_ns()
        answer = await http_signalling.exchange(
            self._http, self._plan.target, pc.localDescription.sdp, self._plan.call_id, limit_s
        )
        answered = monotonic_ns()
        self.setup = SetupTimes(signalling_ms=ms_between(offered, answered))
        try:
            await pc.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
        except Exception as error:
            # aiortc's parser raises whatever it stumbles over (AssertionError, IndexError, ...): the peer's doing.
            raise SetupFailure(Cause.SIGNALLING_REFUSED, f"the agent's SDP answer is unusable: {error!r}") from error
        ice_up = await self._wait_for_ice(pc, started, limit_s)
        await self._wait_for_dtls(pc, started, limit_s)
        taken = await takeover.take_over(pc)
        connected = monotonic_ns()
        self.setup = SetupTimes(
            signalling_ms=ms_between(offered, answered),
            ice_ms=ms_between(answered, ice_up),
            dtls_ms=ms_between(ice_up, connected),
            total_ms=ms_between(started, connected),
        )
        self.candidate_types = taken.candidate_types
        self._start_media(taken, connected)
        return connected

    def _watch(self, pc: RTCPeerConnection) -> None:
        @pc.on("connectionstatechange")
        def on_connection_state() -> None:
            self._changed.set()
            if pc.connectionState in ("failed", "closed") and self.stream is not None and not self._closing:
                self._post(Disconnected(f"connection {pc.connectionState}"))

        @pc.on("iceconnectionstatechange")
        def on_ice_state() -> None:
            self._changed.set()

    async def _wait_for_ice(self, pc: RTCPeerConnection, started_ns: int, limit_s: float) -> int:
        while pc.iceConnectionState not in ("connected", "completed"):
            if pc.iceConnectionState == "failed":
                raise SetupFailure(Cause.ICE_FAILED, "no ICE candidate pair worked")
            await self._next_change(started_ns, limit_s, Cause.ICE_FAILED, f"ICE was {pc.iceConnectionState}")
        return monotonic_ns()

    async def _wait_for_dtls(self, pc: RTCPeerConnection, started_ns: int, limit_s: float) -> None:
        while pc.connectionState != "connected":
            if pc.connectionState in ("failed", "closed"):
                raise SetupFailure(Cause.DTLS_FAILED, f"connection {pc.connectionState} after ICE succeeded")
            await self._next_change(started_ns, limit_s, Cause.DTLS_FAILED, f"DTLS was {pc.connectionState}")

    async def _next_change(self, started_ns: int, limit_s: float, cause: Cause, state: str) -> None:
        left_s = limit_s - (monotonic_ns() - started_ns) / 1e9
        try:
            await asyncio.wait_for(self._changed.wait(), max(0.0, left_s))
        except TimeoutError as error:
            raise SetupFailure(cause, f"{state} after {limit_s:.0f} s") from error
        self._changed.clear()

    def _start_media(self, taken: takeover.TakenMedia, connected_ns: int) -> None:
        loop = asyncio.get_running_loop()
        if self._plan.record:
            self.recorder = Recorder(connected_ns)
        self.stream = MediaStream(
            link=taken.link,
            ssrc=taken.ssrc,
            payload_type=taken.payload_type,
            first_sequence=secrets.randbits(15),
            first_timestamp=secrets.randbits(32),
            cname=self._plan.call_id,
            quiet_ms=self._plan.limits.quiet_ms,
            media_timeout_ms=self._plan.limits.media_timeout_ms,
            post=lambda event: _post_threadsafe(loop, self._post, event),
            recorder=self.recorder,
        )
        self._media_loop.add(self.stream, taken.sock, taken.feed_back)

    # --- data channel ----------------------------------------------------------------------------------------------

    def _open_channel(self, pc: RTCPeerConnection) -> None:
        if self._plan.target.dialect != "pipecat":
            return
        self._channel = channel = pc.createDataChannel("chat", ordered=True)

        @channel.on("open")
        def on_open() -> None:
            channel.send(rtvi.build(rtvi.ClientReady(id="1", library="callquake")))
            self._pinger = asyncio.get_running_loop().create_task(self._ping(channel))

        @channel.on("message")
        def on_message(text: str | bytes) -> None:
            try:
                message = rtvi.parse(text)
            except RemoteProtocolError as error:
                _logger.warning("call %s: %s", self._plan.call_id, error)
                return
            if isinstance(message, rtvi.PeerLeft):
                self._post(Disconnected("the agent left (peerLeft)"))
            for event in self._side.events(message):
                self._post(event)

        @channel.on("close")
        def on_close() -> None:
            if not self._closing:
                self._post(Disconnected("the agent closed the data channel"))

    @staticmethod
    async def _ping(channel: RTCDataChannel) -> None:
        while channel.readyState == "open":
            channel.send(rtvi.build(rtvi.Ping(int(time.time() * 1000))))
            await asyncio.sleep(rtvi.PING_INTERVAL_S)

    # --- end -------------------------------------------------------------------------------------------------------

    def media_stats(self) -> MediaStats:
        """Return the call's RTP counts so far."""
        stream = self.stream
        if stream is None:
            return MediaStats()
        return MediaStats(
            packets_sent=stream.packets_sent,
            packets_received=stream.packets_received,
            packets_lost=stream.reception.lost,
            packets_discarded=stream.reception.discarded + stream.bad_packets,
            jitter_ms=stream.reception.jitter_ms,
            round_trip_ms=stream.round_trip_ms,
            send_errors=stream.send_errors,
            socket_drops=stream.socket_drops,
        )

    async def close(self) -> None:
        """Hang up and release everything; safe to call at any point of the call."""
        self._closing = True
        if self._pinger is not None:
            self._pinger.cancel()
            await asyncio.gather(self._pinger, return_exceptions=True)
        if self.stream is not None:
            gone = self._media_loop.remove(self.stream)
            await asyncio.get_running_loop().run_in_executor(None, gone.wait, 1.0)
        if self._pc is not None:
            await self._pc.close()


def _post_threadsafe(loop: asyncio.AbstractEventLoop, post: Callable[[CallEvent], None], event: CallEvent) -> None:
    """Cross from the media loop's thread; a loop that is already closed has no use for the event."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(post, event)
