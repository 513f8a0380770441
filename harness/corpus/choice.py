"""From recipe to list: which sentence is said by whom in which conditions, for the shipped set or for all.

A family is one sentence of one voice: its clean clip and the clips made of it. What is in a list depends on the recipe
alone; the turns that voices, accents and conditions take go by a sentence's place among the recipe's sentences, so one
added at the end changes no other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from harness.corpus.conditions.specs import ConditionSpec
from harness.corpus.recipe import Recipe, ShippedBlock
from harness.corpus.sentences import SentenceSpec
from harness.model.errors import ScenarioError

SCOPES = ("shipped", "all")


@dataclass(frozen=True, slots=True)
class Family:
    """A sentence said by one voice, and the conditions its clean clip is put into."""

    sentence: SentenceSpec
    accent: str
    speaker: str
    base_id: str
    conditions: tuple[ConditionSpec, ...] = ()

    def clip_id(self, condition: ConditionSpec) -> str:
        """Return the id of the clip in that condition."""
        return self.base_id if condition.is_clean else f"{self.base_id}-{condition.name}"

    @property
    def clip_ids(self) -> list[str]:
        """Ids of all its clips, the clean one first."""
        return [self.base_id, *map(self.clip_id, self.conditions)]


def choose(recipe: Recipe, scope: str = "shipped", only: Sequence[str] = ()) -> list[Family]:
    """Return the families of a scope, in the recipe's order.

    `only` are clip ids or patterns of them (`*-babble-10db`): other clips are left out, but for the clean clip of what
    is left in. ScenarioError where a pattern matches nothing.
    """
    families = _shipped(recipe) if scope == "shipped" else _all(recipe)
    return _narrowed(families, only) if only else families


def _shipped(recipe: Recipe) -> list[Family]:
    found: dict[str, Family] = {}
    for block in recipe.shipped:
        for family in _of_block(recipe, block):
            before = found.get(family.base_id)
            conditions = (*(before.conditions if before else ()), *family.conditions)
            found[family.base_id] = replace(family, conditions=_in_order(recipe, conditions))
    place = {sentence.id: index for index, sentence in enumerate(recipe.sentences)}
    accents = list(recipe.accents)
    return sorted(found.values(), key=lambda f: (place[f.sentence.id], accents.index(f.accent), f.base_id))


def _of_block(recipe: Recipe, block: ShippedBlock) -> Iterator[Family]:
    accents = list(recipe.accents)
    said = dict.fromkeys(accents, 0)
    for index, sentence in enumerate(recipe.sentences):
        if not _is_in(recipe, block, sentence):
            continue
        if block.accents == "one":
            # The accent that has said least so far; the first of several.
            said_in = list(sentence.voices) or [min(accents, key=said.__getitem__)]
        else:
            said_in = accents if block.accents == "all" else list(block.accents)
        for accent in said_in:
            names = block.conditions
            if block.each == "one" and names:
                names = (names[(accents.index(accent) + said[accent]) % len(names)],)
            said[accent] += 1
            conditions = tuple(recipe.condition(name) for name in names)
            yield _family(recipe, index, accent, voice_of(recipe, index, accent), conditions)


def _is_in(recipe: Recipe, block: ShippedBlock, sentence: SentenceSpec) -> bool:
    if not block.rest:
        return sentence.id in block.sentences or sentence.domain in block.domains
    others = [other for other in recipe.shipped if not other.rest]
    return not any(sentence.id in other.sentences or sentence.domain in other.domains for other in others)


def _all(recipe: Recipe) -> list[Family]:
    return [
        _family(recipe, index, accent, speaker, tuple(c for c in recipe.conditions if not c.is_clean))
        for index in range(len(recipe.sentences))
        for accent, spec in recipe.accents.items()
        for speaker in spec.speakers
    ]


def voice_of(recipe: Recipe, index: int, accent: str) -> str:
    """Who says sentence `index` in an accent, where one voice is enough."""
    speakers = recipe.accents[accent].speakers
    return recipe.sentences[index].voices.get(accent, speakers[index % len(speakers)])


def _family(recipe: Recipe, index: int, accent: str, speaker: str, conditions: tuple[ConditionSpec, ...]) -> Family:
    sentence = recipe.sentences[index]
    base_id = f"{accent}-{sentence.id}"
    if speaker != voice_of(recipe, index, accent):
        base_id += "-" + speaker.lower().replace("_", "-")
    return Family(sentence, accent, speaker, base_id, conditions)


def _in_order(recipe: Recipe, conditions: Iterable[ConditionSpec]) -> tuple[ConditionSpec, ...]:
    chosen = {condition.name for condition in conditions}
    return tuple(condition for condition in recipe.conditions if condition.name in chosen)


def _narrowed(families: Iterable[Family], patterns: Sequence[str]) -> list[Family]:
    families = list(families)
    for pattern in patterns:
        if not any(fnmatchcase(clip_id, pattern) for family in families for clip_id in family.clip_ids):
            raise ScenarioError(f"--only {pattern}: matches no clip; `--list` shows them, `--all` has more")
    narrowed = []
    for family in families:
        kept = tuple(c for c in family.conditions if _matches(family.clip_id(c), patterns))
        if kept or _matches(family.base_id, patterns):
            narrowed.append(replace(family, conditions=kept))
    return narrowed


def _matches(clip_id: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(clip_id, pattern) for pattern in patterns)
