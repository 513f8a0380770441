"""What the stack itself says in a call: each text a turn of its own, numbered below zero, known to be heard or not.

A text was heard when its first audible packet left and its last one did, too; what was queued proves nothing.
"""

import asyncio
import itertools
from collections.abc import Callable

from target_stack.frames import Pcm, SpeechOut, TtsText

Say = Callable[[SpeechOut], None]


class Mouth:
    """One call's. The edge's playout events come in by `started` and `drained`."""

    def __init__(self, play: Say, tell: Callable[[TtsText], None]) -> None:
        self._play = play
        self._tell = tell
        self._numbers = itertools.count(-1, -1)
        self._said: dict[int, asyncio.Future[bool]] = {}
        self._audible: set[int] = set()
        self._is_closed = False

    def say(self, text: str, samples: Pcm) -> "asyncio.Future[bool]":
        """Queue a text; the future tells, once it is played out, whether it could be heard."""
        turn = next(self._numbers)
        said = self._said[turn] = asyncio.get_running_loop().create_future()
        if self._is_closed:
            self.cut_off()
            return said
        self._tell(TtsText(turn, text, started=True, stopped=True))
        self._play(SpeechOut(turn, text, samples, is_last=True))
        return said

    def started(self, turn: int) -> None:
        """Take note that the first audible packet of one of our turns left."""
        self._audible.add(turn)

    def drained(self, turn: int) -> None:
        """Take note that nothing is left of one of our turns."""
        said = self._said.pop(turn, None)
        if said is not None and not said.done():
            said.set_result(turn in self._audible)

    def cut_off(self) -> None:
        """Take note that what was queued will not be played."""
        for said in self._said.values():
            if not said.done():
                said.set_result(False)
        self._said.clear()

    def close(self) -> None:
        """Say nothing from here on: the call is over."""
        self._is_closed = True
        self.cut_off()
