"""Is the target there? Asked once before a run, so that a wrong address costs seconds and not a run of failed calls.

http, ws     GET /healthz of the origin; any answer of HTTP will do (ws: any at all)
rtp          nothing can be asked: that there is a way to it is all that is known before the first call
sip by udp   OPTIONS; a port where nobody listens is an error, silence is not: many agents answer their callers only
sip, else    a connection, with TLS where it has that
audiosocket  a connection
"""

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from harness.model.errors import TargetError
from harness.model.plan import SipSpec, TargetSpec
from harness.scenario import sip_options
from harness.scenario.target.address import parse_sip, scheme_of

TIMEOUT_S = 5.0
_MAX_INFO_BYTES = 1_000_000
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_Info = dict[str, Any] | None


def probe(target: TargetSpec, timeout_s: float = TIMEOUT_S) -> _Info:
    """Look for `target`; return what it says of itself (the JSON object of /healthz or OPTIONS), None for nothing.

    Raises TargetError naming the address when nobody is there.
    """
    return _PROBES[scheme_of(target.url)](target, timeout_s)


def probe_all(targets: Mapping[str, TargetSpec]) -> dict[str, _Info]:
    """Look for every target; return by name what each says of itself. Raises TargetError naming all that are away."""
    found: dict[str, _Info] = {}
    away: list[str] = []
    for name, target in targets.items():
        try:
            found[name] = probe(target)
        except TargetError as error:
            away.append(f"{name}: {error}" if name else str(error))
    if away:
        raise TargetError("\n".join(away))
    return found


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer too: the target is reachable, and another host is none of our business."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask_http(target: TargetSpec, timeout_s: float) -> _Info:
    return _ask_health(target.url, urlsplit(target.url).scheme, None, timeout_s)


def _ask_websocket(target: TargetSpec, timeout_s: float) -> _Info:
    """Ask the same port by HTTP, for a handshake would be a call; what speaks WebSocket only is there, too."""
    scheme = {"ws": "http", "wss": "https"}[scheme_of(target.url)]
    tls = _tls_context(None if target.stream is None else target.stream.ca, verify=True)
    try:
        return _ask_health(target.url, scheme, tls, timeout_s)
    except TargetError as error:
        if isinstance(error.__cause__, http.client.HTTPException | ConnectionResetError):
            return None
        raise


def _ask_health(url: str, scheme: str, tls: ssl.SSLContext | None, timeout_s: float) -> _Info:
    parts = urlsplit(url)
    # Straight to the target: a proxy of the environment would answer in its stead.
    handlers = (urllib.request.ProxyHandler({}), _StayHere(), urllib.request.HTTPSHandler(context=tls))
    try:
        opened = urllib.request.build_opener(*handlers).open(f"{scheme}://{parts.netloc}/healthz", timeout=timeout_s)
        with opened as response:
            return _object(response.read(_MAX_INFO_BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        return None
    except (OSError, http.client.HTTPException, ValueError) as error:
        address = f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"
        why = f"{_why(error, timeout_s)} (asked {address} for /healthz)"
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        raise TargetError(f"target unreachable: {url}: {why}") from (cause if isinstance(cause, Exception) else error)


def _check_route(target: TargetSpec, _timeout_s: float) -> _Info:
    """Raise TargetError where the host does not resolve or no route leads to it; sends nothing."""
    parts = urlsplit(target.url)
    try:
        with closing(_udp_socket(parts.hostname or "", parts.port or 0)):
            return None
    except OSError as error:
        raise _unreachable(target.url, error, 0) from error


def _udp_socket(host: str, port: int) -> socket.socket:
    family, kind, _protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, kind)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def _connect(target: TargetSpec, timeout_s: float) -> _Info:
    parts = urlsplit(target.url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout_s).close()
    except OSError as error:
        raise _unreachable(target.url, error, timeout_s) from error
    return None


# --- SIP -----------------------------------------------------------------------------------------------------------


def _ask_sip(target: TargetSpec, timeout_s: float) -> _Info:
    sip = target.sip or SipSpec()
    there = parse_sip(sip.proxy or target.url)
    port = there.port or (5061 if sip.transport == "tls" else 5060)
    try:
        if sip.transport == "udp":
            with closing(_udp_socket(there.host, port)) as sock:
                return _object(sip_options.ask(sock, target.url, sip, timeout_s) or b"")
        with socket.create_connection((there.host, port), timeout_s) as connection:
            if sip.transport == "tls":
                tls = _tls_context(sip.tls_ca, sip.tls_verify)
                tls.wrap_socket(connection, server_hostname=there.host).close()
    except OSError as error:
        where = f"{sip.transport} to {there.host}:{port}"
        raise TargetError(f"target unreachable: {target.url}: {_why(error, timeout_s)} ({where})") from error
    return None


def _tls_context(authority: str | None, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


# --- words ---------------------------------------------------------------------------------------------------------


def _object(body: bytes) -> _Info:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _unreachable(url: str, error: OSError, timeout_s: float) -> TargetError:
    return TargetError(f"target unreachable: {url}: {_why(error, timeout_s)}")


def _why(error: BaseException, timeout_s: float) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(reason, socket.gaierror):
        return f"the host name does not resolve: {reason.strerror}"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"TLS: {reason.verify_message}"
    if isinstance(reason, ssl.SSLError):
        return f"TLS: {reason.reason or reason}"
    if isinstance(reason, http.client.HTTPException):
        return f"something listens there, but it does not speak HTTP ({type(reason).__name__})"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return str(reason)


_PROBES: dict[str, Callable[[TargetSpec, float], _Info]] = {
    "http": _ask_http,
    "https": _ask_http,
    "ws": _ask_websocket,
    "wss": _ask_websocket,
    "rtp": _check_route,
    "sip": _ask_sip,
    "sips": _ask_sip,
    "audiosocket": _connect,
}
