"""Where a user agent's tags, branches and Call-IDs come from."""

import random
from collections.abc import Iterator, Sequence
from typing import Protocol

COOKIE = "z9hG4bK"


class Ids(Protocol):
    """What makes them."""

    def token(self) -> str:
        """Return a tag, or a cnonce."""

    def branch(self) -> str:
        """Return a branch."""

    def call_id(self, host: str) -> str:
        """Return a Call-ID."""

    def unit_interval(self) -> float:
        """Return a random number from 0 to 1, for RFC 3261's random waits."""


class RandomIds:
    """New ones each time. `seed`: another one for every process, None = the operating system's."""

    def __init__(self, seed: int | None) -> None:
        self._random = random.Random(seed)
        self.unit_interval = self._random.random
        self._stem = self.token()
        self._made = 0

    def token(self) -> str:
        """Return 64 random bits in hexadecimal."""
        return f"{self._random.getrandbits(64):016x}"

    def branch(self) -> str:
        """Return a branch that no other transaction has."""
        self._made += 1
        return f"{COOKIE}{self._stem}{self._made:x}"

    def call_id(self, host: str) -> str:
        """Return a new Call-ID."""
        self._made += 1
        return f"{self._stem}-{self._made:x}@{host}"


class GivenIds:
    """Those of a call that was begun elsewhere, in the order in which it needs them, and then another's."""

    def __init__(self, tag: str, branches: Sequence[str], then: Ids) -> None:
        self._tags: Iterator[str] = iter([tag])
        self._branches: Iterator[str] = iter(branches)
        self._then = then
        self.call_id = then.call_id
        self.unit_interval = then.unit_interval

    def token(self) -> str:
        """Return the call's tag."""
        return next(self._tags, None) or self._then.token()

    def branch(self) -> str:
        """Return the next branch."""
        return next(self._branches, None) or self._then.branch()
