"""A WebRTC call on a shared port: answers the offer, connects, speaks for the session. As WebRtcCall, but lighter."""

import asyncio
import contextlib
import ipaddress
import logging
import random
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.media.codecs import OPUS
from harness.media.peer.connected import SetupError
from harness.media.peer.dtls import DtlsIdentity
from harness.media.peer.host import host_addresses
from harness.media.peer.link import PeerLink
from harness.media.peer.rtp_maps import chosen_codec, rtp_map
from harness.media.peer.seam import DataChannel
from harness.media.timers import Timers
from harness.model.errors import RemoteProtocolError
from harness.protocols import webrtc_sdp
from harness.protocols.small_webrtc import Candidate
from harness.protocols.webrtc_sdp import Description, OurAudio, Section, Transport
from target_stack.edge.agent_call import AgentCall, CallLimits, EndReason
from target_stack.edge.light.line import CNAME, WebRtcLine
from target_stack.edge.light.port import SharedPort
from target_stack.edge.rtp.line import LineCounts
from target_stack.edge.rtp.ticker import Ticker
from target_stack.edge.rtvi_channel import RtviChannel
from target_stack.frames import CallFacts, SessionFactory

if TYPE_CHECKING:
    from harness.media.spec import Address

_log = logging.getLogger(__name__)
_MAX_MEDIA_SECTIONS = 8


@dataclass
class LightGround:
    """What the calls of a process share; made on the running event loop."""

    identity: DtlsIdentity = field(default_factory=DtlsIdentity)
    timers: Timers = field(default_factory=Timers)
    ticker: Ticker = field(default_factory=Ticker)
    # Of the calls that have ended.
    lines: LineCounts = field(default_factory=LineCounts)
    _ports: dict[str, SharedPort] = field(default_factory=dict)

    def ports(self, local_host: str) -> list[SharedPort]:
        """Return the ports of a call whose offer came in on `local_host`: loopback stays on loopback. OSError."""
        is_local = ipaddress.ip_address(local_host.partition("%")[0]).is_loopback
        found = []
        for address in [local_host] if is_local else host_addresses():
            if address not in self._ports:
                self._ports[address] = SharedPort(address)
            found.append(self._ports[address])
        return found

    def new_call(
        self,
        call_id: str,
        pc_id: str,
        sessions: SessionFactory,
        limits: CallLimits,
        channel: type[RtviChannel],
        facts: CallFacts,
    ) -> "LightCall":
        """Return a call that has no offer yet."""
        return LightCall(self, call_id, pc_id, sessions, limits, channel, facts)

    async def aclose(self) -> None:
        """Close the ports; the calls must be over."""
        await self.ticker.aclose()
        self.timers.close()
        for port in self._ports.values():
            port.close()
        self._ports.clear()


class LightCall:
    """One call. `answer` once, then `run` until the call is over."""

    def __init__(
        self,
        ground: LightGround,
        call_id: str,
        pc_id: str,
        sessions: SessionFactory,
        limits: CallLimits,
        channel: type[RtviChannel],
        facts: CallFacts,
    ) -> None:
        self.call_id = call_id
        self.pc_id = pc_id
        self._ground = ground
        self._limits = limits
        self._call = AgentCall(call_id, sessions, limits, channel, facts)
        self._link: PeerLink | None = None
        self._line: WebRtcLine | None = None
        self._offer: Description | None = None
        self._data: DataChannel | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._selected: tuple[SharedPort, Address] | None = None

    async def answer(self, sdp: str, local_host: str) -> str:
        """Return the answer to an offer that came in on our address `local_host`. RemoteProtocolError: it is bad."""
        try:
            offer = webrtc_sdp.parse(sdp)
            audio, remote = _check(offer)
            codec, payload_type = chosen_codec(audio, (OPUS,))
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"offer.sdp cannot be answered: {error}") from error
        ports = self._ground.ports(local_host)
        ssrc = secrets.randbits(32) or 1
        # RFC 5763 5: active, unless the caller wants to be it.
        is_server = remote.setup == "active"
        # RFC 8445 6.1.1: a lite peer leaves control to us.
        link = PeerLink(
            self._ground,
            ports,
            is_controlling=remote.is_lite,
            on_closed=lambda _why: self.hang_up(EndReason.PEER_LEFT),
        )
        self._offer, self._link = offer, link
        self._line = WebRtcLine(self._call, self._ground.ticker, codec, payload_type, ssrc)
        ours = OurAudio((rtp_map(codec, payload_type),), ssrc, CNAME)
        text = webrtc_sdp.build_answer(
            random.getrandbits(48), offer, ours, link.local("passive" if is_server else "active")
        )
        link.begin(remote, is_server=is_server)
        self._connecting = asyncio.create_task(self._connect(link, self._line), name=f"connecting {self.call_id}")
        return text

    async def add_candidate(self, candidate: Candidate) -> None:
        """Take note of a late candidate; RemoteProtocolError when it cannot be read.

        Nothing is to be done with it: the caller checks our candidates, all of which the answer has, and is answered
        from where it came (RFC 8445 7.3.1.3).
        """
        if candidate.candidate:
            try:
                webrtc_sdp.parse_candidate(candidate.candidate)
            except (ValueError, IndexError) as error:
                raise RemoteProtocolError(f"body.candidates: {candidate.candidate[:100]!r} is no candidate") from error

    def hang_up(self, reason: EndReason = EndReason.HUNG_UP) -> None:
        """End the call; `run` returns when everything is released."""
        self._call.hang_up(reason)

    async def run(self) -> EndReason:
        """Serve the call to its end and release everything; return why it ended."""
        return await self._call.run(self._release)

    async def _connect(self, link: PeerLink, line: WebRtcLine) -> None:
        try:
            keys = await link.connected(self._limits.connect_s)
        except SetupError as error:
            _log.info("call %s was not connected: %s", self.call_id, error)
            self.hang_up(EndReason.CONNECT_TIMEOUT)
            return
        pair = link.ice.selected
        if pair is None or not isinstance(pair.port, SharedPort):
            self.hang_up(EndReason.PEER_LEFT)
            return
        port, remote = self._selected = pair.port, pair.remote
        port.media[remote] = line.arrived
        port.by_owner[link.ice] = self._moved
        line.begin(keys, self._send)
        self._open_channel(link)
        self._call.connected()

    def _send(self, data: bytes) -> None:
        if self._selected is not None:
            self._selected[0].send(data, self._selected[1])

    def _moved(self, data: bytes, at_ns: int, source: "Address") -> bool:
        """Take media from another address of the caller's, and answer there from now on, where its keys open them."""
        if self._selected is None or self._line is None or not self._line.arrived(data, at_ns):
            return False
        port, before = self._selected
        port.media.pop(before, None)
        port.media[source] = self._line.arrived
        self._selected = port, source
        return True

    def _open_channel(self, link: PeerLink) -> None:
        data = self._offer.data if self._offer is not None else None
        if data is None or link.dtls is None:
            return
        with contextlib.suppress(ConnectionError):
            self._data = DataChannel(
                link.dtls,
                data.sctp_port or webrtc_sdp.SCTP_PORT,
                label=None,
                on_open=self._channel_opened,
                on_message=self._call.channel.receive,
            )

    def _channel_opened(self) -> None:
        if self._data is not None:
            self._call.channel.attach(_Channel(self._data))

    async def _release(self, _reason: EndReason) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._line is not None:
            self._ground.lines.add(self._line.close())
        if self._selected is not None:
            port, remote = self._selected
            # The address may be another caller's by now: ports are used again.
            if self._line is not None and port.media.get(remote) == self._line.arrived:
                del port.media[remote]
            if self._link is not None:
                port.by_owner.pop(self._link.ice, None)
        if self._data is not None:
            self._data.close()
        if self._link is not None:
            self._link.close()


class _Channel:
    """A data channel with the face that RtviChannel knows."""

    def __init__(self, channel: DataChannel) -> None:
        self._channel = channel

    @property
    def readyState(self) -> str:  # noqa: N802 -- W3C's name
        """Tell "open" or "closed"."""
        return "open" if self._channel.is_open else "closed"

    @property
    def bufferedAmount(self) -> int:  # noqa: N802 -- W3C's name
        """Tell how many bytes wait to be sent."""
        return self._channel.buffered_bytes

    def send(self, data: str) -> None:
        """Queue a text message."""
        self._channel.send(data)


def _check(offer: Description) -> tuple[Section, Transport]:
    """Return the offer's audio and its transport; RemoteProtocolError naming what keeps us from answering."""
    if len(offer.sections) > _MAX_MEDIA_SECTIONS:
        raise RemoteProtocolError(f"it has {len(offer.sections)} media sections, more than {_MAX_MEDIA_SECTIONS}")
    mids = [section.mid for section in offer.sections]
    if len(set(mids)) < len(mids) or not set(offer.bundled) <= set(mids):
        raise RemoteProtocolError("each media section needs its own a=mid, and BUNDLE may name only those")
    audio = offer.audio
    if audio.direction != "sendrecv":
        raise RemoteProtocolError(f"audio is {audio.direction}, it must be sendrecv")
    if audio.transport is None:
        raise RemoteProtocolError("its audio has no a=ice-ufrag, a=ice-pwd or a=fingerprint")
    return audio, audio.transport
