"""One request over HTTP, blocking; what was said comes back whatever its status, and the JSON in it.

Every request of faults goes this way: to APIs that speak JSON, to hooks, and what undoes both.
"""

import http.client
import ipaddress
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from harness.faults.errors import FaultError

TIMEOUT_S = 5.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# Enough of an error's body to be told to somebody.
_MOST_SAID = 4_096


class NoAnswerError(FaultError):
    """Nobody answered. The text names the URL, which may hold secrets; `why` does not."""

    def __init__(self, url: str, error: Exception) -> None:
        cause = getattr(error, "reason", None) or error
        self.why = str(cause)
        # Nobody listens there, which is more than being out of reach.
        self.is_refused = isinstance(cause, ConnectionRefusedError)
        # It may have been carried out all the same.
        self.is_late = isinstance(cause, TimeoutError)
        super().__init__(f"{url}: {self.why}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said. `body` is its text, `said` the JSON in it, None where it is none."""

    status: int
    body: str
    said: Any

    @property
    def is_good(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300

    @property
    def error(self) -> str:
        """The reason that a refusal gives."""
        if isinstance(self.said, dict) and isinstance(self.said.get("error"), str):
            return str(self.said["error"])
        return self.body[:200].strip() or "no reason given"


def http_url(url: str) -> str:
    """Return a URL that is one to ask by HTTP. Raises ValueError: a variable may hold anything, file:// among it."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r}; legal: http:// or https://")
    return url


def exchange(
    method: str,
    url: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Return the answer, a refusal too. Raises NoAnswerError where there is none.

    `body`: bytes go as they are, anything else as JSON; headers that name no type say that it is JSON.
    """
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = dict(headers or {})
    if data is not None and not any(name.lower() == "content-type" for name in sent):
        sent["Content-Type"] = "application/json"
    try:
        request = urllib.request.Request(http_url(url), data, method=method)  # noqa: S310  http(s) by http_url
        for name, value in sent.items():
            # For who is asked: wherever they send us on to learns no token.
            request.add_unredirected_header(name, value)
        with _opener(request).open(request, timeout=timeout_s) as response:
            return _answer(response.status, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.read(_MOST_SAID))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswerError(url, error) from error


def _opener(request: urllib.request.Request) -> urllib.request.OpenerDirector:
    """Return what asks: what is on this machine never by the proxy of the environment, which has other ways to it."""
    host = urlsplit(request.full_url).hostname or ""
    try:
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = False
    return _DIRECT if is_here else urllib.request.build_opener()


def _answer(status: int, body: bytes) -> Answer:
    text = body.decode(errors="replace")
    try:
        return Answer(status, text, json.loads(text))
    except ValueError:
        return Answer(status, text, None)
