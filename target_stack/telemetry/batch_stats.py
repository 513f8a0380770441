"""What a batch queue counts, and its Prometheus text. Touched on the event loop only."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from target_stack.telemetry.exposition import by, counter, durations, gauge
from target_stack.telemetry.stats import DurationHistogram


@dataclass
class BatchStats:
    """One queue's numbers. Gauges: `depth`, `in_batches`, `busy_replicas`; the rest only grows."""

    replicas: int = 1
    depth: int = 0
    in_batches: int = 0
    busy_replicas: int = 0
    # Batches by how many requests they began with.
    sizes: Counter[int] = field(default_factory=Counter)
    # Batches that raised, or gave as many results as they should not.
    failed_batches: int = 0
    # Requests by how they ended: answered, failed, refused for which reason, cancelled while waiting or running.
    endings: Counter[str] = field(default_factory=Counter)
    # From submission until its batch began, of every request of every batch.
    waits: DurationHistogram = field(default_factory=DurationHistogram)
    # From a batch's beginning to its end.
    work: DurationHistogram = field(default_factory=DurationHistogram)


def render_batches(queues: Mapping[str, BatchStats]) -> str:
    """Return the text; "" where no stage has a batch queue."""
    if not queues:
        return ""
    sizes = [({"queue": q, "size": str(size)}, n) for q, s in queues.items() for size, n in sorted(s.sizes.items())]
    endings = [({"queue": q, "ending": end}, n) for q, s in queues.items() for end, n in sorted(s.endings.items())]
    return "".join(
        (
            gauge(
                "batch_replicas",
                "Batches that can run at once.",
                by("queue", {q: s.replicas for q, s in queues.items()}),
            ),
            gauge("batch_replicas_busy", "Batches now.", by("queue", {q: s.busy_replicas for q, s in queues.items()})),
            gauge("batch_waiting", "Requests that wait.", by("queue", {q: s.depth for q, s in queues.items()})),
            gauge("batch_running", "Requests in batches.", by("queue", {q: s.in_batches for q, s in queues.items()})),
            counter("batches", "Batches by number of requests.", sizes),
            counter(
                "batch_failures", "Batches that failed.", by("queue", {q: s.failed_batches for q, s in queues.items()})
            ),
            counter("batch_requests", "Requests by how they ended.", endings),
            durations("batch_wait", "From submission to batch.", "queue", {q: s.waits for q, s in queues.items()}),
            durations("batch_work", "Duration of batches.", "queue", {q: s.work for q, s in queues.items()}),
        )
    )
