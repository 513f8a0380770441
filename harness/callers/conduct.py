"""How one caller keeps to its protocols: what of its signalling leaves late, broken or not at all, and how often.

Pure; a message at a time. A proper caller's conduct changes nothing and costs nothing.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

from harness.callers.malformed import malformed_sip
from harness.model.clock import NS_PER_MS
from harness.model.plan import Misconduct

# Names of `Conduct.counts`.
DELAYED, MALFORMED, ACKS_WITHHELD, WITHHELD = "messages_delayed", "messages_malformed", "acks_withheld", "withheld"


@dataclass(slots=True)
class Conduct:
    """One call's; `seed` decides which of its messages are malformed, and how."""

    misconduct: Misconduct
    seed: str
    # The caller has vanished: nothing of it leaves any more.
    is_gone: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    # Call-IDs by which its messages are known for its own.
    minded: list[bytes] = field(default_factory=list)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    @property
    def is_proper(self) -> bool:
        """Whether no message is to be looked at."""
        wrong = self.misconduct
        return not (self.is_gone or wrong.never_acks or wrong.malformed_ratio or wrong.signalling_delay_ms)

    @property
    def delay_ns(self) -> int:
        """How much later each message leaves."""
        return int(self.misconduct.signalling_delay_ms * NS_PER_MS)

    def outgoing(self, message: bytes, *, is_datagram: bool) -> tuple[bytes, int] | None:
        """Return what leaves in place of a SIP message, and how many ns later; None = nothing does.

        On a connection a malformed message would take every other call's with it, so only datagrams are malformed.
        """
        if self.is_gone:
            self.counts[WITHHELD] += 1
            return None
        if self.misconduct.never_acks and message.startswith(b"ACK "):
            self.counts[ACKS_WITHHELD] += 1
            return None
        if is_datagram and self._rng.random() < self.misconduct.malformed_ratio:
            self.counts[MALFORMED] += 1
            message = malformed_sip(message, self._rng)
        if self.delay_ns:
            self.counts[DELAYED] += 1
        return message, self.delay_ns
