"""Both sides' speech -> what happened in the call. Pure: stretches in, turns out, ms from the recording's first sample.

A *turn* is what the caller says until the agent answers it: stretches of speech with less than `pause_ms` between
them are one turn, unless the agent began to speak in the pause. Then the caller

    went on within `pause_ms` of its own pause, and within RESUMED_MS of the agent's onset: it had not finished (if it
    is not known that it had), the agent cut in. One turn, with a *false endpoint*, as every onset while the caller
    speaks is;
    or spoke later: the agent's onset answered the turn. If the agent was still speaking, the next turn is a *barge-in*.

TTFB is the agent's first onset at or after the turn's end, minus that end. An answer that began before the end and
went on for EARLY_ANSWER_MS past it was early: the turn is answered, without a TTFB. A turn that nobody answered
before the caller spoke again, or before the recording ended, is censored: it waited at least so long. The agent's
first onset before the caller's first word is the greeting.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import hypot

from harness.analyze.agent_side import Speech

PAUSE_MS = 2_000.0
RESUMED_MS = 1_000.0
# As in live calls (callers/conversation.py).
EARLY_ANSWER_MS = 500.0
DEAD_AIR_MS = 3_000.0
# An agent that talks on for longer than this after a barge-in's last word did not yield to it.
YIELD_WITHIN_MS = 500.0


class Entry(StrEnum):
    """How a turn enters the distribution of TTFB; the words of harness/measure/ttfb.py."""

    ANSWERED = "answered"
    CENSORED = "censored"
    FALSE_ENDPOINT = "false_endpoint"


@dataclass(frozen=True, slots=True)
class BargeIn:
    """The caller began to speak while the agent did."""

    at_ms: float
    # From the barge-in to the agent's last audible sample; of one that did not yield, at least so long.
    yield_ms: float
    yielded: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the caller and what became of it."""

    number: int
    start_ms: float
    end_ms: float
    stretches: tuple[Speech, ...]
    entry: Entry
    onset_ms: float | None
    ttfb_ms: float | None
    waited_ms: float
    # The agent began to speak before the caller had finished, whatever came of it.
    false_endpoint: bool
    barge_in: BargeIn | None
    talk_over_ms: float
    # Whose end it is: "measured" in the audio, "log", of a recording of our own, or "clip"; what the audio alone says.
    end_from: str = "measured"
    measured_end_ms: float | None = None
    measured_onset_ms: float | None = None
    utterance_id: str | None = None
    # How far off the TTFB may be, with a probability of 0.9 or so; None where no edge of it is under a background.
    ttfb_within_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """Dead air: nobody spoke; `after` says who had spoken last."""

    start_ms: float
    end_ms: float
    after: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """All of a call."""

    duration_ms: float
    turns: tuple[Turn, ...]
    caller: tuple[Speech, ...]
    agent: tuple[Speech, ...]
    greeting_ms: float | None
    dead_air: tuple[Silence, ...]
    talk_over_ms: float
    notes: tuple[str, ...] = field(default=())


def converse(
    caller: Sequence[Speech],
    agent: Sequence[Speech],
    duration_ms: float,
    pause_ms: float = PAUSE_MS,
    dead_air_ms: float = DEAD_AIR_MS,
) -> Conversation:
    """Return what happened; both lists in order and free of overlap."""
    grouped = group(caller, agent, pause_ms)
    return told(grouped, caller, agent, duration_ms, dead_air_ms)


def told(
    grouped: Sequence[Sequence[Speech]],
    caller: Sequence[Speech],
    agent: Sequence[Speech],
    duration_ms: float,
    dead_air_ms: float = DEAD_AIR_MS,
) -> Conversation:
    """Return what happened, the caller's turns being known."""
    turns = []
    for index, stretches in enumerate(grouped):
        until_ms = grouped[index + 1][0].start_ms if index + 1 < len(grouped) else duration_ms
        turns.append(_turn(index + 1, tuple(stretches), agent, until_ms))
    first_ms = caller[0].start_ms if caller else duration_ms
    greeting = next((speech.start_ms for speech in agent if speech.start_ms < first_ms), None)
    return Conversation(
        duration_ms,
        tuple(turns),
        tuple(caller),
        tuple(agent),
        greeting,
        tuple(_silences(caller, agent, duration_ms, dead_air_ms)),
        sum(overlap_ms(one, agent) for one in caller),
    )


def group(
    caller: Sequence[Speech],
    agent: Sequence[Speech],
    pause_ms: float = PAUSE_MS,
    finished: Collection[Speech] = frozenset(),
) -> list[list[Speech]]:
    """Return the caller's stretches, turn by turn.

    Behind those in `finished` the caller is known to have said all it wanted: what it says into an answer is new.
    """
    turns: list[list[Speech]] = []
    for stretch in caller:
        if turns and _goes_on(turns[-1][-1], stretch, agent, pause_ms, had_finished=turns[-1][-1] in finished):
            turns[-1].append(stretch)
        else:
            turns.append([stretch])
    return turns


def _goes_on(before: Speech, stretch: Speech, agent: Sequence[Speech], pause_ms: float, *, had_finished: bool) -> bool:
    """Tell whether `stretch` belongs to the turn that `before` belongs to."""
    if stretch.start_ms - before.end_ms >= pause_ms:
        return False
    began = [one.start_ms for one in agent if before.end_ms <= one.start_ms < stretch.start_ms]
    return not began or (stretch.start_ms - began[0] < RESUMED_MS and not had_finished)


def _turn(number: int, stretches: tuple[Speech, ...], agent: Sequence[Speech], until_ms: float) -> Turn:
    start_ms, end_ms = stretches[0].start_ms, stretches[-1].end_ms
    barged = next((one for one in agent if one.start_ms < start_ms < one.end_ms), None)
    cut_in = [one for one in agent if start_ms <= one.start_ms < end_ms]
    answer = next((one for one in agent if end_ms <= one.start_ms < until_ms), None)
    is_early = any(one.end_ms - end_ms >= EARLY_ANSWER_MS for one in cut_in)
    turn = Turn(
        number,
        start_ms,
        end_ms,
        stretches,
        entry=Entry.CENSORED,
        onset_ms=None,
        ttfb_ms=None,
        waited_ms=max(0.0, until_ms - end_ms),
        false_endpoint=bool(cut_in),
        barge_in=None if barged is None else _barge_in(start_ms, end_ms, barged),
        talk_over_ms=sum(overlap_ms(one, agent) for one in stretches),
    )
    if is_early:
        return replace(turn, entry=Entry.FALSE_ENDPOINT, waited_ms=0.0)
    if answer is None:
        return turn
    ttfb_ms = answer.start_ms - end_ms
    entry = Entry.FALSE_ENDPOINT if cut_in else Entry.ANSWERED
    within = [ms for ms in (stretches[-1].end_within_ms, answer.start_within_ms) if ms is not None]
    return replace(
        turn,
        entry=entry,
        onset_ms=answer.start_ms,
        ttfb_ms=ttfb_ms,
        waited_ms=ttfb_ms,
        # The two are independent.
        ttfb_within_ms=hypot(*within) if within else None,
    )


def _barge_in(start_ms: float, end_ms: float, agent: Speech) -> BargeIn:
    return BargeIn(start_ms, agent.end_ms - start_ms, agent.end_ms <= end_ms + YIELD_WITHIN_MS)


def overlap_ms(one: Speech, others: Sequence[Speech]) -> float:
    """Return for how long `one` and any of `others` last at once."""
    return sum(max(0.0, min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms)) for other in others)


def _silences(caller: Sequence[Speech], agent: Sequence[Speech], duration_ms: float, least_ms: float) -> list[Silence]:
    spoken = sorted(
        [(s.start_ms, s.end_ms, "caller") for s in caller] + [(s.start_ms, s.end_ms, "agent") for s in agent]
    )
    silences, end_ms, after = [], 0.0, "start"
    for start_ms, stop_ms, who in [*spoken, (duration_ms, duration_ms, "")]:
        if start_ms - end_ms >= least_ms:
            silences.append(Silence(end_ms, start_ms, after))
        if stop_ms > end_ms:
            end_ms, after = stop_ms, who
    return silences
