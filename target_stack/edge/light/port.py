"""One UDP socket for the WebRTC calls of a local address: whose datagram is whose, by its first byte and its sender.

Read in batches: one wake-up of the event loop takes what all calls sent since the last one.
"""

import contextlib
import socket
import time
from collections.abc import Callable

from harness.media.peer.ice import IceAgent
from harness.media.peer.ice_port import MediaPath, Owner, Port, ignore
from harness.media.port import SHARED_BUFFER_BYTES, MediaPort, enlarge_buffers
from harness.media.spec import Address
from harness.model.errors import RemoteProtocolError
from harness.protocols import stun
from target_stack.edge.rtp.sockets import UdpSocket

_BATCH = 256
_MOST_CHECKED = 4096

# Called with a datagram and when it was read.
OnMedia = Callable[[bytes, int], object]


class SharedPort(Port):
    """`media`: remote address -> who has its RTP and RTCP; STUN and DTLS go to the peers that claim an address."""

    def __init__(self, host: str) -> None:
        super().__init__()
        sock = _bound(host)
        self._socket = UdpSocket(sock, self._take, _BATCH)
        self.address = self._socket.address
        self.media: dict[Address, OnMedia] = {}
        # Who has the media of a peer, from wherever they come: callers may change to another pair (RFC 8445 8.1.1).
        self.by_owner: dict[Owner, Callable[[bytes, int, Address], bool]] = {}
        # Peers by an address that their checks came from, besides the one that was nominated.
        self._checked: dict[Address, Owner] = {}
        # RTP of nobody's: late, or of a call that is over.
        self.strays = 0
        # Datagrams that the kernel would not take.
        self.unsent = 0
        self._path = MediaPort(0, sock, ignore, lambda _index: None)

    def send(self, data: bytes, to: Address) -> None:
        """Send one datagram; what the kernel refuses is lost, as on any network."""
        self.unsent += not self._socket.send(data, to)

    async def path(self, remote: Address) -> MediaPath:
        """Return the straight way."""
        return MediaPath(self._path, remote)

    def close(self) -> None:
        """Close the socket; its calls must be over."""
        self._socket.close()

    def _take(self, data: bytes, source: Address) -> None:
        at_ns = time.monotonic_ns()
        # RFC 7983: RTP and RTCP are 128 to 191.
        if data and 128 <= data[0] < 192:
            take = self.media.get(source)
            if take is not None:
                take(data, at_ns)
            elif not self._is_moved(data, at_ns, source):
                self.strays += 1
        else:
            if data and data[0] < 4 and source not in self.claims:
                self._note_check(data, source)
            self.arrived(data, self._claimed(data, source))

    def _claimed(self, data: bytes, source: Address) -> Address:
        """Return the address that DTLS is known by: a caller may change to another pair before its handshake ends."""
        owner = self._checked.get(source)
        if data and data[0] >= 20 and isinstance(owner, IceAgent) and owner.selected is not None:
            return owner.selected.remote
        return source

    def _note_check(self, data: bytes, source: Address) -> None:
        """Remember whose check came from an address that is no claimed one; SRTP tells whether it was theirs."""
        with contextlib.suppress(RemoteProtocolError):
            message = stun.parse(data)
            owner = self.owners.get(message.username.partition(b":")[0])
            if message.kind is stun.Kind.REQUEST and owner is not None:
                if len(self._checked) >= _MOST_CHECKED:
                    self._checked.clear()
                self._checked[source] = owner

    def _is_moved(self, data: bytes, at_ns: int, source: Address) -> bool:
        owner = self._checked.get(source)
        take = None if owner is None else self.by_owner.get(owner)
        return take is not None and take(data, at_ns, source)


def _bound(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        enlarge_buffers(sock, SHARED_BUFFER_BYTES)
        sock.bind((host, 0))
    except OSError:
        sock.close()
        raise
    return sock
