"""What may stand behind a threshold's number: for how long, over what, when, and by what it is taken apart.

    sustained 60s             fails only where the limit is broken for so long without a break
    over 30s                  judged over the last so many seconds over and over; without `sustained` none of these may
                              break the limit
    during fault:NAME         only what happened while that fault was in force
    before fault:NAME         before it began; the steady state
    after fault:NAME          after it ended, and the time that it claims to need to heal
    during phase:2            only in that stage of the load, by number (from 1) or name; before and after likewise
    by TAG                    for each value of the tag on its own

Each at most once, in any order. Durations are 500ms, 60s, 5m or 1h.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.measure.windows import KINDS, RELATIONS

SUSTAINED, OVER, BY = "sustained", "over", "by"
WORDS = (SUSTAINED, OVER, *RELATIONS, BY)
_WINDOW = "window"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_MS_OF = {"ms": 1.0, "s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0}
_LONGEST_MS = 7 * 24 * _MS_OF["h"]
# Without `over`, a sustained limit is judged over a sixth of its time, within these.
_OVER_SHARE, _LEAST_OVER_MS, _MOST_OVER_MS = 6, 5_000.0, 60_000.0


class ClauseError(ValueError):
    """A clause is wrong; `part` is the text at fault."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


@dataclass(frozen=True, slots=True)
class WindowName:
    """A stretch of the run: `relation` is "during", "before" or "after"; `kind` "fault" or "phase"."""

    relation: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Clauses:
    """All clauses of a threshold; None and "" where it has none."""

    sustained_ms: float | None = None
    over_ms: float | None = None
    window: WindowName | None = None
    by: str = ""

    @property
    def window_ms(self) -> float | None:
        """How long the stretches are that are judged one by one; None = the whole at once."""
        if self.over_ms is not None or self.sustained_ms is None:
            return self.over_ms
        return min(_MOST_OVER_MS, max(_LEAST_OVER_MS, self.sustained_ms / _OVER_SHARE))


def parse_clauses(text: str, windows: Mapping[str, Sequence[str]] | None = None) -> Clauses:
    """Read what stands behind the number; raises ClauseError naming the part and what is legal.

    `windows` are the names of the run's faults and phases by kind; None = not known, any name will do.
    """
    found: dict[str, str] = {}
    for word, argument in _pairs(text.split()):
        key = _WINDOW if word in RELATIONS else word
        if key in found:
            other = "one of " + ", ".join(RELATIONS) if key == _WINDOW else f"{word!r}"
            raise ClauseError(word, f"{other} stands twice")
        found[key] = f"{word} {argument}" if key == _WINDOW else argument
    return Clauses(
        sustained_ms=_duration(found[SUSTAINED]) if SUSTAINED in found else None,
        over_ms=_duration(found[OVER]) if OVER in found else None,
        window=_window(found[_WINDOW], windows) if _WINDOW in found else None,
        by=found.get(BY, ""),
    )


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        if word not in WORDS:
            legal = "sustained 60s, over 30s, during fault:NAME, before ..., after ..., during phase:NAME, by TAG"
            raise ClauseError(word, f"expected nothing more, or one of: {legal}")
        argument = next(rest, None)
        if argument is None:
            raise ClauseError(word, f"{word!r} needs {_needs(word)} behind it")
        yield word, argument


def _needs(word: str) -> str:
    if word in RELATIONS:
        return "a stretch of the run, like fault:tts or phase:2"
    return "a tag, like accent" if word == BY else "a duration, like 60s"


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ClauseError(text, "expected a duration: a number and ms, s, m or h, like 60s or 5m")
    value = float(match.group(1)) * _MS_OF[match.group(2)]
    if not _MS_OF["s"] <= value <= _LONGEST_MS:
        raise ClauseError(text, "a duration is from 1s to 168h")
    return value


def _window(text: str, windows: Mapping[str, Sequence[str]] | None) -> WindowName:
    relation, _, place = text.partition(" ")
    kind, colon, name = place.partition(":")
    if kind not in KINDS or not colon or not name:
        raise ClauseError(place, "a stretch of the run is fault:NAME or phase:NAME")
    if windows is not None and name not in windows.get(kind, ()):
        legal = ", ".join(f"{kind}:{known}" for known in windows.get(kind, ())) or f"none, the scenario has no {kind}s"
        raise ClauseError(place, f"no {kind} of that name; legal: {legal}")
    return WindowName(relation, kind, name)
