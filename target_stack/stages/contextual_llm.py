"""The language model within its context: what of a long conversation it is told, and how the rest is kept.

 history ─► before ─► facts, count ─► [notes, newest turns that fit, last words] ─► model
                                            ▲ refused as too long: count anew, send less
 after the reply, beside the call: old turns ─► summary, new texts ─► the server's tokenizer

Facts and summary are of the call whose scope the task has (target_stack/call_scope.py) and end with it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from target_stack.call_scope import call_scope
from target_stack.context.fitting import Fitted, fit
from target_stack.context.memory import CallMemory
from target_stack.context.overflow import Overflow
from target_stack.context.rules import ASSUMED_LIMIT, ContextRules
from target_stack.context.summary import request, turns_due, usable
from target_stack.context.tokens import message_tokens, prompt_tokens
from target_stack.stages.llm import ContextOverflowError, LanguageModel, LlmError
from target_stack.stages.llm_tokens import TokenCounter
from target_stack.stages.prompt import Message
from target_stack.telemetry.llm_stats import LlmStats

logger = logging.getLogger(__name__)

# A prompt refused as too long is sent again so often, each time with this much of the room.
TRIES = 3
LESS = 0.6
# A model that writes no summary so often in a row writes none: each asks it to read the whole room beside its replies.
UNUSABLE = 3


Before = Callable[[list[Message]], list[Message]]


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """A server's context. `limit` 0: not known. `fixed`: the text that goes along with every request."""

    limit: int
    reply_tokens: int
    fixed: str
    # Refuse here what is longer, as a server of that size would: where the limit is ours and the server's is larger.
    is_ours: bool = False


class ContextualLlm:
    """`LanguageModel` over another one that has a limit."""

    def __init__(
        self,
        inner: LanguageModel,
        rules: ContextRules,
        window: ContextWindow,
        tokens: TokenCounter,
        stats: LlmStats,
        *,
        summariser: LanguageModel | None = None,
        before: Before | None = None,
    ) -> None:
        """`summariser`: None: turns that no longer fit are dropped. `before`: sees the history first."""
        self.description = inner.description
        self._inner = inner
        self._rules = rules
        self._window = window
        self._limit = window.limit or ASSUMED_LIMIT
        self._tokens = tokens
        self._stats = stats
        self._summariser = summariser
        self._before = before
        self._tasks: set[asyncio.Task[None]] = set()
        stats.limit_tokens = self._limit

    async def stream(self, history: Sequence[Message]) -> AsyncGenerator[str]:
        """Yield the reply's text. Raises LlmError; ContextOverflowError only where no shorter prompt helps."""
        memory = _memory_of_call()
        if memory is not None:
            memory.read(history)
        told = self._before(list(history)) if self._before is not None else list(history)
        try:
            for attempt in range(TRIES):
                fitted = self._fitted(told, memory or CallMemory(), LESS**attempt)
                try:
                    async with aclosing(self._within(fitted)) as pieces:
                        async for piece in pieces:
                            yield piece
                    break
                except ContextOverflowError as error:
                    # Servers refuse before the first piece.
                    self._note(error, fitted, is_last=attempt + 1 == TRIES)
                    if self._rules.mode == "whole" or attempt + 1 == TRIES:
                        raise
        finally:
            if memory is not None and self._rules.mode == "summarise":
                self._tend(told, memory)

    def _within(self, fitted: Fitted) -> AsyncGenerator[str]:
        stats = self._stats
        stats.prompt_tokens.observe(fitted.tokens)
        stats.trims += fitted.dropped > 0
        stats.shortened += fitted.is_shortened
        room = self._limit - self._window.reply_tokens
        if self._window.is_ours and fitted.tokens > room:
            raise ContextOverflowError(
                f"this prompt has {fitted.tokens} tokens; with its reply that is more than --llm-context-tokens allows",
                Overflow(self._limit, fitted.tokens),
            )
        return self._inner.stream(fitted.messages)

    def _fitted(self, history: Sequence[Message], memory: CallMemory, share: float) -> Fitted:
        fixed = self._tokens.count(self._window.fixed)
        if self._rules.mode == "whole":
            return Fitted(tuple(history), prompt_tokens(fixed, history, self._tokens.count), 0)
        return fit(
            memory.fresh(history),
            memory.notes(),
            round(self._room() * share),
            self._tokens.count,
            fixed=fixed,
            most=None if self._rules.keep_turns is None else 2 * self._rules.keep_turns,
        )

    def _room(self) -> int:
        return self._rules.room(self._limit, self._window.reply_tokens)

    def _note(self, error: ContextOverflowError, fitted: Fitted, *, is_last: bool) -> None:
        self._stats.overflows += 1
        self._stats.lost_to_overflow += is_last or self._rules.mode == "whole"
        if error.asked is not None:
            self._tokens.told(error.asked, fitted.tokens)
        if error.limit is not None and error.limit < self._limit:
            self._limit = self._stats.limit_tokens = error.limit

    def _tend(self, history: Sequence[Message], memory: CallMemory) -> None:
        """Look after the call's memory while its reply is spoken; one at a time a call."""
        if memory.is_busy:
            return
        memory.is_busy = True
        task = asyncio.get_running_loop().create_task(self._look_after(history, memory))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_after(self, history: Sequence[Message], memory: CallMemory) -> None:
        try:
            fresh = memory.fresh(history)
            count = self._tokens.count
            if 2 * sum(message_tokens(message, count) for message in fresh) > self._rules.summarise_at * self._room():
                # Only where it begins to matter.
                await self._tokens.learn([self._window.fixed, *(message.text for message in fresh)])
            await self._summarise(fresh, memory)
        finally:
            memory.is_busy = False

    async def _summarise(self, fresh: Sequence[Message], memory: CallMemory) -> None:
        rules = self._rules
        keep = None if rules.keep_turns is None else 2 * rules.keep_turns
        if self._summariser is None or memory.unusable >= UNUSABLE:
            return
        room = self._room() - self._tokens.count(self._window.fixed)
        due = turns_due(fresh, room, self._tokens.count, at=rules.summarise_at, to=rules.to, most=keep)
        if not due:
            return
        written = ""
        try:
            asked = request(memory.summary, fresh[:due], rules.summary_words)
            async with aclosing(self._summariser.stream(asked)) as pieces:
                written = "".join([piece async for piece in pieces])
        except LlmError as error:
            # The turns stay as they are, and are dropped where they do not fit; facts are kept anyway.
            self._stats.summaries["failed"] += 1
            logger.info("no summary: %s", error)
            return
        summary = usable(written, rules.summary_words)
        self._stats.summaries["written" if summary else "unusable"] += 1
        memory.unusable = 0 if summary else memory.unusable + 1
        if summary:
            memory.summary = summary
            memory.summarised += due

    async def idle(self) -> None:
        """Return once nothing is being looked after, for tests and for the end."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        """Cancel what is being looked after; the models are closed by their owner."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _memory_of_call() -> CallMemory | None:
    scope = call_scope()
    return scope.memory if scope is not None else None
