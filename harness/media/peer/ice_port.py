"""From where a peer sends, and whose datagram is whose: STUN by username or transaction, DTLS by remote address.

SRTP never comes here: the media loop knows its calls by (port, remote address) and keeps it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from harness.media.loop import MediaLoop
from harness.media.port import MediaPort
from harness.media.spec import Address
from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols import stun


@dataclass(frozen=True, slots=True)
class MediaPath:
    """How the media loop reaches a remote address: from which socket, to where, and wrapped how."""

    port: MediaPort
    remote: Address
    # Of a TURN server; None = as it is.
    channel: int | None = None
    # `remote` is a bridge of ours to the server's stream.
    is_bridged: bool = False


class Checked(Protocol):
    """Who awaits the answer to a check."""

    def response_arrived(self, port: "Port", message: stun.Message, data: bytes, source: Address) -> None:
        """Take the answer, not authenticated yet."""


class Owner(Protocol):
    """A peer on a port."""

    def request_arrived(self, port: "Port", message: stun.Message, data: bytes, source: Address) -> None:
        """Take a check that names our username, not authenticated yet."""

    def dtls_arrived(self, data: bytes, source: Address) -> None:
        """Take a datagram that came from a claimed address."""

    def peer_refused(self, port: "Port", address: Address, reason: str) -> None:
        """Take note that the port does not reach a claimed address."""

    def port_lost(self, port: "Port", reason: str) -> None:
        """Take note that the port is gone without our doing."""


class Port(ABC):
    """What a candidate of ours sends from, used by one peer or by many."""

    # The type of its candidate: host or relay.
    kind = "host"
    address: Address

    def __init__(self) -> None:
        # Peers by local username, checks by transaction, peers by the remote address they talk to.
        self.owners: dict[bytes, Owner] = {}
        self.checks: dict[bytes, Checked] = {}
        self.claims: dict[Address, Owner] = {}

    @abstractmethod
    def send(self, data: bytes, to: Address) -> None:
        """Send one datagram; what the network or the kernel refuses is lost."""

    @abstractmethod
    async def path(self, remote: Address) -> MediaPath:
        """Return the media's way to an address that was sent to, once there is one."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the port; its peers must be gone."""

    def claim(self, address: Address, owner: Owner) -> bool:
        """Have what comes from `address`; False when another peer of this port talks to it."""
        return self.claims.setdefault(address, owner) is owner

    def is_free(self, address: Address) -> bool:
        """Tell whether no peer of this port talks to `address`."""
        return address not in self.claims

    def release(self, address: Address, owner: Owner) -> None:
        """Give a claimed address back."""
        if self.claims.get(address) is owner:
            del self.claims[address]

    def arrived(self, data: bytes, source: Address) -> None:
        """Take a datagram of a peer's."""
        # RFC 7983: 0..3 is STUN, 20..63 DTLS.
        first = data[0] if data else 255
        if first < 4:
            self._stun_arrived(data, source)
        elif 20 <= first < 64:
            owner = self.claims.get(source)
            if owner is not None:
                owner.dtls_arrived(data, source)

    def _stun_arrived(self, data: bytes, source: Address) -> None:
        try:
            message = stun.parse(data)
        except RemoteProtocolError:
            return
        if message.kind is stun.Kind.REQUEST:
            owner = self.owners.get(message.username.partition(b":")[0])
            if owner is not None:
                owner.request_arrived(self, message, data, source)
        elif message.kind is not stun.Kind.INDICATION:
            check = self.checks.get(message.transaction)
            if check is not None:
                check.response_arrived(self, message, data, source)


class IcePort(Port):
    """A socket of the media loop."""

    def __init__(self, media_loop: MediaLoop, host: str) -> None:
        super().__init__()
        self.media = media_loop.open_port(host, self._arrived)
        self.address = self.media.address

    def send(self, data: bytes, to: Address) -> None:
        """Send one datagram; what the kernel refuses (no route, full buffer) is lost, as on any network."""
        self.media.send(data, to)

    async def path(self, remote: Address) -> MediaPath:
        """Return the straight way."""
        return MediaPath(self.media, remote)

    def close(self) -> None:
        """Close the socket; its peers must be gone."""
        self.media.close()
        # The port holds us by it, and we the port.
        self.media.on_datagram = ignore

    def _arrived(self, data: bytes, source: Address, _at_ns: int) -> None:
        self.arrived(data, source)


class DeafPort(Port):
    """Stands for a port from which nothing is to leave any more."""

    def __init__(self, instead_of: Port) -> None:
        super().__init__()
        self.instead_of = instead_of
        self.address = instead_of.address

    def send(self, data: bytes, to: Address) -> None:
        """Send nothing."""

    async def path(self, remote: Address) -> MediaPath:
        """Have no way anywhere."""
        raise LocalProtocolError(f"nothing leaves for {remote[0]}:{remote[1]} any more")

    def close(self) -> None:
        """Have nothing to close."""


def ignore(_data: bytes, _source: Address, _at_ns: int) -> None:
    """Take what still comes to a port that was closed."""
