"""What load does to understanding: the same utterances in two runs, one idle and one loaded, pair by pair."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.measure.load_level import LOAD
from harness.measure.paired import Pair, PairedDifference, difference, pair_of
from harness.measure.pooled import WerRate
from harness.measure.segments import segmented, turn_tags
from harness.measure.wer import ScoredTurn, WerResult, owner, pool

# Of the runs, not of what was said in them.
_OF_RUNS = frozenset({LOAD, "target", "caller"})


@dataclass(frozen=True, slots=True)
class UtterancePair:
    """One utterance in both runs, with all its sayings."""

    utterance_id: str
    idle: tuple[ScoredTurn, ...]
    loaded: tuple[ScoredTurn, ...]
    pair: Pair

    @property
    def change(self) -> float:
        """Errors a saying more under load."""
        return self.pair.second - self.pair.first

    @property
    def tags(self) -> dict[str, str]:
        """What all sayings of both runs have in common."""
        told = [turn_tags(one.turn) for one in (*self.idle, *self.loaded)]
        same = {key: value for key, value in told[0].items() if all(tags.get(key) == value for tags in told)}
        return {key: value for key, value in same.items() if key not in _OF_RUNS}


@dataclass(frozen=True, slots=True)
class UnderLoad:
    """Loaded minus idle, on the utterances of both runs."""

    overall: PairedDifference
    by_segment: list[tuple[str, str, PairedDifference]]
    # Each run's WER on everything it scored, for comparison.
    idle: WerRate
    loaded: WerRate
    # Utterances of one run alone, and of both with other words.
    only_idle: tuple[str, ...]
    only_loaded: tuple[str, ...]
    other_words: tuple[str, ...]
    # Those that load made worse, the worst first.
    worst: list[UtterancePair]


def compare(idle: WerResult, loaded: WerResult, seed: int = 0) -> UnderLoad | None:
    """Return what load changed; None where one of the runs has no WER."""
    if idle.overall is None or loaded.overall is None:
        return None
    first, second = _by_utterance(idle.scored), _by_utterance(loaded.scored)
    pairs = list(_pairs(first, second))
    both = first.keys() & second.keys()
    worse = [one for one in pairs if one.change > 0]
    return UnderLoad(
        overall=difference([one.pair for one in pairs], seed),
        by_segment=[
            (key, value, difference([one.pair for one in part], seed))
            for key, value, part in segmented(pairs, lambda one: one.tags)
        ],
        idle=pool(idle.scored, seed),
        loaded=pool(loaded.scored, seed),
        only_idle=tuple(sorted(first.keys() - both)),
        only_loaded=tuple(sorted(second.keys() - both)),
        other_words=tuple(sorted(both - {one.utterance_id for one in pairs})),
        worst=sorted(worse, key=lambda one: (-one.change, one.utterance_id))[:8],
    )


def _by_utterance(scored: Sequence[ScoredTurn]) -> dict[str, list[ScoredTurn]]:
    found: dict[str, list[ScoredTurn]] = {}
    for one in scored:
        found.setdefault(owner(one), []).append(one)
    return found


def _pairs(
    first: Mapping[str, Sequence[ScoredTurn]], second: Mapping[str, Sequence[ScoredTurn]]
) -> Iterator[UtterancePair]:
    for name, sayings in first.items():
        pair = pair_of(name, sayings, second.get(name, ()))
        if pair is not None:
            yield UtterancePair(name, tuple(sayings), tuple(second[name]), pair)
