"""A provider's rate limit as we keep it: a token bucket, and the times a provider told us to stay away. Pure."""

from dataclasses import dataclass

from harness.model.clock import NS_PER_S

NS_PER_MINUTE = 60 * NS_PER_S


@dataclass
class TokenBucket:
    """`per_minute` requests in the long run, at most `burst` at once; `per_minute` 0: no limit but what is told."""

    per_minute: float = 0.0
    burst: int = 1
    _tokens: float = -1.0
    _filled_ns: int = 0
    _blocked_until_ns: int = 0

    def take(self, now_ns: int) -> bool:
        """Spend a token; False where there is none, or while blocked."""
        if self.wait_ns(now_ns) > 0:
            return False
        self._tokens -= 1
        return True

    def wait_ns(self, now_ns: int) -> int:
        """Return how long until a request may be sent; 0: at once."""
        blocked_ns = max(0, self._blocked_until_ns - now_ns)
        if not self.per_minute:
            return blocked_ns
        self._fill(now_ns)
        missing = max(0.0, 1 - self._tokens)
        # A thousandth of a token short is rounding.
        lacking_ns = round(missing * NS_PER_MINUTE / self.per_minute) if missing > 1e-3 else 0
        return max(blocked_ns, lacking_ns)

    def block(self, until_ns: int) -> None:
        """Send nothing before then: the provider said so."""
        self._blocked_until_ns = max(self._blocked_until_ns, until_ns)

    def _fill(self, now_ns: int) -> None:
        if self._tokens < 0 and not self._filled_ns:
            self._tokens = self.burst
        else:
            gained = (now_ns - self._filled_ns) * self.per_minute / NS_PER_MINUTE
            self._tokens = min(self.burst, self._tokens + gained)
        self._filled_ns = now_ns
