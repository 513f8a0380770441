"""Marks of a call as an Audacity label track: `start<TAB>end<TAB>text`, in seconds."""

from harness.analyze.turns import Conversation, Entry, Turn


def labels(conversation: Conversation) -> str:
    """Return the track; File > Import > Labels reads it."""
    marks = [(one.start_ms, one.end_ms, "agent") for one in conversation.agent]
    if conversation.greeting_ms is not None:
        marks.append((0.0, conversation.greeting_ms, f"greeting {conversation.greeting_ms:.0f} ms"))
    for turn in conversation.turns:
        marks += _turn_marks(turn)
    marks += [(s.start_ms, s.end_ms, f"dead air {s.end_ms - s.start_ms:.0f} ms") for s in conversation.dead_air]
    lines = [f"{start / 1000:.4f}\t{end / 1000:.4f}\t{text}" for start, end, text in sorted(marks)]
    return "\n".join([*lines, ""])


def _turn_marks(turn: Turn) -> list[tuple[float, float, str]]:
    name = f"turn {turn.number}"
    marks = [(turn.start_ms, turn.end_ms, name + (" FALSE ENDPOINT" if turn.false_endpoint else ""))]
    if turn.entry is Entry.ANSWERED and turn.onset_ms is not None:
        marks.append((turn.end_ms, turn.onset_ms, f"TTFB {turn.ttfb_ms:.0f} ms"))
    if turn.entry is Entry.CENSORED:
        marks.append((turn.end_ms, turn.end_ms + turn.waited_ms, f"{name}: no answer in {turn.waited_ms:.0f} ms"))
    if turn.barge_in is not None:
        words = "yield" if turn.barge_in.yielded else "no yield"
        at_ms = turn.barge_in.at_ms
        marks.append((at_ms, at_ms + turn.barge_in.yield_ms, f"{words} {turn.barge_in.yield_ms:.0f} ms"))
    return marks
