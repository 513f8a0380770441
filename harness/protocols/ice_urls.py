"""Where STUN and TURN servers are: stun: (RFC 7064), turn: and turns: URLs (RFC 7065)."""

import re
from dataclasses import dataclass

LEGAL = "stun:host[:port], turn:host[:port][?transport=udp|tcp], turns:host[:port]"

_URL = re.compile(
    r"(?P<scheme>stun|turn|turns):(?P<host>\[[0-9A-Fa-f:.]+\]|[^][:?/@\s]+)(?::(?P<port>\d{1,5}))?"
    r"(?:\?transport=(?P<transport>\w+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """One server and how it is reached."""

    # As the user wrote it, for messages.
    text: str
    is_turn: bool
    # A name or an address, IPv6 without brackets.
    host: str
    port: int
    # udp, tcp or tls.
    transport: str


def parse_server_url(text: str) -> ServerUrl:
    """Return what `text` says; raises ValueError naming what is wrong and the legal forms."""
    found = _URL.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is no address of a STUN or TURN server; legal: {LEGAL}")
    scheme, transport = found["scheme"].lower(), (found["transport"] or "").lower()
    port = int(found["port"] or (5349 if scheme == "turns" else 3478))
    if not 0 < port < 65536:
        raise ValueError(f"'{text}': the port is not within 1 to 65535; legal: {LEGAL}")
    legal = {"stun": ("",), "turn": ("", "udp", "tcp"), "turns": ("", "tcp")}[scheme]
    if transport not in legal:
        raise ValueError(f"'{text}': {scheme}: does not go over {transport} here; legal: {LEGAL}")
    carried = "tls" if scheme == "turns" else transport or "udp"
    return ServerUrl(text, scheme != "stun", found["host"].strip("[]"), port, carried)
