"""How the SIP edge is set up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from target_stack.edge.rtp.ports import ANY

EarlyMedia = Literal["none", "ringback", "greeting"]
EARLY_MEDIA: tuple[EarlyMedia, ...] = ("none", "ringback", "greeting")
MAX_RING_S = 10.0
# What callers are challenged with, in the order of RFC 8760.
DIGESTS = {"md5": ("MD5",), "sha-256": ("SHA-256",), "both": ("SHA-256", "MD5")}


@dataclass(frozen=True, slots=True)
class SipOptions:
    """What `up --sip-...` asks for. Ports: None = not served, 0 = any free one."""

    host: str = "127.0.0.1"
    # UDP and TCP.
    port: int | None = None
    tls_port: int | None = None
    certificate: Path | None = None
    key: Path | None = None
    # Calls at once; the next one is refused with 503.
    trunk_calls: int = 16
    retry_after_s: int = 5
    # What a caller hears before the 200: nothing; a ring-back tone for `ring_s`; the greeting, the 200 comes behind it.
    early_media: EarlyMedia = "none"
    ring_s: float = 0.0
    # Both ends included.
    rtp_ports: tuple[int, int] = ANY
    # "off": SRTP offers are refused; "optional": taken where offered; "required": nothing else is taken.
    srtp: str = "optional"
    # Name -> password: calls are challenged where there are any.
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    # One of DIGESTS. Not "both" by itself: there are telephones that give up where one challenge is unknown to them.
    digest: str = "md5"
    # What we ask for as session interval, None = only what the caller asks for.
    session_expires_s: int | None = None

    @property
    def is_on(self) -> bool:
        """Tell whether there is anything to serve."""
        return self.port is not None or self.tls_port is not None
