"""ICE, then DTLS, of one peer, whichever side it is on."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from harness.media.codecs import Codec
from harness.media.peer.connected import DtlsError, IceError, PeerMedia, SetupError
from harness.media.peer.dtls import DtlsIdentity, DtlsSession, SrtpKeys
from harness.media.peer.gathering import Gathered
from harness.media.peer.ice import IceAgent, Pair
from harness.media.peer.ice_port import DeafPort, MediaPath, Port
from harness.media.peer.relay_port import RelayPort
from harness.media.timers import Timers
from harness.protocols.webrtc_sdp import Section, Transport

# DTLS that comes before our own check was answered; a handshake's first flight is one datagram.
_MOST_EARLY = 8


class Ground(Protocol):
    """What the links of a process share; a PeerHost has it, and whoever has ports of its own."""

    identity: DtlsIdentity
    timers: Timers


class PeerLink:
    """One peer's transport. `on_closed` is called once, when a connected peer is gone without our doing."""

    def __init__(
        self,
        host: Ground,
        ports: Sequence[Port],
        *,
        is_controlling: bool,
        on_closed: Callable[[str], None] | None,
    ) -> None:
        self._host = host
        self._on_closed = on_closed
        # Closed with this peer; shared ports are the host's.
        self.own_ports: list[Port] = []
        self.ice = IceAgent(
            list(ports),
            host.timers,
            is_controlling=is_controlling,
            on_selected=self._selected,
            on_dtls=self._dtls_arrived,
            on_lost=self._lost,
        )
        self.dtls: DtlsSession | None = None
        self._up: asyncio.Future[SrtpKeys] = asyncio.get_running_loop().create_future()
        self._remote: Transport | None = None
        self._is_server = True
        self._early: list[bytes] = []
        self._ice_up_ns = 0
        self._dtls_up_ns = 0
        self._is_closed = False
        # Gone without a goodbye: consent has ended (RFC 7675), or what relayed the call is no more.
        self.is_vanished = False
        self._path: MediaPath | None = None
        # What STUN and TURN servers did not give, for the error when ICE fails.
        self._failures: list[str] = []

    def add(self, gathered: Gathered) -> None:
        """Announce what STUN and TURN servers gave. Before `begin`; the relays are this peer's from now on."""
        for port, mapped in gathered.reflexive:
            self.ice.add_reflexive(port, mapped)
        for relay in gathered.relays:
            self.own_ports.append(relay)
            self.ice.add_relay(relay)
        self._failures = gathered.failures

    @property
    def relay(self) -> RelayPort | None:
        """What the selected pair is relayed by, None when nothing does; of one that has vanished, what it was by."""
        pair = self.ice.selected
        port = None if pair is None else pair.port
        if isinstance(port, DeafPort):
            port = port.instead_of
        return port if isinstance(port, RelayPort) else None

    def local(self, setup: str) -> Transport:
        """Return what our SDP says of this transport."""
        fingerprint = self._host.identity.fingerprint
        return Transport(self.ice.ufrag, self.ice.password, (fingerprint,), setup, self.ice.candidates)

    def begin(self, remote: Transport, *, is_server: bool) -> None:
        """Connect to the peer that `remote` describes, in this DTLS role."""
        self._remote = remote
        self._is_server = is_server
        self.ice.begin(remote)

    async def connected(self, timeout_s: float) -> SrtpKeys:
        """Return the keys once there are some; raises IceError or DtlsError."""
        try:
            async with asyncio.timeout(timeout_s):
                keys = await self._up
                if (pair := self.ice.selected) is not None:
                    self._path = await pair.port.path(pair.remote)
                return keys
        except TimeoutError as error:
            if self.ice.selected is None:
                raise IceError(
                    "; ".join(
                        [
                            f"no ICE candidate pair worked within {timeout_s:.0f} s: {self.ice.describe()}",
                            *self._failures,
                        ]
                    )
                ) from error
            raise DtlsError(f"DTLS did not finish within {timeout_s:.0f} s, ICE had") from error

    def media(self, keys: SrtpKeys, audio: Section, ssrc: int, codec: Codec, payload_type: int) -> PeerMedia:
        """Return what the media loop must know; after `connected`."""
        pair, path = self.ice.selected, self._path
        if pair is None or path is None:
            raise IceError("the ICE pair is gone")
        return PeerMedia(
            port=path.port,
            remote=path.remote,
            outgoing=keys.outgoing,
            incoming=keys.incoming,
            ssrc=ssrc,
            remote_ssrc=audio.ssrc,
            codec=codec,
            payload_type=payload_type,
            srtp_profile=keys.profile,
            candidate_types=(pair.local_type, pair.remote_type),
            channel=path.channel,
            is_bridged=path.is_bridged,
            pair=(pair.port.address, pair.remote),
            ice_up_ns=self._ice_up_ns,
            dtls_up_ns=self._dtls_up_ns,
        )

    def vanish(self) -> None:
        """Send nothing any more, and answer nothing: neither checks, nor DTLS, nor a goodbye. Media are the loop's."""
        self.ice.fall_silent()

    def close(self) -> None:
        """Say goodbye and let go of everything; any number of times."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.dtls is not None:
            self.dtls.close()
            # OpenSSL's and libsrtp's memory goes with its last reference, and not only when a collector comes by.
            self.dtls = None
        self.ice.close()
        for port in self.own_ports:
            port.close()
        self._up.cancel()
        self._up = asyncio.get_running_loop().create_future()
        self._up.cancel()
        self._early.clear()
        # It may hold the call that holds us.
        self._on_closed = None

    # --- steps -----------------------------------------------------------------------------------------------------

    def _selected(self, pair: Pair) -> None:
        self._ice_up_ns = time.monotonic_ns()
        for port in self.own_ports:
            if port.kind == "relay" and port is not pair.port:
                # Granted, and not needed: the server's quota is for other calls.
                port.close()
        remote = self._remote
        if remote is None:
            return
        self.dtls = DtlsSession(
            self._host.identity,
            self._host.timers,
            is_server=self._is_server,
            fingerprints=remote.fingerprints,
            send=lambda data: pair.port.send(data, pair.remote),
            on_connected=self._connected,
            on_failed=lambda detail: self._failed(DtlsError(detail)),
            on_closed=lambda: self._gone("the agent closed the connection (DTLS close_notify)"),
        )
        self.dtls.begin()
        early, self._early = self._early, []
        for data in early:
            self.dtls.receive(data)

    def _dtls_arrived(self, data: bytes) -> None:
        if self.dtls is not None:
            self.dtls.receive(data)
        elif len(self._early) < _MOST_EARLY:
            self._early.append(data)

    def _connected(self, keys: SrtpKeys) -> None:
        self._dtls_up_ns = time.monotonic_ns()
        if not self._up.done():
            self._up.set_result(keys)

    def _failed(self, error: SetupError) -> None:
        if not self._up.done():
            self._up.set_exception(error)

    def _lost(self, detail: str) -> None:
        self.is_vanished = True
        self._gone(detail)

    def _gone(self, detail: str) -> None:
        if not self._up.done():
            self._up.set_exception(DtlsError(detail))
        elif not self._is_closed and self._on_closed is not None:
            self._on_closed(detail)
