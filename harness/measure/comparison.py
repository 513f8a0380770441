"""What changed between two runs, after minus before, each figure with a 95 % interval; and segment by segment.

TTFB, set-up and greeting percentiles: a bootstrap over whole calls, in which calls of one place in the plan (the same
caller with the same words, where both runs have one seed and scenario) are drawn together. WER: the same utterances of
both runs, paired. Shares (drop-off, errors, turns answered): Newcombe's score interval. How each is done stands in
difference.py and paired.py. Where an interval holds 0, no difference is shown, which does not say that there is none.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.measure import calls as call_metrics
from harness.measure import difference, drop_off, ttfb
from harness.measure.difference import Difference, Group, Hits, Span
from harness.measure.distribution import Estimate, Sample
from harness.measure.run import Measured
from harness.measure.segments import call_tags, turn_tags
from harness.measure.under_load import UnderLoad
from harness.measure.under_load import compare as compare_words
from harness.model.records import CallRecord, TurnRecord

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
TURN_SEGMENTS = ("accent", "noise", "condition", "codec", "length", "load", "caller", "target")
CALL_SEGMENTS = ("caller", "accent", "target")
_INFINITE = float("inf")
T = TypeVar("T")
# A segment of fewer turns or calls on either side says nothing.
MIN_SEGMENT = 20


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of both runs; `unit` "ms" or "ratio"; `is_better_low`: less of it is better."""

    name: str
    unit: str
    is_better_low: bool
    before: Estimate | None
    after: Estimate | None
    n_before: int
    n_after: int
    difference: Difference
    # "accent british", "" of all.
    segment: str = ""

    @property
    def verdict(self) -> str:
        """What may be said: "better", "worse", "no difference shown", or why nothing can be."""
        if self.difference.why and not self.difference.is_shown:
            return self.difference.why
        if not self.difference.is_shown:
            return "no difference shown"
        is_more = (self.difference.low or 0.0) > 0
        return "worse" if is_more is self.is_better_low else "better"


@dataclass(frozen=True, slots=True)
class Comparison:
    """All changes, the whole first, then by segment; `words` None where a run has no WER."""

    changes: tuple[Change, ...]
    by_segment: tuple[Change, ...]
    words: UnderLoad | None
    # Whether calls of one place in the plan were held to be alike.
    is_paired: bool


def compare(before: Measured, after: Measured, *, is_paired: bool, seed: int = 0) -> Comparison:
    """Return what changed from `before` to `after`; `is_paired`: both placed the same calls with the same words."""
    both = _Both(before, after, is_paired=is_paired, seed=seed)
    return Comparison(
        changes=tuple(both.changes()),
        by_segment=tuple(both.segments()),
        words=compare_words(before.wer, after.wer, seed),
        is_paired=is_paired,
    )


@dataclass(frozen=True, slots=True)
class _Side:
    calls: Sequence[CallRecord]
    turns: Sequence[TurnRecord]


class _Both:
    def __init__(self, before: Measured, after: Measured, *, is_paired: bool, seed: int) -> None:
        self._sides = (_Side(before.calls, before.turns), _Side(after.calls, after.turns))
        self._expects = (before.expects_greeting, after.expects_greeting)
        self._is_paired, self._seed = is_paired, seed

    def changes(self) -> list[Change]:
        first, second = self._sides
        found = self._ttfb(first, second)
        setups = [{call.call_id: call_metrics.setup_sample([call]) for call in side.calls} for side in self._sides]
        greetings = [_greetings(side, told) for side, told in zip(self._sides, self._expects, strict=True)]
        for name, (before, after) in (("setup_ms", setups), ("greeting_ms", greetings)):
            samples = _together(before), _together(after)
            found += self._quantiles(name, samples, (self._call_group(0, before), self._call_group(1, after)))
        found += [*self._turn_shares(first, second), *self._call_shares(first, second)]
        return found

    def segments(self) -> list[Change]:
        found: list[Change] = []
        for key in TURN_SEGMENTS:
            for value, first, second in _parts(self._sides, key, lambda side: side.turns, turn_tags):
                found += self._ttfb(_Side((), first), _Side((), second), f"{key} {value}", ("p50", "p95"))
        for key in CALL_SEGMENTS:
            for value, ours, theirs in _parts(self._sides, key, lambda side: side.calls, call_tags):
                found += self._call_shares(_Side(ours, ()), _Side(theirs, ()), f"{key} {value}")
        return found

    def _ttfb(
        self, first: _Side, second: _Side, segment: str = "", names: Sequence[str] = tuple(QUANTILES)
    ) -> list[Change]:
        samples = ttfb.sample_of(first.turns), ttfb.sample_of(second.turns)
        groups = self._group(0, first.turns), self._group(1, second.turns)
        return self._quantiles("ttfb_ms", samples, groups, segment, names)

    def _group(self, side: int, turns: Iterable[TurnRecord]) -> Group:
        stories: dict[object, list[Span]] = {}
        for turn in turns:
            spans = _spans(ttfb.sample_of([turn]))
            key = turn.call_id if self._is_paired else (side, turn.call_id)
            stories.setdefault(key, []).extend(spans)
        return Group(stories)

    def _call_group(self, side: int, samples: Mapping[str, Sample]) -> Group:
        return Group({i if self._is_paired else (side, i): _spans(sample) for i, sample in samples.items()})

    def _quantiles(
        self,
        name: str,
        samples: tuple[Sample, Sample],
        groups: tuple[Group, Group],
        segment: str = "",
        names: Sequence[str] = tuple(QUANTILES),
    ) -> list[Change]:
        if not samples[0].n and not samples[1].n:
            return []
        qs = [QUANTILES[q] for q in names]
        found = difference.of_quantiles(*groups, qs, self._seed)
        return [
            Change(
                name=f"{name} {label}",
                unit="ms",
                is_better_low=True,
                before=samples[0].percentile(q),
                after=samples[1].percentile(q),
                n_before=samples[0].n,
                n_after=samples[1].n,
                difference=one,
                segment=segment,
            )
            for label, q, one in zip(names, qs, found, strict=True)
        ]

    def _turn_shares(self, first: _Side, second: _Side) -> list[Change]:
        results = [ttfb.measure(side.turns) for side in (first, second)]
        answered = [(r.n_answered, r.sample.n) for r in results]
        cut_in = [(r.n_false_endpoints, r.n_awaited) for r in results]
        return [
            _share("response_ratio", answered[0], answered[1], is_better_low=False),
            _share("false_endpoint_ratio", cut_in[0], cut_in[1]),
        ]

    def _call_shares(self, first: _Side, second: _Side, segment: str = "") -> list[Change]:
        dropped = [drop_off.measure(side.calls) for side in (first, second)]
        errors = [call_metrics.error_rate(side.calls) for side in (first, second)]
        failed = [(round((rate or 0.0) * n), n) for rate, n in errors]
        return [
            _share("drop_off", *((one.n_dropped, one.n) for one in dropped), segment=segment),
            _share("error_rate", *failed, segment=segment),
        ]


def _share(name: str, first: Hits, second: Hits, *, is_better_low: bool = True, segment: str = "") -> Change:
    shares = [Estimate(hits / n, hits / n) if n else None for hits, n in (first, second)]
    return Change(
        name=name,
        unit="ratio",
        is_better_low=is_better_low,
        before=shares[0],
        after=shares[1],
        n_before=first[1],
        n_after=second[1],
        difference=difference.of_shares(first, second),
        segment=segment,
    )


def _greetings(side: _Side, expects: call_metrics.Expects) -> dict[str, Sample]:
    if expects is None:
        expects = any(call.greeting_ms is not None for call in side.calls)
    turns: dict[str, list[TurnRecord]] = {}
    for turn in side.turns:
        turns.setdefault(turn.call_id, []).append(turn)
    return {
        call.call_id: call_metrics.greeting_sample([call], turns.get(call.call_id, ()), expects) for call in side.calls
    }


def _together(samples: Mapping[str, Sample]) -> Sample:
    return Sample(
        [value for sample in samples.values() for value in sample.observed],
        [value for sample in samples.values() for value in sample.censored],
    )


def _spans(sample: Sample) -> list[Span]:
    return [*((value, value) for value in sample.observed), *((bound, _INFINITE) for bound in sample.censored)]


def _parts(
    sides: tuple[_Side, _Side],
    key: str,
    items_of: Callable[[_Side], Iterable[T]],
    tags_of: Callable[[T], Mapping[str, str]],
) -> Iterable[tuple[str, list[T], list[T]]]:
    """Yield the values of a tag that both runs have enough of, where there is more than one."""
    found: tuple[dict[str, list[T]], dict[str, list[T]]] = ({}, {})
    for side, parts in zip(sides, found, strict=True):
        for item in items_of(side):
            value = tags_of(item).get(key)
            if value is not None:
                parts.setdefault(value, []).append(item)
    if len(found[0].keys() | found[1].keys()) < 2:
        return
    for value in sorted(found[0].keys() & found[1].keys()):
        if min(len(found[0][value]), len(found[1][value])) >= MIN_SEGMENT:
            yield value or "none", found[0][value], found[1][value]
