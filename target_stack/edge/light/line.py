"""One WebRTC call's RTP: the caller's packets to its agent, the agent's speech to the caller, a packet every 20 ms.

port ─► SRTP ─► audio ─► CallerAudio ─► AgentCall.hear          Ticker ─► playout ─► SpeechEncoder ─► SRTP ─► port
"""

import time
from collections.abc import Callable

from pylibsrtp import Error as SrtpError

from harness.media.codecs import Codec
from harness.media.peer.dtls import SrtpKeys
from target_stack.edge.agent_call import AgentCall
from target_stack.edge.caller_audio import CallerAudio
from target_stack.edge.rtp import packet as rtp
from target_stack.edge.rtp import rtcp
from target_stack.edge.rtp.line import LineCounts
from target_stack.edge.rtp.outgoing import OutgoingRtp, is_report_due
from target_stack.edge.rtp.ticker import Ticker
from target_stack.edge.speech_encoder import SpeechEncoder

CNAME = "agent"


class WebRtcLine:
    """`begin` once there are keys, `arrived` for what comes, `close` at the end; all on the event loop."""

    def __init__(self, call: AgentCall, ticker: Ticker, codec: Codec, payload_type: int, ssrc: int) -> None:
        self.counts = LineCounts()
        self._call = call
        self._ticker = ticker
        self._codec = codec
        self._payload_type = payload_type
        self._stream = OutgoingRtp(ssrc)
        self._keys: SrtpKeys | None = None
        self._send: Callable[[bytes], None] = _nowhere
        self._encoder = SpeechEncoder(codec)
        self._audio = CallerAudio(codec)
        self._reception: rtcp.Reception | None = None

    def begin(self, keys: SrtpKeys, send: Callable[[bytes], None]) -> None:
        """Send a packet every 20 ms from now on, by `send`."""
        self._keys, self._send = keys, send
        self._ticker.add(self._tick)

    def close(self) -> LineCounts:
        """Say goodbye by RTCP and fall silent; return the counts."""
        self._ticker.remove(self._tick)
        if self.counts.sent:
            self._send_rtcp(rtcp.goodbye)
        self._keys, self._send = None, _nowhere
        self._encoder.close()
        self._begin_audio()
        return self.counts

    # --- out ---

    def _tick(self, number: int) -> None:
        if self._keys is None:
            return
        elapsed = self._stream.elapsed(number)
        frame = self._call.playout.next_frame()
        payload = self._encoder.encode(frame.samples)
        data = self._stream.packet(self._payload_type, frame, payload, elapsed * self._codec.ticks_per_packet)
        self._send(self._keys.outgoing.protect(data))
        self.counts.sent += 1
        if frame.started is not None or frame.drained:
            self._call.announce(frame, time.monotonic_ns())
        if is_report_due(elapsed):
            self._send_rtcp(rtcp.report)

    def _send_rtcp(self, compound: Callable[..., bytes]) -> None:
        if self._keys is None:
            return
        data = compound(self._stream.sent(), self._reception, CNAME, time.time(), time.monotonic_ns())
        self._send(self._keys.outgoing.protect_rtcp(data))

    # --- in ---

    def arrived(self, data: bytes, at_ns: int) -> bool:
        """Take a datagram from the caller's address, read at `at_ns`; tell whether its keys opened it."""
        if self._keys is None:
            return False
        try:
            if rtp.is_rtcp(data):
                self._hear_report(rtcp.parse(self._keys.incoming.unprotect_rtcp(data)))
                return True
            packet = rtp.parse(self._keys.incoming.unprotect(data))
        except SrtpError:
            self.counts.srtp_failures += 1
            return False
        if packet is None or packet.payload_type != self._payload_type:
            self.counts.strays += 1
            return True
        self._take(packet, at_ns)
        return True

    def _take(self, packet: rtp.Packet, at_ns: int) -> None:
        self._call.note_media(at_ns)
        self.counts.heard += 1
        if self._reception is None or self._reception.ssrc != packet.ssrc:
            self._reception = rtcp.Reception(packet.ssrc, self._codec.clock_rate)
            self._begin_audio()
        self._reception.take(packet.sequence, packet.timestamp, at_ns)
        if self._call.listening is not None:
            self._call.hear(self._audio.take(packet.sequence, packet.timestamp, packet.payload), at_ns)

    def _begin_audio(self) -> None:
        """Listen anew, once what the stream before has lost is counted: neither its numbers nor its decoder go on."""
        self.counts.lost += self._audio.lost
        self.counts.late += self._audio.late
        self._audio = CallerAudio(self._codec)

    def _hear_report(self, told: rtcp.Told | None) -> None:
        if told is not None and self._reception is not None:
            self._reception.note_report(told, time.monotonic_ns())


def _nowhere(_data: bytes) -> None:
    """Be where packets go before there are keys, and after the call."""
