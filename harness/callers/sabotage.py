"""SDP made wrong on purpose: what a faulty caller says, and what it makes of the answer.

blocked_udp: neither side learns a port at which the other hears; mdns_only: the offer's candidates are names of the
local network (draft-ietf-mmusic-mdns-ice-candidates), as a browser's without a microphone's permission;
wrong_fingerprint: the certificate that is announced is not the one that is shown (RFC 8122 5); malformed: no SDP any
more (malformed.py). All but the last are WebRTC's.
"""

import re
import secrets

from harness.callers.malformed import malformed_sdp

_CANDIDATE = re.compile(r"(?m)^(a=candidate:\S+ \d+ \S+ \d+ )(\S+) (\d+)( .*)$")
_FINGERPRINT = re.compile(r"(?m)^(a=fingerprint:\S+ )([0-9A-Fa-f:]+)")
# RFC 863's, where nothing is to answer.
_DEAD_PORT = "9"


def offered(sdp: str, how: str) -> str:
    """Return the offer as it is sent; "" leaves it as it is."""
    match how:
        case "blocked_udp":
            return _CANDIDATE.sub(rf"\g<1>\g<2> {_DEAD_PORT}\g<4>", sdp)
        case "mdns_only":
            return _CANDIDATE.sub(lambda found: f"{found[1]}{secrets.token_hex(8)}.local {found[3]}{found[4]}", sdp)
        case "wrong_fingerprint":
            return _FINGERPRINT.sub(lambda found: found[1] + _other(found[2]), sdp)
        case "malformed":
            return malformed_sdp(sdp)
        case _:
            return sdp


def answered(sdp: str, how: str) -> str:
    """Return the answer as the call takes it."""
    return _CANDIDATE.sub(rf"\g<1>\g<2> {_DEAD_PORT}\g<4>", sdp) if how == "blocked_udp" else sdp


def _other(digest: str) -> str:
    """Return a fingerprint of the same length that is none of this certificate."""
    return ":".join(f"{int(octet, 16) ^ 0xFF:02X}" for octet in digest.split(":"))
