"""The first hop of a SIP call: which address, by which transport, and the flow to it; errors say what to do."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from harness.callers.addresses import as_literal, local_towards, resolve
from harness.callers.exhaustion import raise_if_ours
from harness.callers.setup_failure import SetupFailure
from harness.model.errors import RemoteProtocolError
from harness.model.plan import SipSpec
from harness.model.records import Cause
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.uri import Uri, parse_uri
from harness.signalling.sip_endpoint import SipEndpoint
from harness.signalling.tls import client_context

K = TypeVar("K")
V = TypeVar("V")

# RFC 3261 19.1.2; NAPTR and SRV (RFC 3263) are not looked up: a name stands for its addresses.
_PORTS: Mapping[str, int] = {"udp": 5060, "tcp": 5060, "tls": 5061}
# Of what is remembered of hops: redirects may name any number of them.
MOST_KEPT = 1_000
UDP, TCP, TLS = "udp", "tcp", "tls"


@dataclass(frozen=True, slots=True)
class Hop:
    """Where requests go first."""

    transport: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} over {self.transport}"


@lru_cache(maxsize=256)
def read_uri(text: str, what: str) -> Uri:
    """Return the SIP URI in `text`; SetupFailure where there is none to be called."""
    try:
        uri = parse_uri(text)
    except RemoteProtocolError as error:
        raise SetupFailure(Cause.SIP_REDIRECTED, f"{what}: {error}") from error
    if not uri.is_sip or not uri.host:
        raise SetupFailure(Cause.SIP_REDIRECTED, f"{what}: {text!r} is nowhere to call; legal: sip:user@host:port")
    return uri


def hop_of(uri: Uri, transport: str) -> Hop:
    """Return the hop that `uri` names, where nothing stands before it; `transport` is for one that names none."""
    chosen = TLS if uri.scheme == "sips" else (uri.params.get("transport") or transport).lower()
    if chosen not in _PORTS:
        raise SetupFailure(Cause.SIP_REDIRECTED, f"{uri}: transport {chosen!r}; legal: {', '.join(_PORTS)}")
    return Hop(chosen, uri.address, uri.port or _PORTS[chosen])


def first_hop(uri: Uri, spec: SipSpec) -> Hop:
    """Return the target's first hop: its outbound proxy, or itself, by the transport that the scenario decided on."""
    via = read_uri(spec.proxy, "target.sip.proxy") if spec.proxy else uri
    return Hop(spec.transport, via.address, via.port or _PORTS[spec.transport])


class Hops:
    """Opens flows; belongs to one endpoint. TLS contexts are made once a file of certificates."""

    def __init__(self, endpoint: SipEndpoint) -> None:
        self._endpoint = endpoint
        self._contexts: dict[tuple[str | None, bool], ssl.SSLContext] = {}
        # The local address towards each remote one: asking the kernel takes three system calls.
        self._local: dict[str, str] = {}
        # Flows of datagrams to addresses, which never change; a name may come to stand for another address.
        self._datagrams: dict[Hop, Flow] = {}

    async def flow(self, hop: Hop, spec: SipSpec) -> Flow:
        """Return a flow to `hop`. Raises SetupFailure, GeneratorError."""
        known = self._datagrams.get(hop)
        if known is not None:
            return known
        remote = await resolve(hop.host, hop.port)
        local = self._local.get(remote[0])
        if local is None:
            local = local_towards(remote)
            keep(self._local, remote[0], local)
        try:
            context = self._context(spec) if hop.transport == TLS else None
            flow = await self._endpoint.open_flow(
                hop.transport, remote, local_host=local, tls=context, server_name=hop.host if context else None
            )
        except OSError as error:
            raise_if_ours(error, f"connecting to {hop}")
            raise SetupFailure(Cause.SIGNALLING_UNREACHABLE, f"{hop}: {why(error)}") from error
        if hop.transport == UDP and as_literal(hop.host) is not None:
            keep(self._datagrams, hop, flow)
        return flow

    def _context(self, spec: SipSpec) -> ssl.SSLContext:
        key = (spec.tls_ca, spec.tls_verify)
        if key not in self._contexts:
            ca = None if spec.tls_ca is None else Path(spec.tls_ca)
            self._contexts[key] = client_context(ca, verify=spec.tls_verify)
        return self._contexts[key]


def keep(kept: dict[K, V], key: K, value: V) -> None:
    """Remember `value`, and forget what is oldest where there is no more room."""
    if key not in kept and len(kept) >= MOST_KEPT:
        del kept[next(iter(kept))]
    kept[key] = value


def why(error: OSError) -> str:
    """Word why a connection could not be had."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"TLS: its certificate is not accepted: {error.verify_message}; legal: target.sip.tls_ca names the file of "
            "its authority, or target.sip.tls_verify: false"
        )
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}; does it speak TLS there?"
    if isinstance(error, TimeoutError):
        return "no connection: timed out"
    # asyncio puts words of its own in place of the system's.
    return os.strerror(error.errno).lower() if error.errno else str(error)
