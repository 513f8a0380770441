"""Is the target there? Asked once before a run, so that a wrong address costs seconds and not a run of failed calls."""

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from harness.model.errors import TargetError

TIMEOUT_S = 5.0
_MAX_INFO_BYTES = 1_000_000


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer too: the target is reachable, and another host is none of our business."""

    def redirect_request(self, *_: Any) -> None:
        return None


def probe(url: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any] | None:
    """Ask the origin of `url` for /healthz; return its JSON object, None where it has none.

    Any HTTP status counts as reachable. An rtp:// address cannot be asked anything: that there is a way to it is all
    that is known before the first call. Raises TargetError naming the address when nothing answers HTTP there.
    """
    parts = urlsplit(url)
    if parts.scheme == "rtp":
        _check_route(url, parts.hostname or "", parts.port or 0)
        return None
    health = f"{parts.scheme}://{parts.netloc}/healthz"
    # Straight to the target: a proxy of the environment would answer in its stead.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _StayHere())
    try:
        with opener.open(health, timeout=timeout_s) as response:
            return _object(response.read(_MAX_INFO_BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        return None
    except (OSError, http.client.HTTPException, ValueError) as error:
        address = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        raise TargetError(
            f"target unreachable: {url}: {_why(error, timeout_s)} (asked {address} for /healthz)"
        ) from error


def _check_route(url: str, host: str, port: int) -> None:
    """Raise TargetError where the host does not resolve or no route leads to it; sends nothing."""
    try:
        family, kind, _protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probing:
            probing.connect(address)
    except OSError as error:
        raise TargetError(f"target unreachable: {url}: {_why(error, 0)}") from error


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _why(error: BaseException, timeout_s: float) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(reason, socket.gaierror):
        return f"the host name does not resolve: {reason.strerror}"
    if isinstance(reason, ssl.SSLError):
        return f"TLS: {reason.reason or reason}"
    if isinstance(reason, http.client.HTTPException):
        return f"something listens there, but it does not speak HTTP ({type(reason).__name__})"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return str(reason)
