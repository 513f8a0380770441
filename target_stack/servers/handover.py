"""An HTTP connection on its way from the front to a media server: its descriptor, and the request that was read of it.

The server's own HTTP server goes on with it as if it had accepted it: it knows the caller's address and ours, answers,
upgrades to a WebSocket, and nothing of what follows passes the front. A connection is handed over for one request;
the answer closes it, so that the next request comes to the front again.
"""

import os

from aiohttp import web

# Ours: whose session it is, told by the front alone.
TICKET_HEADER = "X-Callquake-Ticket"
_DROPPED = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        TICKET_HEADER.lower().encode(),
    }
)


def is_upgrade(request: web.Request) -> bool:
    """Tell whether the request asks for a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def request_bytes(request: web.Request, body: bytes, ticket: int | None = None) -> bytes:
    """Return the request as it came, but for what concerns its connection."""
    head = [f"{request.method} {request.raw_path} HTTP/1.1".encode("latin-1", "replace")]
    head += [name + b": " + value for name, value in request.raw_headers if name.lower() not in _DROPPED]
    head.append(b"Connection: Upgrade" if is_upgrade(request) else b"Connection: close")
    if body or request.method in ("POST", "PUT", "PATCH"):
        head.append(b"Content-Length: %d" % len(body))
    if ticket is not None:
        head.append(f"{TICKET_HEADER}: {ticket}".encode())
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def take_descriptor(request: web.Request) -> int:
    """Return a descriptor of the request's connection, the caller's to close. ConnectionResetError: it is gone."""
    transport = request.transport
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        raise ConnectionResetError("the connection closed before its request could be handed over")
    return os.dup(sock.fileno())


def let_go(request: web.Request) -> None:
    """Forget the connection here: it stays open where it was handed to."""
    if request.transport is not None:
        # No shutdown: only this process's descriptor is closed.
        request.transport.abort()
