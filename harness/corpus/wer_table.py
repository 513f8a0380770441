"""WER of a corpus by accent and condition, and how far accents and conditions lie apart on the same sentences.

Rates are pooled over words. Their 95 % intervals draw whole sentences, which the clips of a cell share between voices;
where a cell has fewer sentences than an interval needs (many people reading one text), clips. Differences are paired:
two accents over the same sentence in the same condition, two conditions over the same recording; their intervals draw
sentences, too.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.corpus.conditions.names import CLEAN, NO_DISTORTION, NO_ROOM, WIDEBAND
from harness.corpus.entry import Utterance
from harness.measure.alignment import Alignment, align
from harness.measure.entities import EntityRate, HeardEntity, find, rate_of
from harness.measure.paired import PairedDifference, difference, pair_of
from harness.measure.pooled import MIN_UTTERANCES_FOR_INTERVAL, WerRate, pool

ALL, NATIVE, NON_NATIVE, UNKNOWN = "all", "native", "non-native", "native unknown"
_NATIVE_ROWS = {True: NATIVE, False: NON_NATIVE, None: UNKNOWN}
# Groups of conditions, each harder than the one before.
NOISY, NOISY_PHONE, OTHER = "noisy", "noisy phone", "other"
GROUPS = (CLEAN, NOISY, NOISY_PHONE, OTHER)
_PHONE_BAND = ("phone", "g711", "gsm", "amr")


@dataclass(frozen=True, slots=True)
class ScoredClip(Alignment):
    """A clip and its alignment with what was heard of it."""

    clip: Utterance


def group_of(clip: Utterance) -> str:
    """Return a clip's group of conditions: noise alone is "noisy", noise on a telephone line "noisy phone"."""
    if clip.is_clean:
        return CLEAN
    if clip.noise == CLEAN or clip.room != NO_ROOM or clip.distortion != NO_DISTORTION:
        return OTHER
    if clip.channel == WIDEBAND:
        return NOISY
    return NOISY_PHONE if clip.channel.startswith(_PHONE_BAND) else OTHER


class CorpusWer:
    """Clips with what a recogniser heard in each; every figure is computed from them."""

    def __init__(self, heard: Sequence[tuple[Utterance, str]], seed: int = 0) -> None:
        aligned = align([clip.transcript for clip, _ in heard], [text for _, text in heard])
        self.scored = [
            ScoredClip(a.edits, a.substitutions, a.deletions, a.insertions, a.n_words, clip)
            for a, (clip, _) in zip(aligned, heard, strict=True)
        ]
        self.seed = seed
        self.accents = list(dict.fromkeys(clip.accent for clip, _ in heard))
        found = dict.fromkeys(clip.condition for clip, _ in heard)
        # Clean first, then as they come.
        self.conditions = sorted(found, key=lambda name: name != CLEAN)
        self.groups = [name for name in GROUPS if any(group_of(clip) == name for clip, _ in heard)]
        native = {_NATIVE_ROWS[clip.native] for clip, _ in heard}
        self.totals = [name for name in (NATIVE, NON_NATIVE, UNKNOWN) if name in native]

    @property
    def rows(self) -> list[str]:
        """Accents, then the totals."""
        return [*self.accents, *self.totals, ALL]

    @cached_property
    def _by_row(self) -> dict[str, list[ScoredClip]]:
        rows: dict[str, list[ScoredClip]] = defaultdict(list)
        for one in self.scored:
            for row in {one.clip.accent, _NATIVE_ROWS[one.clip.native], ALL}:
                rows[row].append(one)
        return rows

    def cell(self, row: str, condition: str | None = None, group: str | None = None) -> list[ScoredClip]:
        """Return the clips of a row, of one condition or one group of them."""
        return [
            one
            for one in self._by_row.get(row, [])
            if condition in (None, one.clip.condition) and group in (None, group_of(one.clip))
        ]

    def rate(self, cell: Sequence[ScoredClip]) -> WerRate | None:
        """Return the WER of a cell, None where it is empty."""
        return pool(cell, _owners(cell), self.seed) if cell else None

    def entities(self, cell: Sequence[ScoredClip], kind: str | None = None) -> EntityRate:
        """Return the share of numbers and names that were right as a whole, of one kind or all."""
        heard: list[HeardEntity] = [entity for one in cell for entity in find(one, one.clip.entities)[0]]
        return rate_of(entity for entity in heard if kind in (None, entity.kind))

    def accent_difference(self, accent: str, against: str, group: str | None = None) -> PairedDifference:
        """Return `accent` minus `against`, over the sentences and conditions that both have."""
        first, second = self.cell(against, group=group), self.cell(accent, group=group)
        return self._difference(first, second, lambda clip: (clip.sentence_id, clip.condition))

    def group_difference(self, row: str, first: str, second: str) -> PairedDifference:
        """Return group `second` minus group `first` of a row, over the recordings that both have.

        A recording in several conditions of a group stands with the mean of them; noisy phone is held against noisy in
        the same noise.
        """
        is_same_noise = (first, second) == (NOISY, NOISY_PHONE)

        def key(clip: Utterance) -> Hashable:
            return _noise_of(clip) if is_same_noise else clip.base_id

        return self._difference(self.cell(row, group=first), self.cell(row, group=second), key)

    def same_recordings(self, row: str) -> dict[str, list[ScoredClip]]:
        """Return clean, noisy and noisy phone clips of a row, like with like: one recording, one noise, all three.

        A recording on the telephone in two noises stands twice in each of the three.
        """
        clean = {one.clip.base_id: one for one in self.cell(row, group=CLEAN)}
        noisy = {_noise_of(one.clip): one for one in self.cell(row, group=NOISY)}
        found: dict[str, list[ScoredClip]] = {CLEAN: [], NOISY: [], NOISY_PHONE: []}
        for one in self.cell(row, group=NOISY_PHONE):
            base, before = clean.get(one.clip.base_id), noisy.get(_noise_of(one.clip))
            if base is not None and before is not None:
                for group, clip in ((CLEAN, base), (NOISY, before), (NOISY_PHONE, one)):
                    found[group].append(clip)
        return found

    def condition_difference(self, row: str, condition: str) -> PairedDifference:
        """Return a condition minus clean, over the recordings that have both."""
        return self._difference(self.cell(row, CLEAN), self.cell(row, condition), lambda clip: clip.base_id)

    def _difference(
        self, first: Sequence[ScoredClip], second: Sequence[ScoredClip], key: Callable[[Utterance], Hashable]
    ) -> PairedDifference:
        sides: tuple[dict[Hashable, list[ScoredClip]], ...] = (defaultdict(list), defaultdict(list))
        for side, clips in zip(sides, (first, second), strict=True):
            for one in clips:
                side[key(one.clip)].append(one)
        both = [name for name in sides[0] if name in sides[1]]
        made = [pair_of(sides[0][name][0].clip.sentence_id, sides[0][name], sides[1][name]) for name in both]
        return difference([pair for pair in made if pair is not None], self.seed)


def _noise_of(clip: Utterance) -> tuple[str, str, float | None]:
    return clip.base_id, clip.noise, clip.snr_db


def _owners(cell: Sequence[ScoredClip]) -> list[str]:
    sentences = [one.clip.sentence_id for one in cell]
    enough = len(set(sentences)) >= MIN_UTTERANCES_FOR_INTERVAL
    return sentences if enough else [one.clip.base_id for one in cell]
