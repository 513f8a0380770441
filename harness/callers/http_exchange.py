"""One signalling request over HTTP: redirects that keep method and body, time-outs, and what to say when it fails."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from harness.callers.conduct import DELAYED, Conduct
from harness.callers.exhaustion import raise_if_ours
from harness.callers.setup_failure import SetupFailure
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.plan import TargetSpec
from harness.model.records import Cause

_logger = logging.getLogger(__name__)
_SHOWN = 200
_MOST_REDIRECTS = 5
# Descriptions and refusals have some kilobytes.
MOST_BODY_BYTES = 1 << 20
_END_TIMEOUT_S = 3.0
# What may be told of an answer's headers: no cookie, no token.
_TOLD_HEADERS = ("Content-Type", "Location", "ETag", "Link", "Accept-Patch", "Retry-After", "Server")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; `url` is where it came from, after redirects."""

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    links: tuple[str, ...]
    body: bytes
    # From the request to the whole answer, redirects included.
    took_ns: int

    @property
    def text(self) -> str:
        """The body as text, unreadable bytes replaced."""
        return self.body.decode(errors="replace")

    @property
    def location(self) -> str | None:
        """Where Location points, None without one that can be read."""
        try:
            return urljoin(self.url, self.headers["Location"]) if "Location" in self.headers else None
        except ValueError:
            # An open bracket, say.
            return None

    def refusal(self, asked: str) -> SetupFailure:
        """Return the failure that this answer is to a request sent to `asked`."""
        told = f"HTTP {self.status} from {self.url}: {self.text[:_SHOWN].strip() or self.reason}"
        if "Retry-After" in self.headers:
            told += f" (Retry-After: {self.headers['Retry-After']})"
        if self.status in (401, 403) and not is_same_origin(self.url, asked):
            told += f" (redirected from {asked}, whose headers are not sent to another origin)"
        return SetupFailure(Cause.SIGNALLING_REFUSED, told)


@dataclass(slots=True)
class Requests:
    """What was asked of one target, for those who want to know; `log` stays empty unless `is_kept`."""

    http: aiohttp.ClientSession
    target: TargetSpec
    is_kept: bool = False
    log: list[dict[str, Any]] = field(default_factory=list)
    # None: every request leaves at once.
    conduct: Conduct | None = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> Reply:
        """Send one request and return its answer, whatever its status; SetupFailure where there is none.

        307 and 308 are followed (RFC 9725 4.7); the target's headers go to its own origin only.
        """
        asked_at_ns = monotonic_ns()
        try:
            async with asyncio.timeout(timeout_s):
                if self.conduct is not None and self.conduct.delay_ns:
                    await asyncio.sleep(self.conduct.delay_ns / NS_PER_S)
                    # One that nobody waited for so long does not leave at all.
                    self.conduct.counts[DELAYED] += 1
                for _ in range(_MOST_REDIRECTS):
                    reply = await self._once(method, url, headers, body, asked_at_ns)
                    if reply.status not in (307, 308) or reply.location is None:
                        return reply
                    url = _checked(reply.location, reply)
        except TimeoutError as error:
            detail = f"no answer from {url} within {timeout_s:.0f} s"
            raise SetupFailure(Cause.SIGNALLING_TIMEOUT, detail) from error
        except (aiohttp.ClientError, OSError) as error:
            raise_if_ours(error, f"connecting to {url}")
            raise SetupFailure(Cause.SIGNALLING_UNREACHABLE, f"{url}: {error}") from error
        raise SetupFailure(Cause.SIGNALLING_REFUSED, f"{self.target.url}: more than {_MOST_REDIRECTS} redirects")

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, asked_at_ns: int
    ) -> Reply:
        sent_at_ns = monotonic_ns()
        own = self.target.headers if is_same_origin(url, self.target.url) else {}
        sent = {**headers, **own}
        async with self.http.request(method, url, data=body, headers=sent, allow_redirects=False) as response:
            content = await _body(response)
            now = monotonic_ns()
            links = tuple(response.headers.getall("Link", []))
            reason = response.reason or ""
            reply = Reply(url, response.status, reason, response.headers, links, content, now - asked_at_ns)
        if self.is_kept:
            told = {name: response.headers[name] for name in _TOLD_HEADERS if name in response.headers}
            entry = {"method": method, "url": url, "status": reply.status, "reason": reply.reason, "headers": told}
            self.log.append({**entry, "at_ns": sent_at_ns, "took_ms": (now - sent_at_ns) / 1e6})
        return reply

    async def end(self, url: str) -> None:
        """DELETE what `url` names; an agent that does not care to be told is no failure of the call."""
        with contextlib.suppress(SetupFailure, ValueError):
            reply = await self.send("DELETE", url, {}, None, _END_TIMEOUT_S)
            if reply.status >= 300:
                _logger.debug("DELETE %s: HTTP %d", url, reply.status)


def is_same_origin(one: str, other: str) -> bool:
    """Tell whether two addresses have scheme, host and port in common: what headers say may be a secret."""
    return urlsplit(one)[:2] == urlsplit(other)[:2]


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Return the whole body, unpacked; SetupFailure where it is too long for one that means us well."""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MOST_BODY_BYTES:
            response.close()
            detail = f"HTTP {response.status} from {response.url}: its body is longer than {MOST_BODY_BYTES} bytes"
            raise SetupFailure(Cause.SIGNALLING_REFUSED, f"{detail}, the most that is read")
    return bytes(content)


def _checked(url: str, reply: Reply) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        detail = f"HTTP {reply.status} from {reply.url} redirects to {url[:_SHOWN]!r}, which is no http address"
        raise SetupFailure(Cause.SIGNALLING_REFUSED, detail)
    return url
