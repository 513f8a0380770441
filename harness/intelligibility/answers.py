"""Which answers of a run can be scored: recorded, with the agent's text, and spoken to their end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.model.records import CallRecord, TurnRecord

NOT_RECORDED = "their calls were not recorded"
NO_TEXT = "the agent told no text of them"
NO_END = "their end is not on record: the call ended first, or the caller heard no onset"
OUT_OF_STEP = "they may be answers to an earlier turn"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the agent: what it meant to say, and when it was audible (monotonic ns)."""

    call_id: str
    turn: int
    attempt: int
    text: str
    onset_at_ns: int
    ended_at_ns: int


def answers_of(turns: Sequence[TurnRecord], calls: Sequence[CallRecord]) -> tuple[list[Answer], Mapping[str, int]]:
    """Return the answers that can be scored, and how many answered turns cannot, by reason."""
    recorded = {call.call_id for call in calls if call.recording}
    answers: list[Answer] = []
    skipped: Counter[str] = Counter()
    for turn in turns:
        if turn.onset_at_ns is None and not turn.agent_text:
            continue
        reason = _why_not(turn, turn.call_id in recorded)
        if reason:
            skipped[reason] += 1
        elif turn.onset_at_ns is not None and turn.agent_speech_ended_at_ns is not None:
            text, ended = turn.agent_text or "", turn.agent_speech_ended_at_ns
            answers.append(Answer(turn.call_id, turn.turn, turn.attempt, text, turn.onset_at_ns, ended))
    return answers, dict(skipped)


def _why_not(turn: TurnRecord, is_recorded: bool) -> str:
    if not is_recorded:
        return NOT_RECORDED
    if not (turn.agent_text or "").strip():
        return NO_TEXT
    if turn.out_of_step:
        return OUT_OF_STEP
    ended = turn.agent_speech_ended_at_ns
    if turn.onset_at_ns is None or ended is None or ended <= turn.onset_at_ns or turn.cut:
        return NO_END
    return ""
