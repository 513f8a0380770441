"""Several targets of one scenario, each with a name, and what the command line says of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from harness.model.plan import TargetSpec
from harness.scenario.target.block import Target

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}"
MAX_TARGETS = 8
# An address has a colon before any equals sign, so that no address reads as a name and an address.
_NAMED = re.compile(rf"({NAME})=(\S+)")


class SharedTarget(Target):
    """One of several targets."""

    share: float = Field(
        default=1.0, ge=0, le=1e6, description="its share of the calls is this over the sum of all; 0 = none"
    )


def check_names(targets: dict[str, SharedTarget]) -> dict[str, SharedTarget]:
    """Return `targets` when they can be told apart and called; ValueError says why not."""
    if not 1 <= len(targets) <= MAX_TARGETS:
        raise ValueError(f"{len(targets)} targets; legal: 1 to {MAX_TARGETS}")
    legal = "legal: 1 to 32 letters, digits, _ . and -, the first a letter or digit"
    for name in targets:
        if not re.fullmatch(NAME, name):
            raise ValueError(f"got the name {name!r}; {legal}")
    if not any(target.share > 0 for target in targets.values()):
        raise ValueError("every share is 0, so that nobody would be called; legal: at least one share above 0")
    return targets


def in_words(urls: Mapping[str, str]) -> str:
    """Return the addresses in one line, as `addresses` reads them; the only target's is without a name."""
    return " ".join(f"{name}={url}" if name else url for name, url in urls.items())


def addresses(words: str, names: Sequence[str]) -> dict[str, str]:
    """Read addresses that stand for a scenario's own: URL for the only target, NAME=URL each for several.

    `names` are the targets to be called, [""] the one without a name. Raises ValueError.
    """
    found: dict[str, str] = {}
    for word in words.split():
        named = _NAMED.fullmatch(word)
        name, url = (named[1], named[2]) if named else ("", word)
        if not named and len(names) == 1:
            name = names[0]
        if name not in names:
            raise ValueError(_not_there(word, name, names))
        if name in found:
            raise ValueError(f"{f'the target {name}' if name else 'the target'} has two addresses; legal: one")
        found[name] = url
    return found


def _not_there(word: str, name: str, names: Sequence[str]) -> str:
    if "" in names:
        return f"got {word}, but the scenario has one target, without a name; legal: its URL alone"
    legal = ", ".join(f"{one}=URL" for one in names)
    if not name:
        return f"got {word}, but the scenario has {len(names)} targets; legal: {legal}"
    return f"got {word}, but no target called is named {name}; legal: {legal}"


def chosen(targets: Mapping[str, Target], wanted: Iterable[str]) -> list[str]:
    """Return the names of the targets to be called, by default of all that have a share; raises ValueError."""
    said = list(dict.fromkeys(wanted))
    if said and "" in targets:
        raise ValueError(f"got {said[0]}, but the scenario has one target, without a name; legal: leave it out")
    unknown = next((name for name in said if name not in targets), None)
    if unknown is not None:
        raise ValueError(f"got {unknown}; legal: {', '.join(targets)}")
    kept = [name for name, share in zip(targets, shares(targets), strict=True) if share and (name in said or not said)]
    if not kept:
        raise ValueError(f"{' and '.join(said)} would get no call, for its share is 0; legal: one with a share above 0")
    return kept


def called(targets: Mapping[str, Target], words: str | None, wanted: Iterable[str]) -> dict[str, Target]:
    """Return the targets to be called by name, at the addresses that `words` has for them; raises ValueError."""
    names = chosen(targets, wanted)
    found = {name: targets[name] for name in names}
    for name, url in addresses(words or "", names).items():
        if url != found[name].url:
            found[name] = _moved(found[name], name, url)
    return found


def _moved(target: Target, name: str, url: str) -> Target:
    try:
        return target.at(url)
    except ValueError as error:
        raise ValueError(f"{name}: {error}" if name else str(error)) from error


def specs(targets: Mapping[str, Target]) -> dict[str, TargetSpec]:
    """Return where calls to each target go."""
    return {name: replace(target.spec(), name=name) for name, target in targets.items()}


def shares(targets: Mapping[str, Target]) -> list[float]:
    """Return how much of the calls each target gets, of what all of them together have."""
    return [target.share if isinstance(target, SharedTarget) else 1.0 for target in targets.values()]
