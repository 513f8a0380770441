"""Kernel receive timestamps: when a datagram reached this host, whatever we were busy with then.

hot/incoming.py reads them; hot/clock.py carries them to the monotonic clock.
"""

import socket

# asm-generic/socket.h; Python's socket module does not export them.
SO_TIMESTAMPNS = 35
SO_RXQ_OVFL = 40


def enable(sock: socket.socket) -> None:
    """Have the kernel stamp each datagram and count those it dropped for want of buffer."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
