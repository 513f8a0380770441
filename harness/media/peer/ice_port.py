"""One UDP socket and whose datagram is whose: STUN by username or transaction, DTLS by remote address.

SRTP never comes here: the media loop knows its calls by (port, remote address) and keeps it.
"""

from typing import Protocol

from harness.media.loop import MediaLoop
from harness.media.spec import Address
from harness.model.errors import RemoteProtocolError
from harness.protocols import stun


class Checked(Protocol):
    """Who awaits the answer to a check."""

    def response_arrived(self, port: "IcePort", message: stun.Message, data: bytes, source: Address) -> None:
        """Take the answer, not authenticated yet."""


class Owner(Protocol):
    """A peer on a port."""

    def request_arrived(self, port: "IcePort", message: stun.Message, data: bytes, source: Address) -> None:
        """Take a check that names our username, not authenticated yet."""

    def dtls_arrived(self, data: bytes, source: Address) -> None:
        """Take a datagram that came from a claimed address."""


class IcePort:
    """A socket of the media loop, used by one peer or by many."""

    def __init__(self, media_loop: MediaLoop, host: str) -> None:
        self.media = media_loop.open_port(host, self._arrived)
        self.address: Address = self.media.address
        # Peers by local username, checks by transaction, peers by the remote address they talk to.
        self.owners: dict[bytes, Owner] = {}
        self.checks: dict[bytes, Checked] = {}
        self.claims: dict[Address, Owner] = {}

    def send(self, data: bytes, to: Address) -> None:
        """Send one datagram; what the kernel refuses (no route, full buffer) is lost, as on any network."""
        self.media.send(data, to)

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

    def close(self) -> None:
        """Close the socket; its peers must be gone."""
        self.media.close()
        # The port holds us by it, and we the port.
        self.media.on_datagram = _ignore

    def _arrived(self, data: bytes, source: Address, _at_ns: int) -> None:
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


def _ignore(_data: bytes, _source: Address, _at_ns: int) -> None:
    """Take what still comes to a port that was closed."""
