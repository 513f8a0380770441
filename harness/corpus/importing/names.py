"""Ids for the recordings of a source: the same source gives the same ids, and no two recordings one."""

from collections.abc import Iterable, Iterator

from harness.corpus.importing.items import Item, Refusal
from harness.corpus.importing.texts import name_of, short_hash


def with_ids(items: Iterable[Item], prefix: str, taken: dict[str, str]) -> Iterator[tuple[str, Item | Refusal]]:
    """Yield each item with its id; where the label that it is made of stands twice, a refusal in the item's place.

    Two labels that come to the same Name ("A b", "a-b") are told apart by a hash. `taken` (id -> name) holds ids that
    are no longer free, and is added to.
    """
    labels: dict[str, str] = {}
    for item in items:
        if item.label in labels:
            yield "", Refusal(item.name, "duplicate id", f"{item.label!r} is that of {labels[item.label]} too")
            continue
        labels[item.label] = item.name
        made = name_of(f"{prefix}{_without_ending(item)}")
        if made in taken:
            made = f"{made}-{short_hash(item.label)}"
        if made in taken:
            yield (
                "",
                Refusal(item.name, "duplicate id", f"{made} is that of {taken[made]} too; --prefix sets sources apart"),
            )
            continue
        taken[made] = item.name
        yield made, item


def _without_ending(item: Item) -> str:
    """Return the label, without a file's ending where it is the file's name."""
    suffix = item.file.suffix
    return item.label.removesuffix(suffix) if suffix and item.label == item.name else item.label
