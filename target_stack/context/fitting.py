"""Which messages of a conversation are sent: the notes, the newest turns that fit, and always the last words."""

from collections.abc import Sequence
from dataclasses import dataclass

from target_stack.context.tokens import MESSAGE_TOKENS, PROMPT_TOKENS, Count, message_tokens
from target_stack.stages.prompt import Message

# Between what is left of words that had to be shortened.
CUT = " ... "


@dataclass(frozen=True, slots=True)
class Fitted:
    """`messages`: notes first, where there are any. `tokens`: of the whole prompt. `dropped`: messages left out."""

    messages: tuple[Message, ...]
    tokens: int
    dropped: int
    is_shortened: bool = False


def fit(
    history: Sequence[Message], notes: str, room: int, count: Count, *, fixed: int = 0, most: int | None = None
) -> Fitted:
    """Return what of `history` (oldest first, ending with the user's last words) is sent in `room` tokens.

    `fixed`: tokens that are always sent along. `most`: messages of the history at most. Notes give way only where they
    would leave the last words less than half of the room.
    """
    head = [Message("system", notes)] if notes else []
    used = PROMPT_TOKENS + fixed + sum(message_tokens(message, count) for message in head)
    last, is_shortened = _last_words(history, room - used, count)
    if is_shortened and head and 2 * message_tokens(head[0], count) > room - fixed:
        head, used = [], PROMPT_TOKENS + fixed
        last, is_shortened = _last_words(history, room - used, count)
    used += sum(message_tokens(message, count) for message in last)
    before = history[:-1] if history else []
    kept: list[Message] = []
    for message in reversed(before[len(before) - _most(most, len(before)) :]):
        tokens = message_tokens(message, count)
        if used + tokens > room:
            break
        used += tokens
        kept.insert(0, message)
    if kept and kept[0].role == "assistant":
        # An answer whose question is gone misleads, and many chat templates want the user first.
        used -= message_tokens(kept.pop(0), count)
    return Fitted((*head, *kept, *last), used, len(before) - len(kept), is_shortened)


def _most(most: int | None, there: int) -> int:
    return there if most is None else max(0, min(there, most))


def _last_words(history: Sequence[Message], room: int, count: Count) -> tuple[list[Message], bool]:
    """Return the last message, shortened to `room` where it must be."""
    if not history:
        return [], False
    last = history[-1]
    if message_tokens(last, count) <= room:
        return [last], False
    return [Message(last.role, shortened(last.text, max(1, room - MESSAGE_TOKENS), count))], True


def shortened(text: str, room: int, count: Count) -> str:
    """Return the text in at most `room` tokens: a fourth of what fits from its beginning, the rest from its end."""
    words = text.split()
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if count(_ends(words, middle)) <= room:
            low = middle
        else:
            high = middle - 1
    return _ends(words, low)


def _ends(words: Sequence[str], kept: int) -> str:
    if kept >= len(words):
        return " ".join(words)
    first = kept // 4
    last = kept - first
    return " ".join(words[:first]) + (CUT if first else "") + " ".join(words[len(words) - last :])
