"""One call's RTP line: the caller's packets to its agent, the agent's speech to the caller, a packet every 20 ms.

    socket ─► SRTP ─► whose? ─┬─ audio ──► CallerAudio ─► AgentCall.hear
                              ├─ telephone event ─► on_digit
                              └─ RTCP: round trip's half, BYE
    Ticker ─► playout (or ring-back) ─► SpeechEncoder ─► SRTP ─► socket ─► AgentCall.announce

`agree` tells what SDP settled on, and again after each re-INVITE. Packets are answered to where they come from once one
that fits has come (callers behind NAT), until SDP names another address. Who had the port before may go on sending for
seconds, so the address that SDP names is heard whatever came first, and one that it does not name keeps the line no
longer than it sends.
"""

import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from pylibsrtp import Error as SrtpError
from pylibsrtp import Session

from harness.media.codecs import Codec, codec_named
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.protocols import sdes
from harness.protocols.offer_answer import Agreed
from target_stack.edge.agent_call import AgentCall
from target_stack.edge.caller_audio import CallerAudio
from target_stack.edge.playout import Frame
from target_stack.edge.ringback import Ringback
from target_stack.edge.rtp import packet as rtp
from target_stack.edge.rtp import rtcp
from target_stack.edge.rtp.digits import Digit, DigitEar
from target_stack.edge.rtp.outgoing import OutgoingRtp, is_report_due
from target_stack.edge.rtp.ports import ANY, open_pair
from target_stack.edge.rtp.sockets import Address, UdpSocket
from target_stack.edge.rtp.ticker import Ticker
from target_stack.edge.speech_encoder import SpeechEncoder

_CNAME = "agent"
_BUFFER_BYTES = 1 << 18
_COMFORT_NOISE = 13
# An address that SDP did not name gives way to another one when it has been silent for so long.
_SILENT_NS = 1_000_000_000


@dataclass
class LineCounts:
    """Packets of one line, or of all that have ended."""

    sent: int = 0
    heard: int = 0
    lost: int = 0
    late: int = 0
    # Not RTP, of no agreed payload type, or from somewhere else.
    strays: int = 0
    srtp_failures: int = 0

    def add(self, other: "LineCounts") -> None:
        """Add another line's."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def _ignored(_digit: Digit) -> None:
    """Take a digit of a line that is closed."""


class RtpLine:
    """`open`, `agree`, then `speak`; `close` at the end. All on the event loop."""

    def __init__(self, call: AgentCall, ticker: Ticker, on_digit: Callable[[Digit], None]) -> None:
        self.ssrc = secrets.randbits(32)
        self._stream = OutgoingRtp(self.ssrc)
        self.counts = LineCounts()
        self.is_ringing = False
        self._call = call
        self._ticker = ticker
        self._on_digit = on_digit
        self._sockets: list[UdpSocket] = []
        self._agreed: Agreed | None = None
        self._remote: Address = ("", 0)
        self._rtcp_remote: Address | None = None
        # Where audio comes from now, and where it came from before SDP moved it.
        self._source: Address | None = None
        self._left: Address | None = None
        self._heard_at_ns = 0
        self._incoming: tuple[sdes.Crypto, Session] | None = None
        self._outgoing: tuple[sdes.Crypto, Session] | None = None
        self._codec: Codec | None = None
        self._encoder: SpeechEncoder | None = None
        self._audio: CallerAudio | None = None
        self._digits: DigitEar | None = None
        self._reception: rtcp.Reception | None = None
        self._ringback = Ringback()

    async def open(self, host: str, ports: tuple[int, int] = ANY) -> Address:
        """Bind RTP and RTCP on `host`; return RTP's address. OSError when no ports are free."""
        for sock, take in zip(open_pair(host, ports), (self._arrived, self._rtcp_arrived), strict=True):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self._sockets.append(UdpSocket(sock, take))
        return self._sockets[0].address

    def agree(self, agreed: Agreed, remote: Address) -> None:
        """Take what SDP settled on; `remote` is its address, numeric. Streams go on where nothing changed for them."""
        before, self._agreed = self._agreed, agreed
        if before is None or remote != self._remote:
            self._left, self._source = self._source, None
            self._remote = remote
        self._rtcp_remote = None if agreed.rtcp_mux else (agreed.rtcp or (remote[0], remote[1] + 1))
        self._outgoing = _keyed(self._outgoing, agreed.outgoing, outgoing_session)
        self._incoming = _keyed(self._incoming, agreed.incoming, incoming_session)
        codec = codec_named(agreed.form.name)
        if codec is not self._codec:
            self._note_losses()
            self._codec = codec
            self._encoder, self._audio = SpeechEncoder(codec), CallerAudio(codec)
            self._reception = None
            self._digits = DigitEar(codec.clock_rate)
        self._call.expects_media = agreed.hears

    def speak(self) -> None:
        """Send a packet every 20 ms from now on: what the session says, else silence."""
        self._ticker.add(self._tick)

    async def close(self) -> LineCounts:
        """Say goodbye by RTCP, release the ports; return the counts."""
        self._ticker.remove(self._tick)
        if self._sockets and self._agreed is not None and self.counts.sent:
            self._send_rtcp(rtcp.goodbye)
        for one in self._sockets:
            one.close()
        self._sockets.clear()
        if self._encoder is not None:
            self._encoder.close()
        self._note_losses()
        # Who hears them holds us.
        self._on_digit = _ignored
        return self.counts

    # --- out -------------------------------------------------------------------------------------------------------

    def _tick(self, number: int) -> None:
        agreed = self._agreed
        elapsed = self._stream.elapsed(number)
        if agreed is None or self._codec is None or self._encoder is None or not self._sockets:
            return
        if agreed.sends:
            frame = Frame(self._ringback.next_frame()) if self.is_ringing else self._call.playout.next_frame()
            self._send(self._encoder.encode(frame.samples), frame, elapsed * self._codec.ticks_per_packet)
        if is_report_due(elapsed):
            self._send_rtcp(rtcp.report)

    def _send(self, payload: bytes, frame: Frame, offset: int) -> None:
        assert self._agreed is not None
        data = self._stream.packet(self._agreed.form.payload_type, frame, payload, offset)
        if self._outgoing is not None:
            data = self._outgoing[1].protect(data)
        self._sockets[0].send(data, self._source or self._remote)
        self.counts.sent += 1
        if frame.started is not None or frame.drained:
            # The datagram is with the kernel: sendto writes at once unless its buffer is full.
            self._call.announce(frame, time.monotonic_ns())

    def _send_rtcp(self, compound: Callable[..., bytes]) -> None:
        data = compound(self._stream.sent(), self._reception, _CNAME, time.time(), time.monotonic_ns())
        if self._outgoing is not None:
            data = self._outgoing[1].protect_rtcp(data)
        if self._rtcp_remote is None:
            self._sockets[0].send(data, self._source or self._remote)
        else:
            self._sockets[1].send(data, self._rtcp_remote)

    # --- in --------------------------------------------------------------------------------------------------------

    def _arrived(self, data: bytes, source: Address) -> None:
        at_ns = time.monotonic_ns()
        if rtp.is_rtcp(data):
            self._rtcp_arrived(data, source)
            return
        packet = self._opened(data, source, at_ns)
        if packet is not None:
            self._take(packet, source, at_ns)

    def _may_be_the_caller(self, source: Address, at_ns: int) -> bool:
        if source == self._left:
            return False
        if self._source is None or source in (self._source, self._remote):
            return True
        return self._source != self._remote and at_ns - self._heard_at_ns > _SILENT_NS

    def _opened(self, data: bytes, source: Address, at_ns: int) -> rtp.Packet | None:
        """Return the packet inside, None for a stray."""
        agreed = self._agreed
        if agreed is None or not self._may_be_the_caller(source, at_ns):
            self.counts.strays += 1
            return None
        if self._incoming is not None:
            try:
                data = self._incoming[1].unprotect(data)
            except SrtpError:
                self.counts.srtp_failures += 1
                return None
        packet = rtp.parse(data)
        if packet is None or packet.payload_type not in (agreed.heard_payload_type, agreed.events_in, _COMFORT_NOISE):
            self.counts.strays += 1
            return None
        return packet

    def _take(self, packet: rtp.Packet, source: Address, at_ns: int) -> None:
        assert self._agreed is not None
        assert self._codec is not None
        self._source, self._heard_at_ns = source, at_ns
        self._call.note_media(at_ns)
        self.counts.heard += 1
        if self._reception is None or self._reception.ssrc != packet.ssrc:
            self._note_losses()
            self._reception = rtcp.Reception(packet.ssrc, self._codec.clock_rate)
            self._audio = CallerAudio(self._codec)
        self._reception.take(packet.sequence, packet.timestamp, at_ns)
        is_audio = packet.payload_type == self._agreed.heard_payload_type
        if packet.payload_type == self._agreed.events_in and self._digits is not None:
            digit = self._digits.take(packet.timestamp, packet.payload)
            if digit is not None:
                self._on_digit(digit)
        if self._audio is not None and self._call.listening is not None:
            payload = packet.payload if is_audio else b""
            self._call.hear(self._audio.take(packet.sequence, packet.timestamp, payload), at_ns)

    def _rtcp_arrived(self, data: bytes, _source: Address) -> None:
        if self._incoming is not None:
            try:
                data = self._incoming[1].unprotect_rtcp(data)
            except SrtpError:
                self.counts.srtp_failures += 1
                return
        told = rtcp.parse(data)
        if told is not None and self._reception is not None:
            self._reception.note_report(told, time.monotonic_ns())

    def _note_losses(self) -> None:
        """Count what an incoming stream that is over has lost."""
        if self._audio is not None:
            self.counts.lost += self._audio.lost
            self.counts.late += self._audio.late
            self._audio = None


def _keyed(
    now: tuple[sdes.Crypto, Session] | None, crypto: sdes.Crypto | None, new: Callable[[sdes.Crypto], Session]
) -> tuple[sdes.Crypto, Session] | None:
    """Return the session of `crypto`: the one there is where the key has not changed, for its counters go on."""
    if crypto is None:
        return None
    return now if now is not None and now[0] == crypto else (crypto, new(crypto))
