"""A run's figures target by target, and how far each target lies from the first: of a scenario with several."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.measure import calls as call_metrics
from harness.measure import difference, drop_off, stages, ttfb, wer
from harness.measure import sip as sip_metrics
from harness.measure.difference import Difference, Hits, Span, Story
from harness.measure.distribution import Sample
from harness.measure.pooled import WerRate
from harness.model.records import CallRecord, TurnRecord

STEPS = ("queue", "gather", "signalling", "ice", "dtls")
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class MediaFigures:
    """RTP of a set of calls; `received` 0 = none came, or the transport has none."""

    received: int
    lost: int
    # Of the lost ones, those that our own impairments dropped.
    lost_on_purpose: int
    # A value a call, ms.
    jitter: Sample
    round_trip: Sample

    @property
    def loss_ratio(self) -> float | None:
        """Share of the agent's packets that did not come, None where none are known."""
        n = self.received + self.lost
        return self.lost / n if n else None


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """All that is measured of one target."""

    name: str
    transports: tuple[str, ...]
    codecs: tuple[str, ...]
    counts: call_metrics.CallCounts
    error_rate: float | None
    setup: Sample
    # Each step's own time, by its name in STEPS; empty where the transport has no such step.
    steps: Mapping[str, Sample]
    greeting: Sample
    ttfb: ttfb.TtfbResult
    # The mean turn in the agent's own stages, named after the target; None = it told none.
    stages: stages.MeanBreakdown | None
    wer: WerRate | None
    # Why WER was not measured, "" where it was.
    why_no_wer: str
    drop_off: drop_off.DropOffResult
    media: MediaFigures
    # None = not over SIP.
    sip: sip_metrics.SipResult | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`second` minus `first`, by figure."""

    first: str
    second: str
    # Figures in ms, and shares.
    times: Mapping[str, Difference]
    shares: Mapping[str, Difference]


@dataclass(frozen=True, slots=True)
class ByTarget:
    """Targets in the scenario's order, and every other one compared to the first."""

    targets: tuple[TargetFigures, ...]
    comparisons: tuple[Comparison, ...]


def measure(
    names: Sequence[str],
    calls: Sequence[CallRecord],
    turns: Sequence[TurnRecord],
    scored: Sequence[wer.ScoredTurn],
    *,
    expects_greeting: call_metrics.Expects = None,
    seed: int = 0,
    not_heard: Mapping[str, str] | None = None,
) -> ByTarget | None:
    """Return the figures of each of `names` and of every further name in the records; None where that is only one."""
    known = dict.fromkeys([*names, *(call.target for call in calls), *(turn.target for turn in turns)])
    if len(known) < 2:
        return None
    parts = [_Part(name, calls, turns, scored) for name in known]
    first, *others = parts
    return ByTarget(
        tuple(part.figures(expects_greeting, seed, not_heard) for part in parts),
        tuple(_compare(first, other, seed) for other in others),
    )


class _Part:
    """The records of one target."""

    def __init__(
        self, name: str, calls: Iterable[CallRecord], turns: Iterable[TurnRecord], scored: Iterable[wer.ScoredTurn]
    ) -> None:
        self.name = name
        self.calls = [call for call in calls if call.target == name]
        self.turns = [turn for turn in turns if turn.target == name]
        self.scored = [one for one in scored if one.turn.target == name]
        self._stories = {call.call_id: call.story for call in self.calls if call.story is not None}

    def figures(
        self, expects_greeting: call_metrics.Expects, seed: int, not_heard: Mapping[str, str] | None
    ) -> TargetFigures:
        calls = self.calls
        return TargetFigures(
            name=self.name,
            transports=tuple(sorted({call.transport for call in calls})),
            codecs=tuple(sorted({call.codec for call in calls if call.codec is not None})),
            counts=call_metrics.count(calls),
            error_rate=call_metrics.error_rate(calls)[0],
            setup=call_metrics.setup_sample(calls),
            steps={step: _known(getattr(call.setup, f"{step}_ms") for call in calls) for step in STEPS},
            greeting=call_metrics.greeting_sample(calls, self.turns, expects_greeting),
            ttfb=ttfb.measure(self.turns),
            stages=self._mean_turn(),
            wer=wer.pool(self.scored, seed) if self.scored else None,
            why_no_wer="" if self.scored else wer.why_not(self.turns, not_heard),
            drop_off=drop_off.measure(calls),
            media=_media(calls),
            sip=sip_metrics.measure(calls),
        )

    def _mean_turn(self) -> stages.MeanBreakdown | None:
        groups = stages.measure(self.turns).groups
        return replace(groups[0], name=self.name) if groups else None

    def ttfb_spans(self) -> dict[Story, list[Span]]:
        """Return what is known of each turn's TTFB, by the story of its call."""
        found: dict[Story, list[Span]] = {}
        for turn in self.turns:
            entry = ttfb.entry_of(turn)
            if entry is ttfb.Entry.ANSWERED and turn.ttfb_ms is not None:
                found.setdefault(self._story_of(turn.call_id), []).append((turn.ttfb_ms, turn.ttfb_ms))
            elif entry is ttfb.Entry.CENSORED:
                found.setdefault(self._story_of(turn.call_id), []).append((turn.waited_ms, _INFINITE))
        return found

    def setup_spans(self) -> dict[Story, list[Span]]:
        """Return what is known of each call's set-up time."""
        found: dict[Story, list[Span]] = {}
        for call in self.calls:
            sample = call_metrics.setup_sample([call])
            spans = [*((v, v) for v in sample.observed), *((bound, _INFINITE) for bound in sample.censored)]
            found[self._story_of(call.call_id)] = spans
        return found

    def word_errors(self) -> dict[Story, Hits]:
        """Return (errors, words) of each call."""
        sums: dict[Story, Hits] = {}
        for one in self.scored:
            story = self._story_of(one.turn.call_id)
            errors, words = sums.get(story, (0, 0))
            sums[story] = errors + one.errors, words + one.n_words
        return sums

    def _story_of(self, call_id: str) -> Story:
        """Return the call's story; a call that says none, or has no end on record, has one of its own."""
        return self._stories.get(call_id, call_id)

    def answered(self) -> Hits:
        """Return (turns answered, turns that awaited an answer)."""
        sample = ttfb.sample_of(self.turns)
        return len(sample.observed), sample.n

    def dropped(self) -> Hits:
        """Return (calls that ended before their goal, calls that count)."""
        result = drop_off.measure(self.calls)
        return result.n_dropped, result.n


def _compare(first: _Part, second: _Part, seed: int) -> Comparison:
    turns = [difference.Group(part.ttfb_spans()) for part in (first, second)]
    setups = [difference.Group(part.setup_spans()) for part in (first, second)]
    ttfbs = difference.of_quantiles(turns[0], turns[1], list(_QUANTILES.values()), seed)
    (setup,) = difference.of_quantiles(setups[0], setups[1], [0.5], seed)
    times = {f"TTFB {name}": found for name, found in zip(_QUANTILES, ttfbs, strict=True)}
    return Comparison(
        first.name,
        second.name,
        {**times, "Set-up p50": setup},
        {
            "Turns answered": difference.of_shares(first.answered(), second.answered()),
            "WER": difference.of_pooled(first.word_errors(), second.word_errors(), seed),
            "Drop-off": difference.of_shares(first.dropped(), second.dropped()),
        },
    )


def _media(calls: Sequence[CallRecord]) -> MediaFigures:
    stats = [call.media for call in calls]
    return MediaFigures(
        received=sum(m.packets_received for m in stats),
        lost=sum(m.packets_lost for m in stats),
        lost_on_purpose=sum(m.impaired_lost_incoming for m in stats),
        jitter=_known(m.jitter_ms for m in stats),
        round_trip=_known(m.round_trip_ms for m in stats),
    )


def _known(values: Iterable[float | None]) -> Sample:
    return Sample(value for value in values if value is not None)
