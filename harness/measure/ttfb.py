"""TTFB: from the end of user speech on the wire to the first audible agent speech arriving, per turn.

How a turn enters, in this order; every turn of the run is in exactly one of these:
  cut              the operator or the engine ended the call: in no distribution
  unspoken         the call ended before the last voiced sample was sent: there was nothing to answer yet
  censored         no answer, whether until the time-out or until the call ended first: at least `waited_ms`
  out of step      answered, but an earlier saying of the call had timed out, and this may be its late answer: a time
                   that flatters the agent, so it is counted apart
  false endpoint   answered, but the agent started before the user had finished: its TTFB is negative or has no
                   meaning, so it is counted apart
  answered         an observed value
A false endpoint that then stays unanswered is censored like any other, and still counts as a false endpoint. A repeat
of an unanswered utterance is a turn of its own. The greeting is in none of these.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.measure.bands import TTFB_MS, band_of
from harness.measure.distribution import Estimate, Sample
from harness.model.records import TurnRecord

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
UNDECIDED = "undecided"


class Entry(StrEnum):
    """How a turn enters the TTFB distribution."""

    CUT = "cut"
    FALSE_ENDPOINT = "false_endpoint"
    OUT_OF_STEP = "out_of_step"
    UNSPOKEN = "unspoken"
    ANSWERED = "answered"
    CENSORED = "censored"


_NOT_AWAITED = frozenset({Entry.CUT, Entry.UNSPOKEN, Entry.OUT_OF_STEP})


@dataclass(frozen=True, slots=True)
class TtfbResult:
    """TTFB of a set of turns, in ms."""

    sample: Sample
    n_answered: int
    n_censored: int
    n_cut: int
    # Whatever came of them; those that came to nothing are among the censored ones.
    n_false_endpoints: int
    n_false_endpoints_unanswered: int
    n_out_of_step: int
    n_unspoken: int
    percentiles: dict[str, Estimate | None]
    ci95: dict[str, tuple[float, float | None] | None]
    # Turns by runbook band; "undecided" are censored ones whose wait ended before the last band began.
    bands: dict[str, int] = field(default_factory=dict)
    # At the caller's ear, behind a carrier's playout buffer (media streams), of the same turns; None = no turn has it.
    heard: Sample | None = None

    @property
    def false_endpoint_ratio(self) -> float | None:
        """False endpoints over the turns in which the agent could have made one, None without such turns."""
        return self.n_false_endpoints / self.n_awaited if self.n_awaited else None

    @property
    def n_awaited(self) -> int:
        """Turns that were spoken to their end and in step with the agent."""
        return self.sample.n + self.n_false_endpoints - self.n_false_endpoints_unanswered


def entry_of(turn: TurnRecord) -> Entry:
    """Return how `turn` enters the distribution."""
    if turn.cut:
        return Entry.CUT
    if turn.speech_ended_at_ns is None:
        return Entry.UNSPOKEN
    if turn.censored:
        return Entry.CENSORED
    if turn.out_of_step:
        return Entry.OUT_OF_STEP
    if turn.false_endpoint:
        return Entry.FALSE_ENDPOINT
    return Entry.CENSORED if turn.ttfb_ms is None else Entry.ANSWERED


def sample_of(turns: Iterable[TurnRecord]) -> Sample:
    """Return the answered TTFBs and the censored waits of `turns`, in ms."""
    observed: list[float] = []
    censored: list[float] = []
    for turn in turns:
        entry = entry_of(turn)
        if entry is Entry.ANSWERED and turn.ttfb_ms is not None:
            observed.append(turn.ttfb_ms)
        elif entry is Entry.CENSORED:
            censored.append(turn.waited_ms)
    return Sample(observed, censored)


def measure(turns: Sequence[TurnRecord]) -> TtfbResult:
    """Return the TTFB of `turns`."""
    sample = sample_of(turns)
    entries = [entry_of(turn) for turn in turns]
    cut_in = [e for t, e in zip(turns, entries, strict=True) if t.false_endpoint and e not in _NOT_AWAITED]
    return TtfbResult(
        sample=sample,
        n_answered=len(sample.observed),
        n_censored=len(sample.censored),
        n_cut=entries.count(Entry.CUT),
        n_false_endpoints=len(cut_in),
        n_false_endpoints_unanswered=cut_in.count(Entry.CENSORED),
        n_out_of_step=entries.count(Entry.OUT_OF_STEP),
        n_unspoken=entries.count(Entry.UNSPOKEN),
        percentiles={name: sample.percentile(q) for name, q in PERCENTILES.items()},
        ci95={name: sample.interval(q) for name, q in PERCENTILES.items()},
        bands=_bands(sample),
        heard=_heard(turns, sample),
    )


def _heard(turns: Sequence[TurnRecord], arrived: Sample) -> Sample | None:
    answered = (turn.heard_ttfb_ms for turn in turns if entry_of(turn) is Entry.ANSWERED)
    observed = [heard_ms for heard_ms in answered if heard_ms is not None]
    return Sample(observed, list(arrived.censored)) if observed else None


def _bands(sample: Sample) -> dict[str, int]:
    """Count values by band. A censored value is known to be in the last band only, and only once it has reached it."""
    counts = {band.name: 0 for band in TTFB_MS} | {UNDECIDED: 0}
    for value in sample.observed:
        counts[band_of(TTFB_MS, value).name] += 1
    last = TTFB_MS[-1].name
    for bound in sample.censored:
        counts[last if band_of(TTFB_MS, bound).name == last else UNDECIDED] += 1
    return counts
