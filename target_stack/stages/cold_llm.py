"""A language model that is not there until somebody asks: scaled to zero, as clouds do with what nobody uses.

The first request begins the model's process and waits until it has loaded; all that come meanwhile wait with it. That
is the failure "cold start" with its fix (a warm instance) off, and nothing of it is made up: process, load and first
prompt are the real ones.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from target_stack.stages.llm import LanguageModel, LlmError
from target_stack.stages.prompt import Message


class ColdLlm:
    """`LanguageModel` that has its server begun by the first request."""

    def __init__(self, inner: LanguageModel, wake: Callable[[], Awaitable[None]]) -> None:
        """`wake` returns when the model can be asked; whatever it raises is the error of the requests that waited."""
        self.description = inner.description
        self._inner = inner
        self._wake = wake
        self._waking: asyncio.Task[None] | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the model was loaded; not before the first request."""
        waking = self._waking
        return waking is not None and waking.done() and not waking.cancelled() and waking.exception() is None

    async def stream(self, history: Sequence[Message]) -> AsyncGenerator[str]:
        """Yield the reply's text. Raises LlmError, also where loading failed; the next request tries it again."""
        await self._woken()
        async with aclosing(self._inner.stream(history)) as pieces:
            async for piece in pieces:
                yield piece

    async def _woken(self) -> None:
        if self._waking is None:
            self._waking = asyncio.create_task(self._woken_up())
        waking = self._waking
        try:
            # Who asked first may go; the model is loaded all the same.
            await asyncio.shield(waking)
        except Exception as error:
            # Another one that waited for it may try again already.
            if self._waking is waking:
                self._waking = None
            raise LlmError(f"the language model cannot be loaded: {error or type(error).__name__}") from error

    async def _woken_up(self) -> None:
        await self._wake()

    async def aclose(self) -> None:
        """Give up loading; the connections are closed by who made them."""
        if self._waking is not None:
            self._waking.cancel()
            await asyncio.gather(self._waking, return_exceptions=True)
