"""One call's media while it lasts: what it may be told, and what it has counted."""

import asyncio
from collections.abc import Callable

from harness.media.clips import Clip
from harness.media.spec import MediaSpec
from harness.model.records import MediaStats

_CLOSE_TIMEOUT_S = 2.0


class MediaCall:
    """A handle on one row of the loop's tables; the methods cross to the loop by commands."""

    def __init__(
        self,
        spec: MediaSpec,
        *,
        play: Callable[[Clip | None, int], None],
        listen: Callable[[bool], None],
        stats: Callable[[], MediaStats],
        remove: Callable[[], None],
    ) -> None:
        self.spec = spec
        self._play = play
        self._listen = listen
        self._stats = stats
        self._remove = remove
        self._is_closing = False
        self._last: MediaStats | None = None
        self._gone = asyncio.Event()

    @property
    def _is_over(self) -> bool:
        # The row of a call that is gone may be another's: nothing is told to it any more.
        return self._is_closing or self._last is not None

    def play(self, clip: Clip, not_before_ns: int = 0) -> None:
        """Speak `clip` in place of what is being spoken, from the first tick at or after `not_before_ns` on."""
        if not self._is_over:
            self._play(clip, not_before_ns)

    def stop_playing(self) -> None:
        """Fall silent at the next tick."""
        if not self._is_over:
            self._play(None, 0)

    def listen(self, on: bool) -> None:
        """Tell whether an answer is awaited; while none is, the agent's audio is not decoded closely."""
        if not self._is_over:
            self._listen(on)

    def stats(self) -> MediaStats:
        """Return the counts so far; after the end, the last ones."""
        return self._last or self._stats()

    async def close(self) -> MediaStats:
        """Send RTCP BYE and leave the loop; returns the final counts. May be called again."""
        if not self._is_over:
            self._is_closing = True
            self._remove()
        try:
            await asyncio.wait_for(self._gone.wait(), _CLOSE_TIMEOUT_S)
        except TimeoutError:
            # A loop that died sends no goodbye; the row stays taken, its counts readable.
            return self.stats()
        return self.stats()

    def removed(self, last: MediaStats) -> None:
        """Take note that the loop has let go; `last` are the final counts."""
        self._last = last
        self._gone.set()
