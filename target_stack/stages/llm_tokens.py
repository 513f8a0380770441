"""Token counts of texts: the server's own where they are known, an estimate where not."""

import math
from collections.abc import Iterable

from target_stack.context.tokens import estimate_tokens
from target_stack.stages.llm_facts import LlmServerDesk, LlmServerFacts
from target_stack.telemetry.llm_stats import LlmStats

# Counts that are kept, by the text's hash: a conversation's texts are counted again at every turn.
MOST_KNOWN = 8192
# No tokenizer makes more of the estimate: a letter a token.
LARGEST_FACTOR = 3.0


class TokenCounter:
    """`count` answers at once; `learn` asks the server, beside the conversation."""

    def __init__(
        self,
        stats: LlmStats,
        desk: LlmServerDesk | None = None,
        facts: LlmServerFacts | None = None,
        model: str = "default",
    ) -> None:
        self._stats = stats
        self._desk = desk
        self._facts = facts or LlmServerFacts()
        self._model = self._facts.model_for(model)
        self._known: dict[int, int] = {}
        # How much more a server counted than was estimated; 1 until it said so.
        self._factor = 1.0
        stats.is_counted_by_server = self.is_exact

    @property
    def is_exact(self) -> bool:
        """Whether the server counts."""
        return self._desk is not None and self._facts.has_tokenizer

    def count(self, text: str) -> int:
        """Return the tokens of a text."""
        known = self._known.get(hash(text))
        return known if known is not None else math.ceil(estimate_tokens(text) * self._factor)

    async def learn(self, texts: Iterable[str]) -> None:
        """Have those counted that are not yet; a server that does not answer leaves them to be estimated."""
        if self._desk is None or not self._facts.has_tokenizer:
            return
        for text in texts:
            if hash(text) in self._known:
                continue
            count = await self._desk.tokens(text, self._facts.kind, self._model)
            self._stats.token_counts["failed" if count is None else "ok"] += 1
            if count is None:
                return
            self._remember(hash(text), count)

    def _remember(self, key: int, count: int) -> None:
        self._known[key] = count
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def told(self, asked: int, counted: int) -> None:
        """Take note that a server counted `asked` tokens where `counted` were thought to be."""
        if asked > counted > 0:
            self._factor = min(LARGEST_FACTOR, self._factor * asked / counted)
