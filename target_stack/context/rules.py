"""How a conversation is kept within the model's context: the options, parsed once."""

from dataclasses import dataclass
from typing import Literal

# summarise: old turns become a summary and facts, the rest goes along as it was said. whole: everything is always
# sent, until the server refuses; what a stack does that has not thought of long calls.
Mode = Literal["summarise", "whole"]
MODES: tuple[Mode, ...] = ("summarise", "whole")

# Where neither option nor server tells: what small self-hosted models are mostly run with.
ASSUMED_LIMIT = 4096
# Less holds no prompt, no question and no reply.
LEAST_LIMIT = 128


@dataclass(frozen=True, slots=True)
class ContextRules:
    """`limit_tokens` 0: the server's own limit. Shares are of what is left for the conversation."""

    mode: Mode = "summarise"
    limit_tokens: int = 0
    # Turns before the current one that go along, at most; None: as many as fit.
    keep_turns: int | None = None
    # From this share on, old turns are summarised, so that the rest fills no more than `to`.
    summarise_at: float = 0.75
    to: float = 0.4
    summary_words: int = 80
    # For what templates and estimates get wrong.
    spare_ratio: float = 0.05

    def __post_init__(self) -> None:
        """Raise ValueError on shares in the wrong order."""
        if not 0 < self.to < self.summarise_at <= 1:
            raise ValueError("0 < to < summarise_at <= 1 must hold")

    def room(self, limit: int, reply_tokens: int) -> int:
        """Return how many tokens a prompt may have."""
        return max(0, limit - reply_tokens - round(limit * self.spare_ratio))
