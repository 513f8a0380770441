"""A pair of UDP ports for one call: RTP on an even one, RTCP on the next (RFC 3550 11)."""

import random
import socket

_TRIES = 200
# What a port range of 0:0 means: the kernel picks.
ANY = (0, 0)


def open_pair(host: str, ports: tuple[int, int] = ANY) -> tuple[socket.socket, socket.socket]:
    """Return two bound, non-blocking sockets within `ports`, both ends included. OSError when there are none free."""
    last: OSError | None = None
    for _ in range(_TRIES):
        port = 0 if ports == ANY else random.randrange(ports[0] + ports[0] % 2, ports[1], 2)
        try:
            return _bound_pair(host, port)
        except OSError as error:
            last = error
    where = "any port" if ports == ANY else f"ports {ports[0]} to {ports[1]}"
    raise OSError(f"no free pair of UDP ports on {host}, {where}: {last}")


def _bound_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    first = _bound(host, port)
    number = first.getsockname()[1]
    try:
        # The kernel picks odd ports too: then the one below belongs to it.
        second = _bound(host, number ^ 1)
    except OSError:
        first.close()
        raise
    return (second, first) if number % 2 else (first, second)


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
