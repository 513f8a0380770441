"""Plain counters of the running stack; telemetry/metrics.py renders them. Touched on the event loop only."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

# Upper bounds in ms: dense where a voice agent's stages live, up to the longest turn a caller would wait for.
BOUNDS_MS = (5, 10, 25, 50, 100, 200, 300, 400, 500, 650, 800, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 6000, 10_000)

# Of TTFB: the runbook's marks (300, 400, 500, 600, 800 ms), the industry's median (1.4 to 1.7 s), and its slow tail.
TTFB_BOUNDS_MS = (100, 200, 300, 400, 500, 600, 700, 800, 1000, 1400, 1700, 2000, 3000, 5000, 10_000)

# The consecutive stages of a turn; their sum is "total". "llm_ttft" lies inside llm, "queue" inside all of them.
STAGES = ("endpointing", "stt", "llm", "tts", "playout", "total", "llm_ttft", "queue")


class DurationHistogram:
    """Counts of durations in ms under fixed bounds, with their sum."""

    def __init__(self, bounds_ms: tuple[float, ...] = BOUNDS_MS) -> None:
        self.bounds_ms = bounds_ms
        # One more than the bounds: the last holds everything above.
        self.counts = [0] * (len(bounds_ms) + 1)
        self.sum_ms = 0.0

    @property
    def count(self) -> int:
        """Number of durations seen."""
        return sum(self.counts)

    def observe(self, duration_ms: float) -> None:
        """Count one duration; a bound includes its own value, as Prometheus's `le` does."""
        self.counts[bisect_left(self.bounds_ms, duration_ms)] += 1
        self.sum_ms += duration_ms

    def cumulative(self) -> list[tuple[float, int]]:
        """Return (upper bound in ms, count at or below it) rows, the last bound infinite."""
        rows, running = [], 0
        for bound, count in zip((*self.bounds_ms, float("inf")), self.counts, strict=True):
            running += count
            rows.append((bound, running))
        return rows


@dataclass
class Stats:
    """Everything counted since start-up. Gauges: `active_sessions`, `queue_depths`; the rest only grows."""

    active_sessions: int = 0
    sessions: int = 0
    # Turns by outcome: answered, reprompted, fallback, failed, merged, cancelled.
    turns: Counter[str] = field(default_factory=Counter)
    barge_ins: int = 0
    # The user went on speaking before any reply was heard: the two halves became one turn.
    merged_turns: int = 0
    digits: int = 0
    # The agent's own voice found in a caller's audio, and how much of that was kept from the pipeline.
    echoes: int = 0
    echo_muted_ms: float = 0.0
    # Replies that are the stock sentence because the language model gave nothing usable or failed.
    llm_fallbacks: int = 0
    # Replies begun before the turn was over, by what became of them: kept, cancelled.
    drafts: Counter[str] = field(default_factory=Counter)
    # Requests to the recogniser, and those given up after the time-out, by purpose: final, draft, part, partial.
    stt_requests: Counter[str] = field(default_factory=Counter)
    stt_timeouts: Counter[str] = field(default_factory=Counter)
    # Replies in which a later piece of speech came after the one before had been heard.
    speech_gaps: int = 0
    # Work refused because a bounded queue was full, by queue: audio, stt, tts.
    refused: Counter[str] = field(default_factory=Counter)
    # Stage that gave up on a turn.
    stage_failures: Counter[str] = field(default_factory=Counter)
    # Waiting now, by queue: stt, tts.
    queue_depths: dict[str, int] = field(default_factory=dict)
    durations: dict[str, DurationHistogram] = field(
        default_factory=lambda: {name: DurationHistogram() for name in STAGES}
    )
    # Of turns that were answered aloud.
    ttfb: DurationHistogram = field(default_factory=lambda: DurationHistogram(TTFB_BOUNDS_MS))
