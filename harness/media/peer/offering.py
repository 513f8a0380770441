"""Our caller's side of a WebRTC call: it offers, the agent answers."""

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.media.codecs import OPUS, Codec
from harness.media.peer.connected import IceError, PeerMedia
from harness.media.peer.gathering import gather
from harness.media.peer.host import PeerHost
from harness.media.peer.ice import usable
from harness.media.peer.ice_port import IcePort
from harness.media.peer.link import PeerLink
from harness.media.peer.rtp_maps import chosen_codec, rtp_map
from harness.media.peer.seam import DataChannel
from harness.media.spec import Address
from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.model.plan import IceServer, IceSpec
from harness.model.records import RelayUse
from harness.protocols import webrtc_sdp
from harness.protocols.webrtc_sdp import SCTP_PORT, Description, OurAudio


class OfferingPeer:
    """One call: `gather`, send `offer_sdp`, `accept` the answer, `connect`, in the end `close`."""

    def __init__(
        self,
        host: PeerHost,
        target: str,
        addresses: Sequence[str],
        *,
        source_ports: str = "auto",
        ice: IceSpec | None = None,
        codecs: Sequence[Codec] = (OPUS,),
        with_data: bool = False,
        cname: str = "callquake",
        on_closed: Callable[[str], None] | None = None,
    ) -> None:
        self._host = host
        self._target = target
        self._addresses = list(addresses)
        self._codecs = tuple(codecs)
        self._is_shared = host.source_ports.may_share(target, source_ports)
        self._ice = ice or IceSpec()
        self._has_gathered = not self.asks_servers
        # Whether the offer has all candidates.
        self._names_all = True
        ports = [] if self._ice.policy == "relay" else _open_ports(host, addresses, is_shared=self._is_shared)
        self.link = PeerLink(host, ports, is_controlling=True, on_closed=on_closed)
        self.link.own_ports = [] if self._is_shared else list(ports)
        self._ports = ports
        self._answered: tuple[Address, ...] = ()
        self._answer: Description | None = None
        self._channel: DataChannel | None = None
        self.ssrc = secrets.randbits(32) or 1
        self._cname = cname
        self._with_data = with_data
        self._offer_sdp = ""

    @property
    def asks_servers(self) -> bool:
        """Whether there are STUN or TURN servers that `gather` asks."""
        return self._ice.policy != "host" and (self._ice.policy == "relay" or bool(self._ice.servers))

    async def gather(self, limit_s: float) -> None:
        """Ask the STUN and TURN servers for candidates; raises IceError when there is none to call with."""
        if self._has_gathered:
            return
        wants_ipv6 = all(":" in address for address in self._addresses)
        gathered = await gather(self._host, self._ice, self._ports, wants_ipv6=wants_ipv6, limit_s=limit_s)
        self.link.add(gathered)
        self._has_gathered = True
        if not self.link.ice.candidates:
            why = "; ".join(gathered.failures) or "no TURN server is given (ice.servers)"
            raise IceError(f"no relay candidate: {why}")

    def offer_first(self) -> None:
        """Let the offer go out before any server is asked, for they are named in the answer (RFC 9725 4.6)."""
        self._has_gathered, self._names_all = True, False

    async def gather_late(self, servers: Sequence[IceServer], limit_s: float) -> tuple[str, ...]:
        """Ask servers that were named after the offer; return the candidates they gave, for the agent to be told.

        Before `accept`. Raises IceError as `gather` does.
        """
        told = {candidate.line() for candidate in self.link.ice.candidates}
        self._ice = replace(self._ice, servers=tuple(servers))
        self._has_gathered = False
        await self.gather(limit_s)
        return tuple(c.line() for c in self.link.ice.candidates if c.line() not in told)

    @property
    def offer_sdp(self) -> str:
        """The offer, with all candidates."""
        if not self._has_gathered:
            raise LocalProtocolError("the STUN and TURN servers were not asked yet: gather first")
        if not self._offer_sdp:
            transport = replace(self.link.local("actpass"), is_complete=self._names_all)
            audio = OurAudio(tuple(rtp_map(c) for c in self._codecs), self.ssrc, self._cname)
            self._offer_sdp = webrtc_sdp.build_offer(
                random.getrandbits(48), audio, transport, with_data=self._with_data
            )
        return self._offer_sdp

    @property
    def takes_data(self) -> bool:
        """Whether the agent took the data channel."""
        return self._answer is not None and self._answer.data is not None

    def accept(self, answer_sdp: str) -> None:
        """Take the agent's answer; raises RemoteProtocolError saying why it cannot be used."""
        answer = webrtc_sdp.parse(answer_sdp)
        audio = answer.audio
        if audio.direction not in ("sendrecv", "recvonly"):
            raise RemoteProtocolError(f"it does not accept our audio (its audio is {audio.direction})")
        chosen_codec(audio, self._codecs)
        transport = audio.transport
        if transport is None:
            raise RemoteProtocolError("its audio has no transport")
        self._answer = answer
        self._note(tuple((c.host, c.port) for c in usable(transport.candidates)))
        # RFC 5763 5: the answerer is active unless it says passive.
        self.link.begin(transport, is_server=transport.setup != "passive")

    def _note(self, addresses: tuple[Address, ...]) -> None:
        """Learn from where this target answers, and leave a port on which another call has the same peer address."""
        self._answered = addresses
        self._host.source_ports.answered(self._target, addresses)
        taken = [p for p in self._ports if not all(p.is_free(a) for a in addresses)]
        for port in taken:
            own = self._host.own_port(port.address[0])
            self.link.own_ports.append(own)
            self.link.ice.replace_port(port, own)

    async def connect(self, timeout_s: float) -> PeerMedia:
        """Wait for ICE and DTLS; raises IceError or DtlsError."""
        answer = self._answer
        if answer is None:
            raise RemoteProtocolError("there is no answer yet")
        keys = await self.link.connected(timeout_s)
        codec, payload_type = chosen_codec(answer.audio, self._codecs)
        return self.link.media(keys, answer.audio, self.ssrc, codec, payload_type)

    def relay_use(self) -> RelayUse | None:
        """Return which TURN server has the media, None when none has; also after `close`."""
        relay = self.link.relay
        if relay is None:
            return None
        delay = relay.bridge_delay
        if delay is None:
            return RelayUse(relay.name)
        return RelayUse(relay.name, delay.mean_ms, delay.max_ms, delay.dropped)

    def dtls_words(self) -> dict[str, str]:
        """Return what DTLS came to, {} before it is up."""
        return {} if self.link.dtls is None else self.link.dtls.words()

    def open_channel(
        self,
        on_open: Callable[[], None],
        on_message: Callable[[str | bytes], None],
        on_close: Callable[[], None],
        label: str = "chat",
    ) -> DataChannel:
        """Open the data channel of a connected peer that takes one."""
        data = self._answer.data if self._answer is not None else None
        if data is None or self.link.dtls is None:
            raise LocalProtocolError("a data channel needs a connected peer that takes one")
        self._channel = DataChannel(
            self.link.dtls,
            data.sctp_port or SCTP_PORT,
            label=label,
            on_open=on_open,
            on_message=on_message,
            on_close=on_close,
        )
        return self._channel

    def close(self) -> None:
        """Hang up; any number of times. The media loop must have let go of the call."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self.link.close()
        if self._answered:
            self._host.source_ports.ended(self._target, self._answered)
            self._answered = ()


def _open_ports(host: PeerHost, addresses: Sequence[str], *, is_shared: bool) -> list[IcePort]:
    ports: list[IcePort] = []
    try:
        for address in addresses:
            ports.append(host.shared_port(address) if is_shared else host.own_port(address))  # noqa: PERF401 - closed below
    except BaseException:
        for port in [] if is_shared else ports:
            port.close()
        raise
    return ports
