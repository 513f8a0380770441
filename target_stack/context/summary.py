"""When old turns are summarised, which, and what the model is asked for."""

from collections.abc import Sequence

from target_stack.context.tokens import Count, message_tokens
from target_stack.stages.prompt import Message

ASK = (
    "Summarise this telephone call so far in at most {words} words of plain text. Keep every name, number, date, "
    "promise and open question. Do not invent anything."
)
SPEAKERS = {"user": "Customer", "assistant": "Agent"}


def turns_due(
    fresh: Sequence[Message], room: int, count: Count, *, at: float, to: float, most: int | None = None
) -> int:
    """Return how many of the oldest `fresh` messages (not yet summarised) are to be summarised now; 0: none.

    Due when they fill `at` of `room`; then as many as leave at most `to` of it, and at most what is itself as long as
    the room, since the summary is written by the same model. The next one left is the user's. `most`: messages that
    are sent along at most; beyond twice that they are due as well, as they would only be dropped.
    """
    sizes = [message_tokens(message, count) for message in fresh]
    is_crowded = most is not None and len(fresh) > 2 * most + 2
    if sum(sizes) < at * room and not is_crowded:
        return 0
    left, taken, due = sum(sizes), 0, 0
    for size in sizes:
        is_enough = left <= to * room and (most is None or len(fresh) - due <= most)
        if is_enough or taken + size > room:
            break
        left, taken, due = left - size, taken + size, due + 1
    while 0 < due < len(fresh) and fresh[due].role != "user":
        due -= 1
    return due


def request(summary: str, messages: Sequence[Message], words: int) -> list[Message]:
    """Return what the model is asked, as a conversation of one message."""
    return [Message("user", f"{ASK.format(words=words)}\n\n{script(summary, messages)}\n\nSummary:")]


def script(summary: str, messages: Sequence[Message]) -> str:
    """Return the old summary and the messages as a script."""
    lines = [f"Before: {summary}"] if summary else []
    lines += [f"{SPEAKERS[message.role]}: {' '.join(message.text.split())}" for message in messages]
    return "\n".join(lines)


def usable(written: str, words: int) -> str:
    """Return what the model wrote as a summary, clipped to twice the words asked for; "" for nothing of use."""
    text = " ".join(written.split())
    text = text.removeprefix("Summary:").strip()
    if not any(map(str.isalpha, text)):
        return ""
    parts = text.split()
    return " ".join(parts[: 2 * words])
