"""Where a SIP message came from and where it goes: a pair of addresses or a connection (a flow, RFC 5626)."""

from typing import NamedTuple


class Flow(NamedTuple):
    """Addresses are numeric; `local` is what Via and Contact announce, so never a wildcard."""

    # "udp", "tcp" or "tls".
    transport: str
    local: tuple[str, int]
    remote: tuple[str, int]
    # Which of the shell's connections, for a stream; 0 for UDP.
    connection: int = 0

    @property
    def is_reliable(self) -> bool:
        """True where the transport retransmits by itself, so that no timer of ours does."""
        return self.transport != "udp"


def host_port(address: tuple[str, int]) -> str:
    """Return `address` as Via and URIs write it: IPv6 in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
