"""A bad network on purpose, for one call in one direction: what a scenario asks for, checked, and what draws its fate.

Words after netem and RFC 3550's; the model of burst loss is Gilbert's and Elliott's (1960, 1963).
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

Distribution = Literal["uniform", "normal"]
Order = Literal["allowed", "kept"]
Direction = Literal["outgoing", "incoming"]

MAX_DELAY_MS = 10_000.0
MAX_KBPS = 10_000_000.0
_NOTHING = "nothing"


def _check(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name}: got {value!r}; legal: {low:g} to {high:g}")


def _check_choice(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name}: got {value!r}; legal: {', '.join(legal)}")


@dataclass(frozen=True, slots=True)
class BurstLoss:
    """Gilbert-Elliott loss: each packet first moves the state, then is lost by the state it finds.

    The bad state's share is p / (p + r), its mean length 1 / r packets.
    """

    # From the good state to the bad one, and back, per packet.
    p: float
    r: float
    loss_good: float = 0.0
    loss_bad: float = 1.0

    def __post_init__(self) -> None:
        for name in ("p", "r", "loss_good", "loss_bad"):
            _check(f"burst_loss.{name}", getattr(self, name), 0, 1)
        if self.p and not self.r:
            raise ValueError("burst_loss.r: got 0, so the bad state would never end; legal: above 0 to 1")

    @property
    def bad_ratio(self) -> float:
        """The share of packets that find the bad state, 0 to 1."""
        return self.p / (self.p + self.r) if self.p else 0.0

    @property
    def ratio(self) -> float:
        """The share of packets lost in the long run, 0 to 1."""
        return self.bad_ratio * self.loss_bad + (1 - self.bad_ratio) * self.loss_good


@dataclass(frozen=True, slots=True)
class Jitter:
    """Delay that differs from packet to packet: `ms` to either side (uniform), or its standard deviation (normal)."""

    ms: float
    distribution: Distribution = "uniform"
    # kept: a packet waits for the ones before it, as in one queue; allowed: it may overtake them.
    reorder: Order = "allowed"

    def __post_init__(self) -> None:
        _check("jitter.ms", self.ms, 0, MAX_DELAY_MS)
        _check_choice("jitter.distribution", self.distribution, get_args(Distribution))
        _check_choice("jitter.reorder", self.reorder, get_args(Order))


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """A bottleneck: packets with their IP and UDP headers leave at `kbps`, those that would queue longer are lost."""

    kbps: float
    queue_ms: float = 200.0

    def __post_init__(self) -> None:
        _check("bandwidth.kbps", self.kbps, 1, MAX_KBPS)
        _check("bandwidth.queue_ms", self.queue_ms, 0, MAX_DELAY_MS)


@dataclass(frozen=True, slots=True)
class Impairment:
    """What happens to one call's RTP and RTCP in one direction.

    Ratios run from 0 to 1, times are ms; `seed` decides every packet's fate. Raises ValueError naming the field and
    what is legal.
    """

    loss_ratio: float = 0.0
    burst_loss: BurstLoss | None = None
    delay_ms: float = 0.0
    jitter: Jitter | None = None
    # This share is held back by `reorder_ms` more, so that later packets overtake it.
    reorder_ratio: float = 0.0
    reorder_ms: float = 30.0
    duplicate_ratio: float = 0.0
    bandwidth: Bandwidth | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("loss_ratio", "reorder_ratio", "duplicate_ratio"):
            _check(name, getattr(self, name), 0, 1)
        _check("delay_ms", self.delay_ms, 0, MAX_DELAY_MS)
        _check("reorder_ms", self.reorder_ms, 0, MAX_DELAY_MS)

    @property
    def does_something(self) -> bool:
        """False when every packet passes untouched."""
        return self.words() != _NOTHING

    @property
    def max_delay_ms(self) -> float:
        """How long a packet can be on its way at most (normal jitter: 3.3 deviations)."""
        jitter = self.jitter.ms * (3.3 if self.jitter.distribution == "normal" else 1.0) if self.jitter else 0.0
        queueing = self.bandwidth.queue_ms if self.bandwidth else 0.0
        return queueing + self.delay_ms + jitter + (self.reorder_ms if self.reorder_ratio else 0.0)

    def words(self) -> str:
        """Return what is done, for reports: "2% loss, delay 50 ms"."""
        parts = [
            f"{_percent(self.loss_ratio)} loss" if self.loss_ratio else "",
            f"{_percent(self.burst_loss.ratio)} loss in bursts" if self.burst_loss and self.burst_loss.ratio else "",
            f"delay {self.delay_ms:g} ms" if self.delay_ms else "",
            self._jitter_words(),
            f"{_percent(self.reorder_ratio)} reordered" if self.reorder_ratio else "",
            f"{_percent(self.duplicate_ratio)} duplicated" if self.duplicate_ratio else "",
            f"{self.bandwidth.kbps:g} kbit/s" if self.bandwidth else "",
        ]
        return ", ".join(part for part in parts if part) or _NOTHING

    def _jitter_words(self) -> str:
        if self.jitter is None or not self.jitter.ms:
            return ""
        return f"jitter {self.jitter.ms:g} ms {self.jitter.distribution}"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.3g}%"


def direction_seed(call_seed: int, direction: Direction) -> int:
    """Return the seed of one direction of a call, 53 bits; the directions of one call have nothing in common."""
    digest = hashlib.sha256(f"{call_seed}/impairment/{direction}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 11
