"""One OPTIONS by UDP (RFC 3261 11), to learn whether anybody is there and what it says of itself."""

import secrets
import socket
import time

from harness.model.plan import SipSpec

# Said again until it is answered, as RFC 3261 17.1.2.2 does, but not for its half a minute.
_T1_S = 0.5
_MAX_DATAGRAM = 65_535
LONGEST_WAIT_S = 2.0


def ask(sock: socket.socket, uri: str, sip: SipSpec, timeout_s: float) -> bytes | None:
    """Send OPTIONS on the connected `sock`; return the body of its answer, None where nothing came.

    Raises ConnectionRefusedError where nobody listens.
    """
    request = _request(sock, uri, sip)
    deadline_s = time.monotonic() + min(timeout_s, LONGEST_WAIT_S)
    wait_s = _T1_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        sock.send(request)
        sock.settimeout(min(wait_s, left_s))
        try:
            return sock.recv(_MAX_DATAGRAM).partition(b"\r\n\r\n")[2]
        except TimeoutError:
            wait_s *= 2
    return None


def _request(sock: socket.socket, uri: str, sip: SipSpec) -> bytes:
    host, port = sock.getsockname()[:2]
    here = f"[{host}]" if ":" in host else host
    lines = [
        f"OPTIONS {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP {here}:{port};rport;branch=z9hG4bK{secrets.token_hex(8)}",
        *([f"Route: <{sip.proxy}>"] if sip.proxy else []),
        "Max-Forwards: 70",
        f"From: <{sip.from_uri or f'sip:callquake@{here}'}>;tag={secrets.token_hex(6)}",
        f"To: <{uri}>",
        f"Call-ID: {secrets.token_hex(12)}@{here}",
        "CSeq: 1 OPTIONS",
        "Accept: application/sdp, application/json",
        "User-Agent: callquake",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
