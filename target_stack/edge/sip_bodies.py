"""What SIP messages carry: SDP, alone or among other parts; digits in INFO."""

import email.parser
import email.policy

from harness.protocols import dtmf
from harness.protocols.sip.message import Request
from target_stack.edge.rtp.digits import Digit

SDP_TYPE = "application/sdp"
_RELAY_TYPES = ("application/dtmf-relay", "application/dtmf")
_USUAL_MS = 100.0


def sdp_of(request: Request) -> bytes | None:
    """Return the SDP of a request's body, b"" where it has no body, None where the body is something else.

    Trunks also send several parts, SDP and ISUP or a location (RFC 5621).
    """
    if not request.body:
        return b""
    kind = request.content_type.partition(";")[0].strip().lower()
    if kind == SDP_TYPE:
        return request.body
    if not kind.startswith("multipart/"):
        return None
    head = f"Content-Type: {request.get('content-type')}\r\n\r\n".encode(errors="replace")
    whole = email.parser.BytesParser(policy=email.policy.SMTP).parsebytes(head + request.body)
    for part in whole.walk():
        if part.get_content_type() == SDP_TYPE:
            content = part.get_payload(decode=True)
            return content if isinstance(content, bytes) else None
    return None


def relayed_digit(content_type: str, body: bytes) -> Digit | None:
    """Return the key that an INFO tells of: `Signal=5` and `Duration=160`, or the bare key; None for anything else."""
    if content_type.partition(";")[0].strip().lower() not in _RELAY_TYPES:
        return None
    signal, duration_ms = "", _USUAL_MS
    for line in body.decode("ascii", errors="replace").splitlines():
        name, equals, value = line.partition("=")
        if not equals:
            signal = signal or name.strip()
        elif name.strip().lower() == "signal":
            signal = value.strip()
        elif name.strip().lower() == "duration" and value.strip().isdecimal():
            duration_ms = float(value.strip()[:6])
    signal = signal.upper()
    return Digit(signal, duration_ms) if len(signal) == 1 and signal in dtmf.DIGITS else None
