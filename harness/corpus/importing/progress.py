"""How far a long import is, and when it will be done."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

# From so few files no rate is told.
_LEAST_DONE = 5
_EVERY_S = 5.0
_EVERY_ON_TERMINAL_S = 0.2


class Progress:
    """Says how many of `total` files are done: on a terminal in one line that changes, else in one each 5 s.

    `stream` is standard error where it is None.
    """

    def __init__(self, total: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._said = clock()
        # When the first file was done: what comes before it is starting up, and says nothing of the rest.
        self._began: float | None = None
        self._done = 0
        self._refused = 0
        self._has_line = False
        self._is_terminal = self._stream.isatty()

    def line(self, text: str) -> None:
        """Say `text` on a line of its own."""
        self._clear()
        print(text, file=self._stream, flush=True)

    def step(self, refused: int) -> None:
        """Count one more file, of which so many utterances were refused."""
        self._done += 1
        self._refused += refused
        now = self._clock()
        if self._began is None:
            self._began = now
        if now - self._said < (_EVERY_ON_TERMINAL_S if self._is_terminal else _EVERY_S):
            return
        self._said = now
        self._clear()
        print(self.text(now), end="" if self._is_terminal else "\n", file=self._stream, flush=True)
        self._has_line = self._is_terminal

    def end(self) -> None:
        """Leave the terminal as it was found."""
        self._clear()

    def text(self, now: float) -> str:
        """Return the line."""
        done = f"[{self._done}/{self._total}] {100 * self._done // max(self._total, 1)} %, {self._refused} refused"
        if self._began is None or self._done < _LEAST_DONE or now <= self._began:
            return done
        a_second = (self._done - 1) / (now - self._began)
        return f"{done}, {a_second:.1f} files/s, about {_spell((self._total - self._done) / a_second)} left"

    def _clear(self) -> None:
        if self._has_line:
            print("\r\033[K", end="", file=self._stream)
            self._has_line = False


def _spell(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
