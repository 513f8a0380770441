"""WHIP (RFC 9725) without HTTP: what its headers say, and the bodies of its PATCH (RFC 8840)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.model.errors import RemoteProtocolError
from harness.model.plan import IceServer

SDP_TYPE = "application/sdp"
FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"
_MOST_SERVERS = 16
_MOST_LINES = 500
_LINK = re.compile(r"\s*<([^>]*)>")
# A parameter of RFC 8288 3: a token, and its value as a token or a quoted string.
_PARAMETER = re.compile(r'\s*;\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?')


def ice_servers(links: Iterable[str]) -> tuple[IceServer, ...]:
    """Return the servers that Link headers name with rel="ice-server" (RFC 9725 4.6), as many as a call may ask.

    A header that cannot be read names none: a hint is no reason to fail a call.
    """
    servers: list[IceServer] = []
    for header in links:
        for target, parameters in _links(header):
            if "ice-server" not in parameters.get("rel", "").lower().split():
                continue
            if target.startswith(("stun:", "turn:", "turns:")):
                servers.append(IceServer((target,), parameters.get("username"), parameters.get("credential")))
    return tuple(servers[:_MOST_SERVERS])


def _links(header: str) -> Iterable[tuple[str, dict[str, str]]]:
    position = 0
    while (found := _LINK.match(header, position)) is not None:
        position = found.end()
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(header, position)) is not None:
            quoted = parameter[2]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3] or ""
            # The first of a name holds (RFC 8288 3.3).
            parameters.setdefault(parameter[1].lower(), value)
            position = parameter.end()
        yield found[1], parameters
        comma = re.compile(r"\s*,").match(header, position)
        if comma is None:
            return
        position = comma.end()


@dataclass(frozen=True, slots=True)
class Fragment:
    """Late candidates of one session, as a PATCH carries them."""

    ufrag: str
    password: str
    # Lines without "a=", like "candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host".
    candidates: tuple[str, ...] = ()
    is_complete: bool = False
    mid: str = "0"


def build_fragment(fragment: Fragment, bundled: Sequence[str]) -> str:
    """Return the body of a PATCH (RFC 8840 9, RFC 9725 4.3.2); `bundled` are the mids of the offer."""
    lines = [
        *([f"a=group:BUNDLE {' '.join(bundled)}"] if bundled else []),
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        f"a=mid:{fragment.mid}",
        f"a=ice-ufrag:{fragment.ufrag}",
        f"a=ice-pwd:{fragment.password}",
        *(f"a={candidate}" for candidate in fragment.candidates),
        *(["a=end-of-candidates"] if fragment.is_complete else []),
    ]
    return "\r\n".join([*lines, ""])


def parse_fragment(body: bytes) -> Fragment:
    """Return the candidates in the body of a PATCH; RemoteProtocolError says what it lacks."""
    lines = body.decode(errors="replace").splitlines()
    if len(lines) > _MOST_LINES:
        raise RemoteProtocolError(f"the fragment has {len(lines)} lines, more than {_MOST_LINES}")
    values: dict[str, str] = {}
    candidates = []
    for line in lines:
        name, _, value = line.removeprefix("a=").partition(":")
        if name == "candidate":
            candidates.append(f"candidate:{value}")
        else:
            values.setdefault(name, value)
    if not values.get("ice-ufrag") or not values.get("ice-pwd"):
        raise RemoteProtocolError("the fragment has no a=ice-ufrag or a=ice-pwd (RFC 8840 9)")
    return Fragment(
        values["ice-ufrag"],
        values["ice-pwd"],
        tuple(candidates),
        "end-of-candidates" in values,
        values.get("mid", "0"),
    )
