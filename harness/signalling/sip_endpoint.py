"""The shell of a SIP user agent: its UDP sockets, TCP and TLS connections; its one timer and its clock by AgentPump.

socket, connection ─► agent.receive ─┐
timer ──────────────► agent.handle_timers ─► flush(): outputs to their flows, events to `on_event`, timer set anew
caller's own call ──► agent.invite, ... ─┘
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import ifaddr

from harness.protocols.sip.events import Event
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.agent_pump import AgentPump
from harness.signalling.stream import SipStream
from harness.signalling.udp_socket import Address, UdpSocket

# So long a peer may take to end a connection that we close: 0.5 s.
_GOODBYE_STEPS, _GOODBYE_STEP_S = 50, 0.01
_BACKLOG = 4096
_HANDSHAKE_S = 10.0
MAX_CONNECTIONS = 10_000
# Senders a socket keeps the flow of.
_FLOWS_KEPT = 10_000
_PORT_TRIES = 20


@dataclass
class EndpointCounts:
    """What went through the sockets since the start; `connections` is a gauge."""

    received: int = 0
    sent: int = 0
    # Outputs whose connection was gone, or that the kernel would not take.
    unsent: int = 0
    unreachable: int = 0
    connections: int = 0
    # Connections refused because there were MAX_CONNECTIONS, and those cut for sending what is no SIP.
    refused_connections: int = 0
    bad_streams: int = 0
    # Datagrams the kernel dropped because this process read too slowly; up to date after `take_counts`.
    dropped: int = 0


class SipEndpoint(AgentPump):
    """Give it an agent; `listen_*` or `open_flow`, then call the agent with `now_ns()` and `flush()` behind it."""

    def __init__(
        self,
        agent: UserAgent,
        on_event: Callable[[Event], None],
        on_lost: Callable[[Flow, str], None] = lambda _flow, _why: None,
    ) -> None:
        super().__init__(agent, on_event)
        self.counts = EndpointCounts()
        # Told of each connection that is gone, and why: a call that has nothing to ask of it learns it so.
        self._on_lost = on_lost
        self._sockets: list[UdpSocket] = []
        self._by_local: dict[Address, UdpSocket] = {}
        self._servers: list[asyncio.Server] = []
        self._streams: dict[int, SipStream] = {}
        self._connections = 0
        self._dialled: dict[tuple[str, Address, str | None, str | None, int], asyncio.Task[SipStream]] = {}
        self._dropped_before = 0

    def take_counts(self) -> EndpointCounts:
        """Return the counts as they are now."""
        self.counts.dropped = self._dropped_before + sum(sock.dropped for sock in self._sockets)
        return self.counts

    # --- sockets ---------------------------------------------------------------------------------------------------

    async def listen(self, host: str, port: int = 0) -> Address:
        """Take datagrams and connections on one port; returns the first address. OSError when it is taken."""
        for tries_left in reversed(range(1 if port else _PORT_TRIES)):
            bound = await self.listen_udp(host, port)
            try:
                await self.listen_tcp(host, bound[1])
            except OSError:
                # The kernel picked a port for UDP that something else has for TCP.
                for sock in [sock for sock in self._sockets if sock.address[1] == bound[1]]:
                    self._close_udp(sock)
                if not tries_left:
                    raise
            else:
                return bound
        raise AssertionError("unreachable: the last try raises")

    async def listen_udp(self, host: str, port: int = 0) -> Address:
        """Take datagrams on `host`:`port`; a wildcard takes every address of this host. Returns the first address."""
        opened: list[UdpSocket] = []
        try:
            for address in own_addresses(host):
                opened.append(self._open_udp(address, opened[0].address[1] if opened else port))
        except OSError:
            for sock in opened:
                self._close_udp(sock)
            raise
        return opened[0].address

    def _open_udp(self, host: str, port: int) -> UdpSocket:
        address: Address = (host, port)

        flows: dict[Address, Flow] = {}

        def arrived(data: bytes, source: Address, at_ns: int) -> None:
            self.counts.received += 1
            flow = flows.get(source)
            if flow is None:
                if len(flows) >= _FLOWS_KEPT:
                    flows.clear()
                flow = flows[source] = Flow("udp", address, source)
            # CRLF alone keeps a NAT's binding open (RFC 5626 4.4.1 has STUN for it, but many send this).
            if data[0:1].isalpha() or data.strip(b"\r\n\0 "):
                self.agent.receive(data, flow, at_ns)

        def failed(peer: Address, why: str) -> None:
            self.counts.unreachable += 1
            self.agent.flow_failed(Flow("udp", address, peer), self.now_ns(), why)

        sock = UdpSocket(host, port, on_datagram=arrived, on_batch=self.flush, on_error=failed)
        address = sock.address
        self._sockets.append(sock)
        self._by_local[address] = sock
        return sock

    def _close_udp(self, sock: UdpSocket) -> None:
        self._sockets.remove(sock)
        self._dropped_before += sock.dropped
        del self._by_local[sock.address]
        sock.close()

    async def listen_tcp(self, host: str, port: int = 0, tls: ssl.SSLContext | None = None) -> Address:
        """Take connections on `host`:`port`, with TLS where a context is given. Returns the bound address."""
        name = "tcp" if tls is None else "tls"
        server = await asyncio.get_running_loop().create_server(
            lambda: self._new_stream(name),
            host,
            port,
            ssl=tls,
            backlog=_BACKLOG,
            reuse_address=True,
            ssl_handshake_timeout=_HANDSHAKE_S if tls else None,
        )
        self._servers.append(server)
        bound = server.sockets[0].getsockname()
        return bound[0], bound[1]

    async def open_flow(
        self,
        transport: str,
        remote: Address,
        *,
        local_host: str | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> Flow:
        """Return the way to `remote`, a numeric address: a bound socket's, or an open or new connection's. OSError."""
        if transport == "udp":
            return Flow("udp", self._udp_at(local_host or _source_towards(remote)).address, remote)
        if transport == "tls" and tls is None:
            raise ValueError("a TLS flow needs a context")
        key = (transport, remote, local_host, server_name, id(tls))
        dialling = self._dialled.get(key)
        if dialling is None:
            dialling = asyncio.ensure_future(self._dial(transport, remote, local_host, tls, server_name))
            # Read even when all who waited have gone.
            dialling.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._dialled[key] = dialling
        try:
            # Several calls may wait for one connection: one that gives up does not take it from the others.
            stream = await asyncio.shield(dialling)
        except OSError:
            self._dialled.pop(key, None)
            raise
        if stream.flow.connection in self._streams:
            return stream.flow
        self._dialled.pop(key, None)
        return await self.open_flow(transport, remote, local_host=local_host, tls=tls, server_name=server_name)

    def udp_socket(self, local: Address) -> UdpSocket | None:
        """Return the socket bound there."""
        return self._by_local.get(local)

    def _udp_at(self, host: str) -> UdpSocket:
        return next((sock for sock in self._sockets if sock.address[0] == host), None) or self._open_udp(host, 0)

    async def _dial(
        self,
        transport: str,
        remote: Address,
        local_host: str | None,
        tls: ssl.SSLContext | None,
        server_name: str | None,
    ) -> SipStream:
        _transport, stream = await asyncio.get_running_loop().create_connection(
            lambda: self._new_stream(transport),
            remote[0],
            remote[1],
            ssl=tls,
            server_hostname=(server_name or remote[0]) if tls else None,
            local_addr=(local_host, 0) if local_host else None,
            ssl_handshake_timeout=_HANDSHAKE_S if tls else None,
        )
        return stream

    def _new_stream(self, transport: str) -> SipStream:
        self._connections += 1
        return SipStream(
            transport,
            self._connections,
            on_open=self._stream_opened,
            on_message=self._message_arrived,
            on_batch=self.flush,
            on_closed=self._stream_closed,
        )

    def _stream_opened(self, stream: SipStream) -> None:
        if self._is_closed or len(self._streams) >= MAX_CONNECTIONS:
            self.counts.refused_connections += 1
            stream.abort(f"{MAX_CONNECTIONS} connections are open")
            return
        self._streams[stream.flow.connection] = stream
        self.counts.connections = len(self._streams)

    def _message_arrived(self, data: bytes, flow: Flow) -> None:
        self.counts.received += 1
        self.agent.receive(data, flow, self.now_ns())

    def _stream_closed(self, stream: SipStream, why: str) -> None:
        self.counts.bad_streams += stream.is_bad
        if self._streams.pop(stream.flow.connection, None) is not None:
            self.counts.connections = len(self._streams)
            self.agent.flow_failed(stream.flow, self.now_ns(), why)
            if not self._is_closed:
                self._on_lost(stream.flow, why)
            self.flush()

    # --- out -------------------------------------------------------------------------------------------------------

    def _send(self, flow: Flow, data: bytes) -> None:
        channel = self._by_local.get(flow.local) if flow.transport == "udp" else None
        if channel is not None:
            is_sent = channel.send(data, flow.remote)
        else:
            stream = self._streams.get(flow.connection)
            is_sent = stream is not None and stream.send(data)
        if is_sent:
            self.counts.sent += 1
        else:
            self.counts.unsent += 1
            if channel is None:
                # No timer brings a connection back: what waits for an answer over it fails now.
                self.agent.flow_failed(flow, self.now_ns(), "the connection is gone")

    async def aclose(self) -> None:
        """Stop listening, close every connection and socket. Calls still up are not told: hang them up before."""
        self._stop()
        for server in self._servers:
            server.close()
        for dialling in self._dialled.values():
            dialling.cancel()
        await asyncio.gather(*self._dialled.values(), return_exceptions=True)
        await self._close_streams()
        await asyncio.gather(*(server.wait_closed() for server in self._servers))
        for sock in list(self._sockets):
            self._close_udp(sock)

    async def _close_streams(self) -> None:
        """Close every connection; those whose peers do not read, or owe TLS their goodbye, are cut."""
        for stream in list(self._streams.values()):
            stream.close()
        for _ in range(_GOODBYE_STEPS):
            if not self._streams:
                return
            await asyncio.sleep(_GOODBYE_STEP_S)
        for stream in list(self._streams.values()):
            stream.abort("closed here")
        # A transport closes its socket in a step of its own.
        await asyncio.sleep(0)


def own_addresses(host: str) -> list[str]:
    """Return the addresses that `host` stands for: itself, or for a wildcard every one of this machine's."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return [host]
    found = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    if address.version == 4:
        return [ip for ip in found if isinstance(ip, str)]
    # A link-local address needs a scope, which Via and Contact cannot carry.
    return [ip[0] for ip in found if not isinstance(ip, str) and not ipaddress.ip_address(ip[0]).is_link_local]


def _source_towards(remote: Address) -> str:
    """Return the address this machine would send from."""
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        # Sends nothing: a UDP connect only looks the route up.
        probe.connect(remote)
        return str(probe.getsockname()[0])
