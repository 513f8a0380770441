"""What all peers of a process share: certificate and SSL context, timers, ports."""

from collections.abc import Iterable, Sequence

import ifaddr

from harness.media.loop import MediaLoop
from harness.media.peer.dtls import DtlsIdentity
from harness.media.peer.ice_port import IcePort
from harness.media.peer.relay_carrier import Carrier
from harness.media.peer.relay_port import RelayPort
from harness.media.peer.source_ports import SourcePorts
from harness.media.spec import Address
from harness.media.timers import Timers
from harness.model.errors import GeneratorError
from harness.protocols.turn import TurnClient


class PeerHost:
    """Make one on the running event loop; its peers must be closed before it is."""

    def __init__(self, media_loop: MediaLoop, *, srtp_profiles: Sequence[str] | None = None) -> None:
        self.identity = DtlsIdentity(srtp_profiles)
        self.timers = Timers()
        self.source_ports = SourcePorts()
        self.media_loop = media_loop
        self._shared: dict[str, list[IcePort]] = {}
        self._relays: set[RelayPort] = set()

    def shared_port(self, host: str, avoid: Iterable[Address] = ()) -> IcePort:
        """Return a port on `host` that peers share, one on which nobody talks to an address of `avoid`."""
        ports = self._shared.setdefault(host, [])
        addresses = list(avoid)
        for port in ports:
            if all(port.is_free(address) for address in addresses):
                return port
        ports.append(self.own_port(host))
        return ports[-1]

    def own_port(self, host: str) -> IcePort:
        """Open a port for one peer, which closes it."""
        return IcePort(self.media_loop, host)

    def relay_port(self, server: str, client: TurnClient, carrier: Carrier) -> RelayPort:
        """Open a port on a TURN server, for one peer, which closes it; it is gone when the server has let go of it."""
        relay = RelayPort(server, client, carrier, self.timers, self._relays.discard)
        self._relays.add(relay)
        return relay

    def close(self) -> None:
        """Close the shared ports, and the relays whose servers have not said goodbye yet."""
        self.timers.close()
        for relay in list(self._relays):
            relay.abandon()
        for ports in self._shared.values():
            for port in ports:
                port.close()
        self._shared.clear()


def host_addresses() -> list[str]:
    """Return this host's addresses that ICE may offer: no loopback, no link-local; raises GeneratorError if none."""
    found: list[str] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if isinstance(ip.ip, str):
                if not ip.ip.startswith(("127.", "169.254.")):
                    found.append(ip.ip)
            elif ip.ip[0] != "::1" and ip.ip[2] == 0:
                found.append(ip.ip[0])
    if not found:
        raise GeneratorError("this host has no address but loopback: a target elsewhere cannot send it media")
    return found
