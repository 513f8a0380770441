"""Whether a STUN or TURN server answers: one binding request (RFC 8489), sent again as UDP may lose it."""

import secrets
import socket
import struct
import time

from harness.protocols import stun

# RFC 8489 6.2.1 begins with 500 ms and doubles; on the way to a server that is near this is long.
_WAIT_S = 0.3
TRIES = 3


def answers(address: tuple[str, int], tries: int = TRIES) -> bool:
    """Return whether one of so many requests is answered, each within 300 ms. Blocks meanwhile."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        for _ in range(tries):
            transaction = secrets.token_bytes(12)
            try:
                asking.sendto(struct.pack("!HHI12s", stun.Kind.REQUEST, 0, stun.COOKIE, transaction), address)
                if _is_answered(asking, transaction):
                    return True
            except OSError:
                # Nobody has the port, and the kernel was told so.
                time.sleep(_WAIT_S)
    return False


def _is_answered(asking: socket.socket, transaction: bytes) -> bool:
    until = time.monotonic() + _WAIT_S
    while (left_s := until - time.monotonic()) > 0:
        asking.settimeout(left_s)
        try:
            data = asking.recv(2_048)
        except TimeoutError:
            return False
        # An error is an answer, too.
        if len(data) >= stun.HEADER_BYTES and data[8:20] == transaction:
            return True
    return False
