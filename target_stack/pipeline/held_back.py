"""What a reply gives out before the user's turn is certain to be over: kept, then passed on in order, or dropped."""

import asyncio
from collections.abc import Callable

from target_stack.frames import AgentEvent, SpeechOut


class HeldBack:
    """Stands between a reply and the call. Open from the beginning for a reply that is no draft."""

    def __init__(self, play: Callable[[SpeechOut], None], tell: Callable[[AgentEvent], None], *, is_open: bool) -> None:
        self._play = play
        self._tell = tell
        self._kept: list[Callable[[], None]] = []
        self._opened = asyncio.Event()
        if is_open:
            self._opened.set()

    def play(self, speech: SpeechOut) -> None:
        """Play it, now or once opened."""
        self._pass(lambda: self._play(speech))

    def tell(self, event: AgentEvent) -> None:
        """Tell it, now or once opened."""
        self._pass(lambda: self._tell(event))

    def _pass(self, deliver: Callable[[], None]) -> None:
        if self._opened.is_set():
            deliver()
        else:
            self._kept.append(deliver)

    def open(self) -> None:
        """Pass on what was kept."""
        kept, self._kept = self._kept, []
        self._opened.set()
        for deliver in kept:
            deliver()

    def drop(self) -> None:
        """Forget what was kept: it will not be opened."""
        self._kept.clear()

    async def opened(self) -> None:
        """Wait until it is."""
        await self._opened.wait()
