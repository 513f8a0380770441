"""Which rollback of a Chaos Toolkit experiment undoes which of its actions. Pure.

The Toolkit does not say: its rollbacks are a list that is carried out at the end. So they are told by what both name:
the fault, the proxy, the words of a command, the path and values of a request; by nothing where there is one of each.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from harness.faults.experiment_hooks import texts_of, words_of
from harness.faults.experiment_toxiproxy import is_toxics, undoes

OURS = "callquake"
_PLAIN = re.compile(r"[^\s'\";|&<>()=,]+")
_Provider = Mapping[str, Any]


def paired(
    actions: Sequence[_Provider], rollbacks: Sequence[tuple[str, _Provider]]
) -> tuple[dict[int, _Provider], list[str]]:
    """Return the rollback of each action that has one, by the action's place, and what is wrong with the others.

    Faults of ours and of proxies bring what undoes them, so that their rollbacks are only taken out of the list.
    """
    found: dict[int, _Provider] = {}
    problems = []
    left = {place: named for place, named in enumerate(rollbacks) if not _is_brought(named[1], actions)}
    for type_ in ("process", "http"):
        of_type = {place: named for place, named in left.items() if _type(named[1]) == type_}
        ours = {place: one for place, one in enumerate(actions) if _type(one) == type_}
        for place in of_type:
            left.pop(place)
        problems += _pair(ours, of_type, found)
    problems += [_nothing_left(name) for name, _ in left.values()]
    return found, problems


def _type(provider: _Provider) -> str:
    """Return "process" or "http" of what becomes a hook, "" of anything else."""
    type_ = str(provider.get("type"))
    if type_ == "process":
        return "" if words_of(provider)[:2] == [OURS, "fault"] else type_
    return type_ if type_ == "http" else ""


def _is_brought(rollback: _Provider, actions: Sequence[_Provider]) -> bool:
    """Whether a fault of ours, or of a proxy, among the actions is undone by what this rollback does."""
    if is_toxics(rollback):
        return any(undoes(rollback, action) for action in actions)
    words = words_of(rollback)
    if words[:3] != [OURS, "fault", "stop"]:
        return False
    started = [words_of(action) for action in actions]
    started = [one for one in started if one[:3] == [OURS, "fault", "start"]]
    return bool(started) if "--all" in words else any(_named(one) in words[3:] for one in started)


def _named(words: Sequence[str]) -> str:
    """Return what `fault start` is told to call its fault."""
    following = dict(itertools.pairwise(words))
    return following.get("--name") or next((w[7:] for w in words if w.startswith("--name=")), "")


def _pair(
    actions: dict[int, _Provider], rollbacks: dict[int, tuple[str, _Provider]], found: dict[int, _Provider]
) -> list[str]:
    """Pair those that have the most in common first; return what is wrong with the rollbacks left."""
    problems = []
    while actions and rollbacks:
        likeness, back, place = _likest(actions, rollbacks)
        alike = [one for one in actions if _likeness(actions[one], rollbacks[back][1]) == likeness]
        is_sure = likeness > (0, 0) or len(actions) == len(rollbacks) == 1
        if is_sure and all(actions[one] == actions[place] for one in alike):
            found[place] = rollbacks.pop(back)[1]
            del actions[place]
        else:
            name, _ = rollbacks.pop(back)
            problems.append(f"rollbacks: {name!r}: which of {len(alike)} actions it undoes is not to be seen from it")
    return problems + [_nothing_left(name) for name, _ in rollbacks.values()]


def _likest(
    actions: Mapping[int, _Provider], rollbacks: Mapping[int, tuple[str, _Provider]]
) -> tuple[tuple[int, int], int, int]:
    """Return how much the likest pair has in common, the rollback's place and the action's; the first of equals."""
    pairs = ((_likeness(one, back), -b, -a) for b, (_, back) in rollbacks.items() for a, one in actions.items())
    likeness, back, action = max(pairs)
    return likeness, -back, -action


def _likeness(action: _Provider, rollback: _Provider) -> tuple[int, int]:
    """Return how many words both name, and then whether it is one program, or one server, that is asked."""
    shared = len(_words(action) & _words(rollback))
    return shared, int(shared > 0 and _whom(action) == _whom(rollback))


def _words(provider: _Provider) -> set[str]:
    if _type(provider) == "process":
        return {word for word in _PLAIN.findall(" ".join(words_of(provider)[1:])) if not word.startswith("-")}
    url = urlsplit(str(provider.get("url", "")))
    said = [*map(unquote, url.path.split("/")), *(value for _, value in parse_qsl(url.query))]
    return {word for word in (*said, *texts_of(provider.get("arguments"))) if word}


def _whom(provider: _Provider) -> str:
    return str(provider.get("path") or urlsplit(str(provider.get("url", ""))).netloc)


def _nothing_left(name: str) -> str:
    return f"rollbacks: {name!r}: there is no action that it undoes"
