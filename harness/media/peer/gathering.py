"""Candidates that STUN and TURN servers give: all are asked at once, and nobody waits long for the slow ones."""

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.media.peer.host import PeerHost
from harness.media.peer.ice_port import Port
from harness.media.peer.relay_carrier import Carrier, RelayError, UdpCarrier
from harness.media.peer.relay_port import RelayPort
from harness.media.peer.relay_stream import StreamCarrier, connect, explain, tls_context
from harness.media.spec import Address
from harness.media.stamped_stream import TlsPipe
from harness.model.plan import IceServer, IceSpec
from harness.protocols import stun
from harness.protocols.ice_urls import ServerUrl, parse_server_url
from harness.protocols.turn import TurnClient
from harness.protocols.turn_messages import Kind, Method, build

# For a server's answer at all, and for the others' once there is something to call with.
LIMIT_S = 5.0
OTHERS_LIMIT_S = 2.0
_FIRST_RETRY_S = 0.5


@dataclass(slots=True)
class Gathered:
    """What the servers gave, and what they did not give and why."""

    # Our ports, and how a server sees them.
    reflexive: list[tuple[Port, Address]] = field(default_factory=list)
    relays: list[RelayPort] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


async def gather(
    host: PeerHost, ice: IceSpec, ports: Sequence[Port], *, wants_ipv6: bool, limit_s: float = LIMIT_S
) -> Gathered:
    """Ask every server; `ports` are the host candidates', none where only relays are wanted. Never raises.

    The relays are the caller's to close, or closed here when this is cancelled.
    """
    gathered = Gathered()
    asked: dict[asyncio.Task[None], str] = {}
    for server in ice.servers:
        for url in map(parse_server_url, server.urls):
            if url.is_turn:
                work = _relayed(gathered, host, url, server, ice.tls_ca, wants_ipv6=wants_ipv6)
                asked[asyncio.ensure_future(work)] = f"TURN {url.text}"
            for port in () if url.is_turn else ports:
                asked[asyncio.ensure_future(_reflected(gathered, port, url))] = f"STUN {url.text}"
    try:
        late = await _settled(set(asked), gathered, min(limit_s, LIMIT_S), has_ports=bool(ports))
    except BaseException:
        await _cancel(set(asked))
        for relay in gathered.relays:
            relay.close()
        raise
    gathered.failures += [f"{asked[task]} did not answer in time" for task in late]
    gathered.failures = list(dict.fromkeys(gathered.failures))
    return gathered


async def _settled(
    waiting: set[asyncio.Task[None]], gathered: Gathered, limit_s: float, *, has_ports: bool
) -> list[asyncio.Task[None]]:
    """Wait for the servers; return the tasks of those that took too long, which are cancelled."""
    loop = asyncio.get_running_loop()
    end = others_end = loop.time() + limit_s
    while waiting:
        if has_ports or gathered.relays:
            others_end = min(others_end, loop.time() + OTHERS_LIMIT_S)
        done, waiting = await asyncio.wait(
            waiting, timeout=max(0.0, min(end, others_end) - loop.time()), return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            error = task.exception()
            if isinstance(error, RelayError):
                gathered.failures.append(error.detail)
            elif error is not None:
                raise error
        if not done:
            break
    late = list(waiting)
    await _cancel(waiting)
    return late


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- STUN -------------------------------------------------------------------------------------------------------------


class _Question:
    """One binding request from one port."""

    def __init__(self, port: Port, server: Address) -> None:
        self._server = server
        self.transaction = secrets.token_bytes(12)
        self.mapped: asyncio.Future[Address | None] = asyncio.get_running_loop().create_future()
        port.checks[self.transaction] = self

    def response_arrived(self, _port: Port, message: stun.Message, data: bytes, source: Address) -> None:
        """Take the server's answer."""
        if source == self._server and message.kind is stun.Kind.RESPONSE and not self.mapped.done():
            self.mapped.set_result(stun.mapped_address(data))


async def _reflected(gathered: Gathered, port: Port, url: ServerUrl) -> None:
    """Learn how the server sees the port (RFC 8445 5.1.1.2)."""
    server = await _resolved(url, ":" in port.address[0])
    if server is None:
        return
    question = _Question(port, server)
    request = build(Method.BINDING, Kind.REQUEST, question.transaction, b"")
    wait_s = _FIRST_RETRY_S
    try:
        while not question.mapped.done():
            port.send(request, server)
            await asyncio.wait({question.mapped}, timeout=wait_s)
            wait_s *= 2
    finally:
        port.checks.pop(question.transaction, None)
    mapped = question.mapped.result()
    if mapped is not None and mapped != port.address:
        gathered.reflexive.append((port, mapped))


async def _resolved(url: ServerUrl, is_ipv6: bool | None = None) -> Address | None:
    """Return the server's address, None when it has none of the wanted family; raises RelayError."""
    with contextlib.suppress(ValueError):
        numeric = ipaddress.ip_address(url.host)
        return (url.host, url.port) if is_ipv6 in (None, numeric.version == 6) else None
    family = {None: socket.AF_UNSPEC, True: socket.AF_INET6, False: socket.AF_INET}[is_ipv6]
    kind = socket.SOCK_DGRAM if url.transport == "udp" else socket.SOCK_STREAM
    try:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, family=family, type=kind)
    except socket.gaierror as error:
        if is_ipv6 is not None and error.errno in (socket.EAI_ADDRFAMILY, socket.EAI_NODATA, socket.EAI_NONAME):
            return None
        raise RelayError(f"{url.text}: the name {url.host} cannot be resolved: {error.strerror}") from error
    return (str(found[0][4][0]), int(found[0][4][1])) if found else None


# --- TURN -------------------------------------------------------------------------------------------------------------


async def _relayed(
    gathered: Gathered, host: PeerHost, url: ServerUrl, server: IceServer, tls_ca: str | None, *, wants_ipv6: bool
) -> None:
    address = await _resolved(url)
    if address is None:
        raise RelayError(f"{url.text}: the name {url.host} has no address")
    carrier = await _carrier(host, url, address, tls_ca)
    client = TurnClient(
        server.username or "", server.credential or "", is_reliable=carrier.is_reliable, wants_ipv6=wants_ipv6
    )
    relay = host.relay_port(url.text, client, carrier)
    try:
        await relay.allocate()
    except BaseException:
        relay.close()
        raise
    gathered.relays.append(relay)


async def _carrier(host: PeerHost, url: ServerUrl, server: Address, tls_ca: str | None) -> Carrier:
    if url.transport == "udp":
        return UdpCarrier(host.media_loop, _local_address(url, server), server)
    tls = TlsPipe(tls_context(tls_ca), url.host) if url.transport == "tls" else None
    try:
        sock = await connect(server, tls)
    except (OSError, ssl.SSLError) as error:
        raise RelayError(f"TURN {url.text} {explain(error)}") from error
    return StreamCarrier(host.media_loop, sock, tls)


def _local_address(url: ServerUrl, server: Address) -> str:
    """Return the address of ours from which this host reaches the server."""
    with socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(server)
        except OSError as error:
            raise RelayError(f"TURN {url.text} cannot be reached: {error.strerror}") from error
        return str(probe.getsockname()[0])
