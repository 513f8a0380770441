"""One WebRTC call: answers the offer, hears the caller, speaks for the session. The only file here with aiortc in it.

What a call is behind its transport, from `connected` to `hang_up`, is in agent_call.py.
"""

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket
from aiortc.sdp import MediaDescription, SessionDescription, candidate_from_sdp

from harness.media.peer.seam import use_host_addresses
from harness.model.errors import RemoteProtocolError
from harness.protocols.small_webrtc import Candidate
from target_stack.edge.agent_call import AgentCall, CallLimits, EndReason
from target_stack.edge.caller_audio import CallerAudio
from target_stack.edge.playout import FRAME_MS, Playout
from target_stack.edge.rtvi_channel import RtviChannel
from target_stack.edge.speech_encoder import SpeechEncoder
from target_stack.frames import CallFacts, SessionFactory

_log = logging.getLogger(__name__)

_OPUS_RATE = 48_000
_OPUS_TIME_BASE = Fraction(1, _OPUS_RATE)
_FRAME_NS = FRAME_MS * 1_000_000
# After a stall longer than this the stream's clock jumps instead of bursting the missed packets.
_MAX_LATENESS_NS = 200 * 1_000_000
_MAX_MEDIA_SECTIONS = 8


class SpeechTrack(MediaStreamTrack):
    """The agent's voice: a packet every 20 ms on an absolute schedule, silence when nothing is queued.

    `on_started(turn, at_ns)` and `on_drained(turn, at_ns)` are called right after the packet went to the network.
    """

    kind = "audio"

    def __init__(
        self, playout: Playout, on_started: Callable[[int, int], None], on_drained: Callable[[int, int], None]
    ) -> None:
        super().__init__()
        self._playout = playout
        self._on_started = on_started
        self._on_drained = on_drained
        self._encoder = SpeechEncoder()
        self._started_at_ns: int | None = None
        self._sent = 0

    async def recv(self) -> "av.Packet[Any]":
        """Return the next packet when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        await self._until_due()
        frame = self._playout.next_frame()
        packet = av.Packet(self._encoder.encode(frame.samples))
        packet.pts = self._sent * _OPUS_RATE * FRAME_MS // 1000
        packet.time_base = _OPUS_TIME_BASE
        self._sent += 1
        if frame.started is not None or frame.drained:
            self._announce(frame.started, frame.drained)
        return packet

    async def _until_due(self) -> None:
        now_ns = time.monotonic_ns()
        if self._started_at_ns is None:
            self._started_at_ns = now_ns
        late_ns = now_ns - (self._started_at_ns + self._sent * _FRAME_NS)
        if late_ns > _MAX_LATENESS_NS:
            # The timestamp jumps with the clock, so the peer sees a pause and no drift.
            self._sent += late_ns // _FRAME_NS
        elif late_ns < 0:
            await asyncio.sleep(-late_ns / 1e9)

    def _announce(self, started: int | None, drained: tuple[int, ...]) -> None:
        # aiortc sends the returned packet in this same step of the loop, so call_soon comes right after it.
        loop, at_ns = asyncio.get_running_loop(), time.monotonic_ns()
        if started is not None:
            loop.call_soon(self._on_started, started, at_ns)
        for turn in drained:
            loop.call_soon(self._on_drained, turn, at_ns)


class WebRtcCall:
    """One call. `answer` once, then `run` until the call is over."""

    def __init__(
        self,
        call_id: str,
        pc_id: str,
        sessions: SessionFactory,
        limits: CallLimits,
        channel: type[RtviChannel] = RtviChannel,
        facts: CallFacts = CallFacts(),  # noqa: B008 -- frozen
    ) -> None:
        self.call_id = call_id
        self.pc_id = pc_id
        self._call = AgentCall(call_id, sessions, limits, channel, facts)
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._is_on_loopback = False
        self._caller_audio = CallerAudio()
        self._opus_payload_type: int | None = None

    async def answer(self, sdp: str, local_host: str) -> str:
        """Return the answer to an offer that came in on our address `local_host`; RemoteProtocolError when it is bad.

        On a loopback address ICE stays on loopback, else it uses every other address of this host.
        """
        _check_offer(sdp)
        self._is_on_loopback = ipaddress.ip_address(local_host.partition("%")[0]).is_loopback
        self._pc.on("connectionstatechange", self._connection_changed)
        self._pc.on("datachannel", self._channel_opened)
        voice = self._pc.addTransceiver(
            SpeechTrack(self._call.playout, self._call.playout_started, self._call.playout_drained)
        )
        voice.setCodecPreferences([c for c in RTCRtpSender.getCapabilities("audio").codecs if "opus" in c.mimeType])
        try:
            await self._describe(sdp, voice, local_host)
        # Whatever aiortc trips over in here came with the offer.
        except Exception as error:
            await self._close_connection()
            raise RemoteProtocolError(f"offer.sdp cannot be answered: {type(error).__name__}: {error}") from error
        except BaseException:
            await self._close_connection()
            raise
        return str(self._pc.localDescription.sdp)

    async def _describe(self, sdp: str, voice: RTCRtpTransceiver, local_host: str) -> None:
        if self._is_on_loopback:
            sdp = _without_mdns(sdp)
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        for transceiver in self._pc.getTransceivers():
            # A video or second audio section is refused: nothing here would drain it.
            if transceiver is not voice:
                transceiver.direction = "inactive"
        answer = await self._pc.createAnswer()
        opus = re.search(r"^a=rtpmap:(\d+) opus/48000", answer.sdp, re.MULTILINE)
        self._opus_payload_type = int(opus[1]) if opus else None
        _tap(voice.receiver, self._packet_arrived)
        use_host_addresses([local_host] if self._is_on_loopback else None)
        await self._pc.setLocalDescription(answer)

    async def add_candidate(self, candidate: Candidate) -> None:
        """Take a late candidate; RemoteProtocolError when it cannot be read."""
        if not candidate.candidate:
            await self._pc.addIceCandidate(None)
            return
        if self._is_on_loopback and ".local" in candidate.candidate:
            return
        try:
            parsed = candidate_from_sdp(candidate.candidate.removeprefix("candidate:"))
            parsed.sdpMid, parsed.sdpMLineIndex = candidate.sdp_mid, candidate.sdp_mline_index
            await self._pc.addIceCandidate(parsed)
        except (AssertionError, ValueError, IndexError) as error:
            raise RemoteProtocolError(f"body.candidates: {candidate.candidate[:100]!r} is no candidate") from error

    def hang_up(self, reason: EndReason = EndReason.HUNG_UP) -> None:
        """End the call; `run` returns when everything is released."""
        self._call.hang_up(reason)

    async def run(self) -> EndReason:
        """Serve the call to its end and release everything; return why it ended."""
        return await self._call.run(lambda _reason: self._close_connection())

    async def _close_connection(self) -> None:
        try:
            await self._pc.close()
        except Exception:  # noqa: BLE001 -- aiortc cannot close what it could only half set up
            _log.warning("call %s: aiortc did not close cleanly", self.call_id, exc_info=True)

    # What aiortc calls.

    def _connection_changed(self) -> None:
        if self._pc.connectionState == "connected":
            self._call.connected()
        elif self._pc.connectionState in {"failed", "closed"}:
            self.hang_up(EndReason.PEER_LEFT)

    def _packet_arrived(self, packet: RtpPacket) -> None:
        at_ns = time.monotonic_ns()
        self._call.note_media(at_ns)
        if self._call.listening is None or packet.payload_type != self._opus_payload_type:
            return
        self._call.hear(self._caller_audio.take(packet.sequence_number, packet.timestamp, packet.payload), at_ns)

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        channel.on("message", self._call.channel.receive)
        self._call.channel.attach(channel)


def _tap(receiver: RTCRtpReceiver, on_packet: Callable[[RtpPacket], None]) -> None:
    """Hear each RTP packet as it arrives, before aiortc's jitter buffer; its RTCP reports go on.

    aiortc has no public place for this. Its decoder thread is stopped with the first packet: nobody reads its track.
    """
    counted = receiver._handle_rtp_packet  # noqa: SLF001 -- see above; the tests fail when the name moves

    async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
        receiver._RTCRtpReceiver__stop_decoder()  # type: ignore[attr-defined]  # noqa: SLF001 -- see above
        try:
            on_packet(packet)
        except Exception:  # noqa: BLE001 -- an error here would end aiortc's whole transport
            _log.exception("a packet could not be heard")
        await counted(packet, arrival_time_ms=arrival_time_ms)

    receiver._handle_rtp_packet = handle  # type: ignore[method-assign]  # noqa: SLF001 -- see above


def _check_offer(sdp: str) -> None:
    """Raise RemoteProtocolError naming what keeps us from answering."""
    try:
        description = SessionDescription.parse(sdp)
    # The parser has no error of its own: anything from AssertionError to KeyError may come out of bad text.
    except Exception as error:
        raise RemoteProtocolError(f"offer.sdp cannot be read: {type(error).__name__}: {error}") from error
    media = description.media
    if len(media) > _MAX_MEDIA_SECTIONS:
        raise RemoteProtocolError(f"offer.sdp has {len(media)} media sections, more than {_MAX_MEDIA_SECTIONS}")
    mids = [m.rtp.muxId for m in media]
    bundled = [mid for group in description.group if group.semantic == "BUNDLE" for mid in group.items]
    if len(set(mids)) < len(mids) or not set(bundled) <= set(mids):
        raise RemoteProtocolError("offer.sdp: each media section needs its own a=mid, and BUNDLE may name only those")
    _check_audio(next((m for m in media if m.kind == "audio"), None))


def _check_audio(audio: MediaDescription | None) -> None:
    if audio is None or audio.port == 0:
        raise RemoteProtocolError("offer.sdp has no audio: an agent needs an m=audio section with a port")
    if audio.direction != "sendrecv":
        raise RemoteProtocolError(f"offer.sdp: audio is {audio.direction}, it must be sendrecv")
    if not any(c.mimeType.lower() == "audio/opus" for c in audio.rtp.codecs):
        raise RemoteProtocolError("offer.sdp: audio offers no Opus (a=rtpmap:<payload type> opus/48000/2)")
    if audio.dtls is None or not audio.dtls.fingerprints:
        raise RemoteProtocolError("offer.sdp: audio has no a=fingerprint: only DTLS-SRTP is taken")
    if audio.ice is None or not audio.ice.usernameFragment or not audio.ice.password:
        raise RemoteProtocolError("offer.sdp: audio has no a=ice-ufrag or a=ice-pwd")


def _without_mdns(sdp: str) -> str:
    """Leave out candidates named <uuid>.local: resolving them would multicast, and on loopback no one answers."""
    return "\r\n".join(x for x in sdp.splitlines() if not (x.startswith("a=candidate:") and ".local " in x)) + "\r\n"
