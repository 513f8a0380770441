"""A UDP socket, read in batches: a wake-up of the event loop takes all that has come since the last one.

asyncio's own transport takes one datagram a wake-up. A loop that once fell behind then hears what is seconds old, and
goes on doing so for as long as it has no more than it needs.
"""

import asyncio
import socket
from collections.abc import Callable

Address = tuple[str, int]

# Of a call's socket before the others have their turn: over a second of packets.
_BATCH = 64
_LARGEST = 2048


class UdpSocket:
    """Reads from the start; `take` is called with each datagram and where it came from."""

    def __init__(self, sock: socket.socket, take: Callable[[bytes, Address], None], batch: int = _BATCH) -> None:
        self._sock = sock
        self._take = take
        self._batch = batch
        name = sock.getsockname()
        self.address: Address = (name[0], name[1])
        asyncio.get_running_loop().add_reader(sock, self._readable)

    def send(self, data: bytes, to: Address) -> bool:
        """Send one datagram; False for one that the kernel refused: it is lost, as on any network."""
        try:
            self._sock.sendto(data, to)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Release the port, at once; any number of times."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()

    def _readable(self) -> None:
        for _ in range(self._batch):
            # What was read before may have ended the call.
            if self._sock.fileno() < 0:
                return
            try:
                data, name = self._sock.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                # An earlier datagram's ICMP error: what is not there is noticed by its silence.
                continue
            self._take(data, (name[0], name[1]))
