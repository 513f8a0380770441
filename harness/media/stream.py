"""One call's media: what goes out on each 20 ms tick and what a received packet means. No socket, no clock, no thread.

Owned by the media loop: `tick` and `receive_...` run there. `play` and `stop_playing` may be called from elsewhere;
they cross by a deque, which is atomic in CPython.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from harness.media.clips import Clip
from harness.media.events import MediaEvent, MediaFailed, MediaLost, RemoteBye, SpeechEnded, SpeechStarted
from harness.media.onset import OnsetDetector, window_levels_dbfs
from harness.media.opus import MOST_SILENCE_BYTES, PACKET_SAMPLES, RATE, SILENCE_PAYLOAD, Decoder
from harness.media.recorder import Recorder
from harness.model.errors import RemoteProtocolError
from harness.protocols import rtcp, rtp

TICK_NS = 20_000_000
RTCP_INTERVAL_NS = 1_000_000_000


class SecureLink(Protocol):
    """SRTP and the socket, as a stream sees them."""

    def send_rtp(self, packet: bytes) -> int:
        """Protect and send; return the monotonic ns just after the kernel took it. Raises OSError."""

    def send_rtcp(self, packet: bytes) -> None:
        """Protect and send. Raises OSError."""

    def unprotect_rtp(self, packet: bytes) -> bytes | None:
        """Return the plain packet, None when it fails authentication."""

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        """Return the plain packet, None when it fails authentication."""


class MediaStream:
    """A call's outgoing and incoming audio. Events go to `post`, on the media loop's thread."""

    def __init__(
        self,
        *,
        link: SecureLink,
        ssrc: int,
        payload_type: int,
        first_sequence: int,
        first_timestamp: int,
        cname: str,
        quiet_ms: float,
        media_timeout_ms: float,
        post: Callable[[MediaEvent], None],
        recorder: Recorder | None = None,
    ) -> None:
        self._link = link
        self._ssrc = ssrc
        self._payload_type = payload_type
        self._sequence = first_sequence
        self._timestamp = first_timestamp
        self._cname = cname
        self._media_timeout_ns = int(media_timeout_ms * 1e6)
        self._post = post
        self._recorder = recorder
        self._commands: deque[Clip | None] = deque()
        self._clip: Clip | None = None
        self._position = 0
        self._decoder = Decoder()
        self._onset = OnsetDetector(quiet_ms)
        self._last_heard_ns: int | None = None
        self._last_agent: tuple[int, int] | None = None
        self._lost_posted = False
        self._next_rtcp_ns = 0
        self._octets = 0
        self._last_remote_sr: tuple[int, int] | None = None
        self.reception = rtp.ReceptionStats(RATE)
        self.packets_sent = 0
        self.packets_received = 0
        self.send_errors = 0
        self.socket_drops = 0
        self.bad_packets = 0
        self.round_trip_ms: float | None = None

    def play(self, clip: Clip) -> None:
        """Speak `clip` from the next tick on, in place of what is being spoken."""
        self._commands.append(clip)

    def stop_playing(self) -> None:
        """Fall silent at the next tick."""
        self._commands.append(None)

    def tick(self, now_ns: int, unix_ns: int) -> None:
        """Send this tick's packet; `unix_ns` is the wall clock, for RTCP."""
        while self._commands:
            self._clip, self._position = self._commands.popleft(), 0
        clip, position = self._clip, self._position
        payload = SILENCE_PAYLOAD if clip is None else clip.payloads[position]
        marker = clip is not None and position == 0
        packet = rtp.pack_header(self._payload_type, marker, self._sequence, self._timestamp, self._ssrc) + payload
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + PACKET_SAMPLES) & 0xFFFFFFFF
        sent_at_ns = self._send(packet, len(payload), now_ns)
        if clip is not None:
            self._clip_advanced(clip, position, sent_at_ns)
        self._watch(now_ns)
        if now_ns >= self._next_rtcp_ns:
            self._next_rtcp_ns = now_ns + RTCP_INTERVAL_NS
            self._send_report(now_ns, unix_ns)

    def _send(self, packet: bytes, octets: int, now_ns: int) -> int:
        try:
            sent_at_ns = self._link.send_rtp(packet)
        except OSError:
            self.send_errors += 1
            return now_ns
        self.packets_sent += 1
        self._octets += octets
        return sent_at_ns

    def _clip_advanced(self, clip: Clip, position: int, sent_at_ns: int) -> None:
        if position == 0 and self._recorder is not None:
            self._recorder.clip_started(clip, sent_at_ns)
        if position == clip.first_voiced_packet:
            self._post(SpeechStarted(clip.utterance_id, sent_at_ns))
        if position == clip.last_voiced_packet:
            self._post(SpeechEnded(clip.utterance_id, sent_at_ns))
        self._position = position + 1
        if self._position >= len(clip.payloads):
            self._clip = None

    def _watch(self, now_ns: int) -> None:
        stopped = self._onset.poll(now_ns)
        if stopped is not None:
            self._post(stopped)
        if self._last_heard_ns is None:
            self._last_heard_ns = now_ns
        if not self._lost_posted and now_ns - self._last_heard_ns > self._media_timeout_ns:
            self._lost_posted = True
            self._post(MediaLost(self._last_heard_ns))

    def _send_report(self, now_ns: int, unix_ns: int) -> None:
        blocks = []
        stats = self.reception
        if stats.ssrc is not None:
            last_sr, delay = 0, 0
            if self._last_remote_sr is not None:
                last_sr = self._last_remote_sr[0]
                delay = (now_ns - self._last_remote_sr[1]) * 65536 // 1_000_000_000
            blocks.append(
                rtcp.ReportBlock(
                    stats.ssrc, stats.fraction_lost(), stats.lost, stats.highest, int(stats.jitter), last_sr, delay
                )
            )
        report = rtcp.pack_sender_report(
            self._ssrc, unix_ns, self._timestamp, self.packets_sent, self._octets, blocks, self._cname
        )
        try:
            self._link.send_rtcp(report)
        except OSError:
            self.send_errors += 1

    def heard(self, arrived_at_ns: int, drops: int | None) -> None:
        """Take note of any datagram from the agent, media or not, and of the socket's own drop count."""
        self._last_heard_ns = arrived_at_ns
        if drops is not None:
            self.socket_drops = drops

    def receive_rtp(self, data: bytes, arrived_at_ns: int) -> None:
        """Take one SRTP packet; a malformed or forged one is counted and changes nothing."""
        plain = self._link.unprotect_rtp(data)
        if plain is None:
            self.bad_packets += 1
            return
        try:
            header = rtp.parse_header(plain)
        except RemoteProtocolError:
            self.bad_packets += 1
            return
        if header.payload_type != self._payload_type:
            return
        extended = self.reception.add(header, arrived_at_ns)
        if extended is None:
            return
        self.packets_received += 1
        self._listen(plain[header.payload_start : header.payload_end], header.timestamp, extended, arrived_at_ns)

    def _listen(self, payload: bytes, timestamp: int, extended: int, arrived_at_ns: int) -> None:
        last = self._last_agent
        if last is not None and extended < last[0]:
            # Out of order: its audio belongs behind what the detector has already heard.
            return
        if last is not None and extended == last[0] + 1:
            gap = rtp.timestamp_delta(timestamp, last[1]) - PACKET_SAMPLES
            if gap > PACKET_SAMPLES:
                self._onset.silence(gap * 1000 / RATE)
        is_after_loss = last is not None and extended > last[0] + 1
        self._last_agent = (extended, timestamp)
        samples = self._decoder.decode(payload)
        if self._recorder is not None:
            self._recorder.agent_payload(payload, timestamp, arrived_at_ns)
        is_doubtful = is_after_loss and len(payload) > MOST_SILENCE_BYTES
        onset = self._onset.add(window_levels_dbfs(samples, RATE), arrived_at_ns, is_doubtful=is_doubtful)
        if onset is not None:
            self._post(onset)

    def receive_rtcp(self, data: bytes, now_ns: int, unix_ns: int) -> None:
        """Take one SRTCP packet; a malformed or forged one is counted and changes nothing."""
        plain = self._link.unprotect_rtcp(data)
        if plain is None:
            self.bad_packets += 1
            return
        try:
            packets = rtcp.parse(plain)
        except RemoteProtocolError:
            self.bad_packets += 1
            return
        for packet in packets:
            if isinstance(packet, rtcp.Bye):
                self._post(RemoteBye(now_ns))
                continue
            if packet.ntp_middle is not None:
                self._last_remote_sr = (packet.ntp_middle, now_ns)
            for block in packet.blocks:
                if block.ssrc == self._ssrc:
                    self.round_trip_ms = rtcp.round_trip_ms(block, unix_ns) or self.round_trip_ms

    def failed(self, error: Exception) -> None:
        """Take note that the loop has let go of this stream because `error` was raised in it."""
        self._post(MediaFailed(f"the media loop dropped this call: {error!r}"))

    def goodbye(self) -> None:
        """Send RTCP BYE; the last thing a stream does."""
        try:
            self._link.send_rtcp(rtcp.pack_bye(self._ssrc))
        except OSError:
            self.send_errors += 1
