"""What must not be forgotten of a call, however long it grows: names first, numbers next."""

import re
from collections.abc import Iterable

from target_stack.context.fact_rules import Fact, facts_in

# About 150 tokens in all.
MOST_FACTS = 16
# So many of the first said stay whatever comes later: callers say who they are at the beginning.
KEPT_FIRST = 8
LONGEST_VALUE = 60
# Of these, and of names, there is one: a longer version takes the place of what was known.
SINGLE = frozenset({"e-mail", "phone number", "postcode", "address", "date of birth"})
_CORRECTION = re.compile(r"\b(?:no|not|sorry|actually|i mean|correction|rather|wrong|instead)\b", re.IGNORECASE)


class Facts:
    """A bounded list without doubles, oldest first."""

    def __init__(self, known: Iterable[Fact] = ()) -> None:
        self._known: list[Fact] = list(known)

    @property
    def known(self) -> tuple[Fact, ...]:
        """All of them."""
        return tuple(self._known)

    def learn(self, said: str, asked: str = "") -> None:
        """Take in a caller's turn. `asked`: the agent's words before it."""
        is_correction = bool(_CORRECTION.search(said))
        for fact in facts_in(said, asked):
            self._add(Fact(fact.kind, fact.value[:LONGEST_VALUE]), is_correction=is_correction)

    def _add(self, fact: Fact, *, is_correction: bool) -> None:
        same = [known for known in self._known if known.kind == fact.kind]
        if any(_says_no_more(fact.value, known.value) for known in same):
            return
        older = next((known for known in same if _says_no_more(known.value, fact.value)), None)
        if older is None and same and is_correction:
            older = same[-1]
        if older is not None and (fact.kind in SINGLE or _is_name(fact) or is_correction):
            self._known[self._known.index(older)] = fact
            return
        self._known.append(fact)
        if len(self._known) > MOST_FACTS:
            del self._known[self._first_that_may_go()]

    def _first_that_may_go(self) -> int:
        """Names go last, and only among themselves."""
        later = range(KEPT_FIRST, len(self._known))
        return next((at for at in later if not _is_name(self._known[at])), KEPT_FIRST)

    def told(self) -> str:
        """Return them in one line, "" for none: "name: Ann Lee; order number: 4592"."""
        return "; ".join(f"{fact.kind}: {fact.value}" for fact in self._known)


def _is_name(fact: Fact) -> bool:
    return fact.kind.endswith("name")


def _says_no_more(less: str, more: str) -> bool:
    """Return whether every word of `less` is in `more`."""
    return set(less.lower().split()) <= set(more.lower().split())
