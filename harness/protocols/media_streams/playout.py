"""The carrier's playout buffer: agents send faster than real time, and the caller hears at the pace of a clock.

What arrives is heard from the moment of its arrival on, or from when all before it was heard. So each piece has a
place on the caller's time line when it comes; nothing here ticks, and nothing here reads a clock.

    arrival   a----b-----------------c
    heard     aaaaaaaabbbbbb.........cccc       dots: the buffer ran dry

A mark is reached when all that came before it was heard. A clear drops what was not heard yet. Times are monotonic ns.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

# What one call may have waiting: agents send a whole answer at once, but no half hour of it.
MOST_AHEAD_NS = 30 * 60 * 1_000_000_000
MOST_PIECES = 100_000
MOST_MARKS = 10_000


@dataclass(slots=True)
class Piece(Generic[T]):
    """Audio of one message and where it stands on the caller's time line; a clear moves its end."""

    arrived_at_ns: int
    start_ns: int
    end_ns: int
    content: T
    # How much of it `heard` has given out.
    told_ns: int = 0


class Heard(NamedTuple, Generic[T]):
    """The caller heard `piece` from `from_ns` to `until_ns` of the time line."""

    piece: Piece[T]
    from_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class MarkReached:
    """All audio before the mark was heard by `at_ns`."""

    name: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class _Mark:
    name: str
    at_ns: int


class Playout(Generic[T]):
    """One call's buffer; what a piece holds besides its times is its user's."""

    def __init__(self) -> None:
        self._pieces: deque[Piece[T]] = deque()
        self._marks: deque[_Mark] = deque()
        # Up to here there is audio; 0 = there never was any.
        self._end_ns = 0
        self.longest_ns = 0

    def dry_ns(self, at_ns: int) -> int:
        """Return for how long the buffer has run dry at `at_ns`; 0 = it has not, or nothing ever came."""
        return at_ns - self._end_ns if 0 < self._end_ns < at_ns else 0

    def arrive(self, content: T, duration_ns: int, at_ns: int) -> bool:
        """Take a piece that came at `at_ns`; False: the buffer is full, and the piece is not in it."""
        start_ns = max(at_ns, self._end_ns)
        if len(self._pieces) >= MOST_PIECES or start_ns + duration_ns - at_ns > MOST_AHEAD_NS:
            return False
        self._end_ns = start_ns + duration_ns
        self._pieces.append(Piece(at_ns, start_ns, self._end_ns, content))
        self.longest_ns = max(self.longest_ns, self._end_ns - at_ns)
        return True

    def mark(self, name: str, at_ns: int) -> bool:
        """Take a mark: it is reached when what is in the buffer was heard, at once where that is nothing.

        False: too many wait to be reached, and this one does not.
        """
        if len(self._marks) >= MOST_MARKS:
            return False
        self._marks.append(_Mark(name, max(at_ns, self._end_ns)))
        return True

    def clear(self, at_ns: int) -> tuple[list[str], int]:
        """Drop what was not heard by `at_ns`; return the names of the marks not reached, and how much was dropped."""
        flushed_ns = max(0, self._end_ns - at_ns)
        while self._pieces and self._pieces[-1].start_ns >= at_ns:
            self._pieces.pop()
        if self._pieces:
            self._pieces[-1].end_ns = min(self._pieces[-1].end_ns, at_ns)
        self._end_ns = min(self._end_ns, at_ns)
        unreached = [mark.name for mark in self._marks if mark.at_ns > at_ns]
        self._marks = deque(mark for mark in self._marks if mark.at_ns <= at_ns)
        return unreached, flushed_ns

    def forget_marks(self) -> None:
        """Drop all marks."""
        self._marks.clear()

    def heard(self, now_ns: int) -> list[Heard[T]]:
        """Return what was heard since the last call."""
        heard: list[Heard[T]] = []
        while self._pieces and self._pieces[0].start_ns < now_ns:
            piece = self._pieces[0]
            from_ns, until_ns = max(piece.start_ns, piece.told_ns), min(piece.end_ns, now_ns)
            if until_ns > from_ns:
                heard.append(Heard(piece, from_ns, until_ns))
                piece.told_ns = until_ns
            if until_ns < piece.end_ns:
                break
            self._pieces.popleft()
        return heard

    def marks_reached(self, now_ns: int) -> list[MarkReached]:
        """Return the marks reached since the last call, in order."""
        if not self._marks:
            return []
        reached: list[MarkReached] = []
        while self._marks and self._marks[0].at_ns <= now_ns:
            mark = self._marks.popleft()
            reached.append(MarkReached(mark.name, mark.at_ns))
        return reached

    @property
    def ends_at_ns(self) -> int:
        """When the buffer runs dry unless more comes; 0 = there never was anything in it."""
        return self._end_ns
