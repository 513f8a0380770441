"""What the edges count; touched on the event loop only."""

from collections import Counter
from dataclasses import dataclass, field

from target_stack.edge.rtp.line import LineCounts


@dataclass
class EdgeCounts:
    """`active_calls` is a gauge, from the accepted offer to the release; the rest only grows."""

    active_calls: int = 0
    # Offers by the HTTP status they were answered with.
    offers: Counter[int] = field(default_factory=Counter)
    # Ended calls by EndReason.
    calls_ended: Counter[str] = field(default_factory=Counter)


@dataclass
class StreamCounts:
    """`active_calls` is a gauge, from the accepted WebSocket to its end; the rest only grows."""

    active_calls: int = 0
    # WebSocket handshakes by the HTTP status they were answered with.
    answers: Counter[int] = field(default_factory=Counter)
    # Streams that started, by dialect, and ended calls by EndReason.
    streams: Counter[str] = field(default_factory=Counter)
    calls_ended: Counter[str] = field(default_factory=Counter)
    bad_messages: int = 0
    # Streams that took a WebRTC call's place.
    replacements: int = 0


@dataclass
class SipCounts:
    """Gauges: `active_calls`, `trunk_calls` (the limit), `connections`; the rest only grows."""

    trunk_calls: int = 0
    active_calls: int = 0
    connections: int = 0
    # INVITEs and OPTIONS by the status they were answered with.
    answers: Counter[int] = field(default_factory=Counter)
    options: Counter[int] = field(default_factory=Counter)
    # Ended calls by EndReason.
    calls_ended: Counter[str] = field(default_factory=Counter)
    renegotiations: int = 0
    digits: int = 0
    messages: int = 0
    malformed: int = 0
    resent: int = 0
    # Datagrams the kernel dropped because this process read too slowly.
    dropped: int = 0
    skipped_ticks: int = 0
    # RTP of the calls that have ended.
    lines: LineCounts = field(default_factory=LineCounts)
