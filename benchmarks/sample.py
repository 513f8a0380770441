"""One measurement of callers in steady state, and what is derived from it. Pure."""

from dataclasses import dataclass, field
from typing import Any

PACKETS_PER_S = 50
# A caller that sends less than this share of its packets fell behind, and looks cheaper than it is.
LEAST_SENT_RATIO = 0.99
# More foreign work than this on the callers' core makes a sample doubtful.
MOST_FOREIGN_RATIO = 0.05
# A loop whose packets leave this late gathers work, does it in larger batches, and looks cheaper than it is.
MOST_LATENESS_MS = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One window of steady state: `calls` calls during `seconds`."""

    calls: int
    seconds: float
    # Between the two readings of packet counts, which enclose the window.
    counted_s: float
    # User and system time of the calling process, all threads.
    cpu_s: float
    # Busy time of the core that the callers were pinned to, whoever used it; None = they were not pinned.
    core_busy_s: float | None
    # RTP packets, as the callers count them; None = they do not.
    sent: int | None
    received: int | None
    # Of the whole network namespace: delivered to both sides, and dropped at sockets.
    udp_delivered: int
    udp_dropped: int
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def calls_per_core(self) -> float:
        """How many such calls one core would carry, by their number; too many where the caller fell behind."""
        return self.calls * self.seconds / self.cpu_s

    @property
    def sent_ratio(self) -> float | None:
        """Packets sent over packets due."""
        return None if self.sent is None else self.sent / (self.calls * self.counted_s * PACKETS_PER_S)

    @property
    def echoed_ratio(self) -> float | None:
        """Packets that came back over packets sent."""
        return None if not self.sent or self.received is None else self.received / self.sent

    @property
    def calls_per_core_by_packets(self) -> float | None:
        """As `calls_per_core`, but by the calls whose packets were really sent."""
        return None if self.sent_ratio is None else self.calls_per_core * self.sent_ratio

    @property
    def fair_calls_per_core(self) -> float:
        """What is compared: by number, and by packets where the caller fell behind."""
        by_packets = self.calls_per_core_by_packets
        if by_packets is None or self.sent_ratio is None or self.sent_ratio >= LEAST_SENT_RATIO:
            return self.calls_per_core
        return by_packets

    @property
    def us_per_packet(self) -> float | None:
        """CPU time in µs per RTP packet, sent and received ones both counted."""
        packets = ((self.sent or 0) + (self.received or 0)) * self.seconds / self.counted_s
        return self.cpu_s * 1e6 / packets if packets else None

    @property
    def foreign_ratio(self) -> float | None:
        """Share of the window in which others used the callers' core."""
        if self.core_busy_s is None:
            return None
        return max(0.0, self.core_busy_s - self.cpu_s) / self.seconds

    @property
    def flags(self) -> list[str]:
        """What speaks against this sample."""
        found = []
        if self.sent_ratio is not None and self.sent_ratio < LEAST_SENT_RATIO:
            found.append(f"sent only {self.sent_ratio:.1%} of what was due")
        if self.echoed_ratio is not None and self.echoed_ratio < LEAST_SENT_RATIO:
            found.append(f"only {self.echoed_ratio:.1%} of what was sent came back")
        late_ms = self.more.get("tick_lateness_ms", {}).get("p99")
        if late_ms is not None and late_ms > MOST_LATENESS_MS:
            found.append(f"packets left late: p99 {late_ms:.0f} ms")
        if self.foreign_ratio is not None and self.foreign_ratio > MOST_FOREIGN_RATIO:
            found.append(f"others used {self.foreign_ratio:.0%} of the callers' core")
        return found

    @property
    def turns(self) -> str:
        """How many turns were spoken and timed in the window, and what their TTFB was; "" where nobody timed any."""
        if "turns_timed" not in self.more:
            return ""
        told = f"{self.more['turns_timed']:,} of {self.more['turns_spoken']:,} turns timed"
        ttfb = self.more.get("ttfb_ms")
        return told if ttfb is None else f"{told}, TTFB of the echo {ttfb['median']:.2f} ms, p99 {ttfb['p99']:.2f}"

    def as_json(self) -> dict[str, Any]:
        """Return everything, derived numbers included."""
        derived = (
            "calls_per_core",
            "calls_per_core_by_packets",
            "us_per_packet",
            "sent_ratio",
            "echoed_ratio",
            "foreign_ratio",
            "flags",
            "turns",
        )
        own = (
            "calls",
            "seconds",
            "counted_s",
            "cpu_s",
            "core_busy_s",
            "sent",
            "received",
            "udp_delivered",
            "udp_dropped",
            "more",
        )
        return {name: getattr(self, name) for name in (*own, *derived)}
