"""What a user agent is set to: names, timers, extensions (RFC 3261, 3262, 4028)."""

from dataclasses import dataclass, field

from harness.model.clock import NS_PER_MS
from harness.protocols.sip.digest import Verifier

ALLOW = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "PRACK", "UPDATE", "INFO")
# Option tags a peer may require of us.
EXTENSIONS = frozenset({"100rel", "timer"})
PRACK = ("off", "supported", "required")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerValues:
    """RFC 3261's T1 (round trip), T2 (longest gap) and T4 (life of a message on the net), in ms."""

    t1_ms: int = 500
    t2_ms: int = 4000
    t4_ms: int = 5000

    @property
    def t1_ns(self) -> int:
        """T1."""
        return self.t1_ms * NS_PER_MS

    @property
    def t2_ns(self) -> int:
        """T2."""
        return self.t2_ms * NS_PER_MS

    @property
    def t4_ns(self) -> int:
        """T4."""
        return self.t4_ms * NS_PER_MS

    @property
    def give_up_ns(self) -> int:
        """64 * T1: timers B, F, H, J, L, M, and how long a 2xx or a reliable 1xx is repeated."""
        return 64 * self.t1_ms * NS_PER_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Settings of one user agent; every call of it shares them."""

    # User-Agent of requests, Server of responses ("" = none).
    user_agent: str = "callquake"
    server: str = ""
    timers: TimerValues = field(default_factory=TimerValues)
    # After how long an INVITE gets 100 Trying if nothing else was sent; 0 = at once, None = never.
    trying_delay_ms: int | None = 0
    # Reliable provisional responses, one of PRACK; calls may differ.
    prack: str = "supported"
    # What we ask for, None = nothing; peers may ask all the same.
    session_expires_s: int | None = None
    # The shortest session interval taken (RFC 4028 asks for 90 at least).
    min_se_s: int = 90
    max_forwards: int = 70
    # Whether requests in a UDP dialog go where Route and Contact say; False: to where the dialog's first message went.
    follow_contact: bool = True
    # Challenges requests out of a dialog.
    verifier: Verifier | None = None
    # Methods out of a dialog the application answers.
    requests: frozenset[str] = frozenset()
    # SDP of a 200 to OPTIONS.
    options_body: bytes = b""
    # False: a pure caller; INVITE out of a dialog gets 405.
    invites: bool = True
