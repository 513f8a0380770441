"""What the language model's stage counts, and its Prometheus text. Touched on the event loop only."""

from collections import Counter
from dataclasses import dataclass, field

from target_stack.telemetry.exposition import Row, by, counter, gauge, values
from target_stack.telemetry.stats import DurationHistogram

# Upper bounds of prompt lengths in tokens.
TOKEN_BOUNDS = (64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16_384, 32_768, 131_072)


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """What a server's own metrics say of its queue. `kv_cache_ratio` None: it does not tell."""

    running: float
    waiting: float
    kv_cache_ratio: float | None = None


@dataclass
class LlmStats:
    """One stage's. Gauges: what is or was last (limits, is_..., times, `server`); the rest only grows."""

    # 0: not known.
    limit_tokens: int = 0
    # Prompts by length as counted before they were sent.
    prompt_tokens: DurationHistogram = field(default_factory=lambda: DurationHistogram(TOKEN_BOUNDS))
    # Texts that the server was asked to count: ok, failed. Where it cannot, all counts are estimates.
    is_counted_by_server: bool = False
    token_counts: Counter[str] = field(default_factory=Counter)
    # Requests that left old turns out, and those whose last words had to be shortened.
    trims: int = 0
    shortened: int = 0
    # Refusals by a server because a prompt was too long; and of these, requests that then failed.
    overflows: int = 0
    lost_to_overflow: int = 0
    # Summaries by what came of them: written, unusable, failed.
    summaries: Counter[str] = field(default_factory=Counter)
    # One-token generations by result: ok, failed.
    checks: Counter[str] = field(default_factory=Counter)
    is_up: bool = False
    # From the start (of the server, where we started it) to its first token; 0: not measured.
    cold_start_ms: float = 0.0
    # The last one-token generation; 0: none yet.
    health_ms: float = 0.0
    # None: its metrics cannot be read.
    server: ServerLoad | None = None


def render_llm(stats: LlmStats) -> str:
    """Return the text; what is not known has no sample."""
    return "".join(
        (
            gauge("llm_context_limit_tokens", "Of prompt and reply.", _known(stats.limit_tokens)),
            values("llm_prompt_tokens", "Prompts by their length.", stats.prompt_tokens),
            gauge("llm_counted_by_server", "0: tokens are estimated.", [({}, float(stats.is_counted_by_server))]),
            counter("llm_token_counts", "Texts the server counted.", by("result", stats.token_counts)),
            counter("llm_context_trims", "Requests without the oldest turns.", [({}, stats.trims)]),
            counter("llm_shortened", "Requests whose last words were too long.", [({}, stats.shortened)]),
            counter("llm_context_overflows", "Prompts a server refused as too long.", [({}, stats.overflows)]),
            counter("llm_lost_to_overflow", "Of these, replies that were lost.", [({}, stats.lost_to_overflow)]),
            counter("llm_summaries", "Summaries of old turns.", by("result", stats.summaries)),
            counter("llm_checks", "One-token generations.", by("result", stats.checks)),
            gauge("llm_up", "1 while the model answers.", [({}, float(stats.is_up))]),
            gauge("llm_cold_start_seconds", "From start to first token.", _known(stats.cold_start_ms / 1e3)),
            gauge("llm_check_seconds", "The last one-token generation.", _known(stats.health_ms / 1e3)),
            _server(stats.server),
        )
    )


def _known(value: float) -> list[Row]:
    return [({}, value)] if value else []


def _server(load: ServerLoad | None) -> str:
    requests = {} if load is None else {"running": load.running, "waiting": load.waiting}
    cache: list[Row] = [] if load is None or load.kv_cache_ratio is None else [({}, load.kv_cache_ratio)]
    return gauge("llm_server_requests", "By the server's own metrics.", by("state", requests)) + gauge(
        "llm_server_kv_cache_ratio", "Of its cache in use.", cache
    )
