"""Turns of one or many recordings -> the figures of a report. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analyze.turns import Conversation, Entry, Turn
from harness.measure.distribution import Sample

# A TTFB that may be further off is no measurement to 20 ms, and is told as such.
SURE_MS = 20.0


@dataclass(frozen=True, slots=True)
class Totals:
    """All turns together; samples in ms, a turn without an answer in them as censored."""

    n_calls: int
    n_turns: int
    ttfb: Sample
    greeting: Sample
    yields: Sample
    n_false_endpoints: int
    n_barge_ins: int
    n_dead_air: int
    dead_air_ms: float
    talk_over_ms: float
    duration_ms: float
    # Answered turns whose TTFB may be over SURE_MS off, an edge being under a background.
    n_unsure: int = 0

    @property
    def false_endpoint_ratio(self) -> float | None:
        """False endpoints over turns, None without turns."""
        return self.n_false_endpoints / self.n_turns if self.n_turns else None


def totals_of(conversations: Sequence[Conversation]) -> Totals:
    """Return the figures of `conversations`."""
    turns = [turn for one in conversations for turn in one.turns]
    barge_ins = [turn.barge_in for turn in turns if turn.barge_in is not None]
    return Totals(
        n_calls=len(conversations),
        n_turns=len(turns),
        ttfb=ttfb_of(turns),
        greeting=Sample(one.greeting_ms for one in conversations if one.greeting_ms is not None),
        yields=Sample(
            [one.yield_ms for one in barge_ins if one.yielded], [one.yield_ms for one in barge_ins if not one.yielded]
        ),
        n_false_endpoints=sum(turn.false_endpoint for turn in turns),
        n_barge_ins=len(barge_ins),
        n_dead_air=sum(len(one.dead_air) for one in conversations),
        dead_air_ms=sum(silence.end_ms - silence.start_ms for one in conversations for silence in one.dead_air),
        talk_over_ms=sum(one.talk_over_ms for one in conversations),
        duration_ms=sum(one.duration_ms for one in conversations),
        n_unsure=sum(turn.entry is Entry.ANSWERED and is_unsure(turn) for turn in turns),
    )


def is_unsure(turn: Turn) -> bool:
    """Tell whether the turn's TTFB may be over SURE_MS off."""
    return turn.ttfb_within_ms is not None and turn.ttfb_within_ms > SURE_MS


def ttfb_of(turns: Sequence[Turn]) -> Sample:
    """Return answered TTFBs and censored waits; turns with a false endpoint that were answered are in neither."""
    observed = [turn.ttfb_ms for turn in turns if turn.entry is Entry.ANSWERED and turn.ttfb_ms is not None]
    return Sample(observed, [turn.waited_ms for turn in turns if turn.entry is Entry.CENSORED])
