"""A UDP socket that the media loop reads: of one call, or shared by many."""

import socket
from collections.abc import Callable

from harness.media import kernel_time
from harness.media.spec import Address
from harness.model.errors import GeneratorError

# linux/asm-generic/socket.h; Python's socket module does not export them.
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
SHARED_BUFFER_BYTES = 4 << 20

OnDatagram = Callable[[bytes, Address, int], None]


def open_socket(host: str, port: int, buffer_bytes: int) -> socket.socket:
    """Return a bound, non-blocking UDP socket with kernel stamps and as much buffer as the system grants."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        enlarge_buffers(sock, buffer_bytes)
        kernel_time.enable(sock)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise GeneratorError(f"no UDP port on {host}{f' {port}' if port else ''} for media: {error}") from error
    return sock


def enlarge_buffers(sock: socket.socket, size: int) -> None:
    """Ask for `size` bytes to receive and as many to send; what is granted may be less. OSError for a bad socket."""
    for forced, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            # Without CAP_NET_ADMIN the kernel grants up to net.core.rmem_max and says nothing.
            sock.setsockopt(socket.SOL_SOCKET, plain, size)


class MediaPort:
    """One UDP socket. The loop reads it; what is not media of a known call arrives at `on_datagram`."""

    def __init__(self, index: int, sock: socket.socket, on_datagram: OnDatagram, close: Callable[[int], None]) -> None:
        self.index = index
        self.sock = sock
        self.on_datagram = on_datagram
        name = sock.getsockname()
        self.address: Address = (name[0], name[1])
        self._close = close
        self.is_closed = False

    def send(self, data: bytes, to: Address) -> bool:
        """Send a datagram past the loop; False for one that the kernel refused: lost, as on any network."""
        try:
            self.sock.sendto(data, to)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the socket, once the loop has; calls still on it stop."""
        if not self.is_closed:
            self.is_closed = True
            self._close(self.index)
