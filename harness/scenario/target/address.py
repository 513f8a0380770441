"""Addresses a caller can use, one row for each kind: http, rtp, sip, ws, audiosocket."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

# The first transport of a scheme is its default.
TRANSPORTS: dict[str, tuple[str, ...]] = {
    "http": ("webrtc", "rtp"),
    "https": ("webrtc", "rtp"),
    "rtp": ("rtp",),
    "sip": ("sip",),
    "sips": ("sip",),
    "ws": ("media_stream",),
    "wss": ("media_stream",),
    "audiosocket": ("media_stream",),
}
PATTERN = r"^(https?://[^\s/]+(/\S*)?|(rtp|audiosocket)://[^\s/]+/?|wss?://[^\s/]+(/\S*)?|sips?:[^\s/]\S*)$"
_HTTP = "http://host:port/path or https://..., port 1 to 65535"
_RTP = "rtp://host:port, port 1 to 65535"
_SIP = "sip:user@host:port;transport=udp|tcp|tls or sips:..., port 1 to 65535"
_WS = "ws://host:port/path or wss://..., port 1 to 65535"
_AUDIOSOCKET = "audiosocket://host:port, port 1 to 65535"
_LEGAL = {
    "http": _HTTP,
    "https": _HTTP,
    "rtp": _RTP,
    "sip": _SIP,
    "sips": _SIP,
    "ws": _WS,
    "wss": _WS,
    "audiosocket": _AUDIOSOCKET,
}
# What it is called, for those that are an address and a port alone.
_BARE = {"rtp": "plain RTP", "audiosocket": "AudioSocket"}
_ALL = f"{_HTTP}; {_RTP}; {_SIP}; {_WS}; {_AUDIOSOCKET}"
_USER = re.compile(r"(?:[A-Za-z0-9_.!~*'()&=+$,;?/#-]|%[0-9A-Fa-f]{2})+")
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]")
SIP_TRANSPORTS = ("udp", "tcp", "tls")


def scheme_of(url: str) -> str:
    """Return the scheme in small letters."""
    return url.partition(":")[0].lower()


def check_url(url: str) -> str:
    """Return `url` when a caller can use it; ValueError says what is wrong with it."""
    scheme = scheme_of(url)
    legal = f"legal: {_LEGAL.get(scheme, _ALL)}"
    if any(c.isspace() or ord(c) < 0x20 for c in url):
        raise ValueError(f"got {url!r}: white space in it; {legal}")
    if "${" in url:
        raise ValueError(f"got {url!r}: reports show addresses, so that no secret can be in one; legal: in headers")
    if scheme in ("sip", "sips"):
        parse_sip(url)
        return url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"got {url!r}: {error}; {legal}") from error
    if scheme not in _LEGAL or not parts.hostname or port == 0:
        raise ValueError(f"got {url!r}: nobody can be called there; legal: {_ALL}")
    if scheme in _BARE and (port is None or _has_more(parts)):
        raise ValueError(f"got {url!r}: an address and a port is all there is to {_BARE[scheme]}; {legal}")
    if scheme in ("ws", "wss") and parts.fragment:
        raise ValueError(f"got {url!r}: a WebSocket's address has no fragment (RFC 6455 3); {legal}")
    return url


def _has_more(parts: SplitResult) -> bool:
    return bool(parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None)


@dataclass(frozen=True, slots=True)
class SipAddress:
    """A SIP URI as far as a target needs it."""

    scheme: str
    user: str | None
    # IPv6 without brackets.
    host: str
    port: int | None
    # Small letters; None where the URI does not say.
    transport: str | None

    def first_hop(self, override: str | None = None) -> str:
        """Return "udp", "tcp" or "tls": what the scenario says, what the URI says, or its scheme's default."""
        return override or self.transport or ("tls" if self.scheme == "sips" else "udp")


def parse_sip(url: str) -> SipAddress:
    """Take a SIP URI apart; ValueError says what a target's cannot be. Source: RFC 3261 19.1."""
    legal = f"legal: {_SIP}"
    scheme, _, rest = url.partition(":")
    scheme = scheme.lower()
    if scheme not in ("sip", "sips"):
        raise ValueError(f"got {url!r}: not a SIP address; {legal}")
    userinfo, at, there = rest.rpartition("@")
    if ":" in userinfo:
        raise ValueError(f"got {scheme}:...@{there}: a password in an address; legal: in target.sip.password")
    if at and not _USER.fullmatch(userinfo):
        raise ValueError(f"got {url!r}: {userinfo!r} is no user of a SIP address; {legal}")
    if "?" in there:
        raise ValueError(f"got {url!r}: an address that is called has no headers (RFC 3261 19.1.1); {legal}")
    place, *parameters = there.split(";")
    bare = re.fullmatch(rf"({_HOST.pattern})(?::([0-9]{{1,5}}))?", place)
    port = None if bare is None or bare[2] is None else int(bare[2])
    if bare is None or (port is not None and not 1 <= port <= 65535):
        raise ValueError(f"got {url!r}: {place!r} is no host and port; {legal}")
    return SipAddress(scheme, userinfo or None, bare[1].strip("[]"), port, _transport(url, scheme, parameters))


def _transport(url: str, scheme: str, parameters: list[str]) -> str | None:
    said = dict(parameter.lower().partition("=")[::2] for parameter in parameters).get("transport")
    legal = SIP_TRANSPORTS if scheme == "sip" else ("tcp", "tls")
    if said is not None and said not in legal:
        raise ValueError(f"got {url!r}: transport={said}; legal for {scheme}: {', '.join(legal)}")
    # sips: is TLS whatever carries it (RFC 3261 26.2.2).
    return "tls" if said is not None and scheme == "sips" else said
