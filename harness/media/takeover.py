"""The one place that reaches into aiortc and aioice: take a connected call's audio away from them.

aiortc sets a call up (SDP, ICE, DTLS, data channel); then its RTP sender, receiver, decoder thread and RTCP timers
are stopped and its socket is read by the media loop, because its receive path would falsify TTFB (a jitter buffer adds
80 ms, and 280 ms more after one lost packet). STUN and DTLS are fed back, so consent checks and the data channel go on.

Every name below that starts with an underscore is private there. The version guard refuses any minor version that this
file was not proven with; tests/harness/media/test_takeover.py fails loudly when a name moves.
"""

import asyncio
import contextvars
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import aioice.ice
from aiortc import RTCPeerConnection
from pylibsrtp import Error as SrtpError
from pylibsrtp import Session

from harness.media import kernel_time
from harness.model.errors import GeneratorError, TargetError

_SENDER_START_S = 1.0
PROVEN = {"aiortc": "1.16", "aioice": "0.13"}

_original_host_addresses = aioice.ice.get_host_addresses
_host_addresses: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("host_addresses", default=None)


def _get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    chosen = _host_addresses.get()
    if chosen is None:
        return list(_original_host_addresses(use_ipv4, use_ipv6))
    return [a for a in chosen if (":" in a and use_ipv6) or (":" not in a and use_ipv4)]


def guard_versions() -> None:
    """Refuse to run on versions of aiortc and aioice whose insides this file does not know."""
    for package, proven in PROVEN.items():
        found = version(package)
        if found.split(".")[:2] != proven.split("."):
            raise GeneratorError(
                f"{package} {found} is installed, but callers are proven with {proven}.x only: "
                f"pip install '{package}=={proven}.*'"
            )


def use_host_addresses(addresses: list[str] | None) -> None:
    """Gather ICE host candidates on these addresses only, for calls begun in this context; None = aioice's choice.

    aioice leaves loopback addresses out, so a call to 127.0.0.1 needs this.
    """
    aioice.ice.get_host_addresses = _get_host_addresses
    _host_addresses.set(addresses)


class SrtpLink:
    """SRTP sessions and the connected pair's socket: what a MediaStream sends and unprotects with."""

    def __init__(self, sock: socket.socket, remote: tuple[Any, ...], outgoing: Session, incoming: Session) -> None:
        self._sock = sock
        self._remote = remote
        self._outgoing = outgoing
        self._incoming = incoming

    def send_rtp(self, packet: bytes) -> int:
        """Protect and send; return the monotonic ns just after the kernel took it."""
        self._sock.sendto(self._outgoing.protect(packet), self._remote)
        return time.monotonic_ns()

    def send_rtcp(self, packet: bytes) -> None:
        """Protect and send."""
        self._sock.sendto(self._outgoing.protect_rtcp(packet), self._remote)

    def unprotect_rtp(self, packet: bytes) -> bytes | None:
        """Return the plain packet, None when it fails authentication."""
        try:
            return bytes(self._incoming.unprotect(packet))
        except (SrtpError, ValueError):
            return None

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        """Return the plain packet, None when it fails authentication."""
        try:
            return bytes(self._incoming.unprotect_rtcp(packet))
        except (SrtpError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class TakenMedia:
    """A call's audio path, ready for the media loop."""

    link: SrtpLink
    # A duplicate of the pair's socket: aiortc may close its own at any time.
    sock: socket.socket
    ssrc: int
    payload_type: int
    # Thread-safe: hands STUN and DTLS datagrams back to aioice.
    feed_back: Callable[[bytes, tuple[str, int]], None]
    candidate_types: tuple[str, str]


async def take_over(pc: RTCPeerConnection) -> TakenMedia:
    """Take the audio of the connected `pc`; call on its event loop.

    Raises TargetError when the agent's answer takes no audio, GeneratorError when there is no socket to take.
    """
    guard_versions()
    transceiver = next(t for t in pc.getTransceivers() if t.kind == "audio")
    sender, receiver = transceiver.sender, transceiver.receiver
    await _stop_media(sender, receiver)
    dtls = sender.transport
    connection = dtls.transport._connection
    pair = connection._nominated.get(1)
    transport = getattr(pair.protocol, "transport", None) if pair is not None else None
    own = transport.get_extra_info("socket") if transport is not None else None
    if pair is None or own is None:
        raise GeneratorError("the nominated ICE pair has no UDP socket of its own (relayed candidate): not built yet")
    loop = asyncio.get_running_loop()
    descriptor = own.fileno()
    loop._remove_reader(descriptor)  # type: ignore[attr-defined]
    sock = socket.socket(fileno=os.dup(descriptor))
    sock.setblocking(False)
    kernel_time.enable(sock)

    def feed_back(data: bytes, address: tuple[str, int]) -> None:
        loop.call_soon_threadsafe(pair.protocol.datagram_received, data, address)

    return TakenMedia(
        link=SrtpLink(sock, pair.remote_addr, dtls._tx_srtp, dtls._rx_srtp),
        sock=sock,
        ssrc=sender._ssrc,
        payload_type=_payload_type(transceiver),
        feed_back=feed_back,
        candidate_types=(pair.local_candidate.type, pair.remote_candidate.type),
    )


def _payload_type(transceiver: Any) -> int:
    codecs = transceiver._codecs
    if not codecs:
        raise TargetError("the agent's SDP answer shares no audio codec with our offer (legal: opus/48000/2)")
    return int(codecs[0].payloadType)


async def _stop_media(sender: Any, receiver: Any) -> None:
    """End aiortc's own RTP and RTCP tasks and its decoder thread; the transports stay up."""
    deadline = time.monotonic() + _SENDER_START_S
    # "connected" is told before the sender is started.
    while sender._RTCRtpSender__rtp_task is None:
        if time.monotonic() > deadline:
            raise TargetError("the agent's SDP answer does not accept our audio (its audio direction has no 'recv')")
        await asyncio.sleep(0.001)
    # A task cancelled before its first step would never report its exit, and closing the connection waits for that.
    await asyncio.gather(sender._RTCRtpSender__rtp_started.wait(), sender._RTCRtpSender__rtcp_started.wait())
    if receiver._RTCRtpReceiver__rtcp_task is not None:
        await receiver._RTCRtpReceiver__rtcp_started.wait()
    # A cancelled RTCP task says BYE for a stream that is about to begin.
    sender._send_rtcp = _say_nothing
    receiver._send_rtcp = _say_nothing
    for owner, task in (
        (sender, "_RTCRtpSender__rtp_task"),
        (sender, "_RTCRtpSender__rtcp_task"),
        (receiver, "_RTCRtpReceiver__rtcp_task"),
    ):
        running = getattr(owner, task)
        if running is not None:
            running.cancel()
    receiver._RTCRtpReceiver__stop_decoder()


async def _say_nothing(_packets: object) -> None:
    """Stand in for aiortc's RTCP sender."""
