"""How many tokens a text has, where no tokenizer can be asked: an estimate that is meant to be too high.

Tokenizers of today's models (byte-level BPE, SentencePiece with byte fallback) never make more tokens than a text has
UTF-8 bytes; that is the hard bound. English has about 1.3 a word. The estimate lies between: a token for every three
letters of a word, for every digit, for every other sign, and every byte of what is not ASCII. Only strings of letters
that are no language reach above it.
"""

import re
from collections.abc import Callable, Iterable

from target_stack.stages.prompt import Message

# Text -> tokens.
Count = Callable[[str], int]

# What a chat template puts around a message: role and marks. Llama 3, Gemma and ChatML take 4 to 6.
MESSAGE_TOKENS = 8
# The begin-of-text mark and the header of the reply.
PROMPT_TOKENS = 8
LETTERS_A_TOKEN = 3
_PIECES = re.compile(r"[A-Za-z]+|[0-9]|[^\x00-\x7f]+|[^\sA-Za-z0-9]|\s{2,}")


def estimate_tokens(text: str) -> int:
    """Return about how many tokens `text` has, rather too many than too few, and never more than its UTF-8 bytes."""
    return sum(_piece_tokens(piece) for piece in _PIECES.findall(text))


def most_tokens(text: str) -> int:
    """Return the hard bound: a token a byte."""
    return len(text.encode())


def _piece_tokens(piece: str) -> int:
    if not piece.isascii():
        return len(piece.encode())
    if piece.isalpha():
        return -(-len(piece) // LETTERS_A_TOKEN)
    # A digit, a sign, or a run of spaces.
    return 1


def message_tokens(message: Message, count: Count) -> int:
    """Return a message's share of a prompt, its template included."""
    return count(message.text) + MESSAGE_TOKENS


def prompt_tokens(fixed: int, messages: Iterable[Message], count: Count) -> int:
    """Return the whole prompt's: `fixed` is what is always sent along."""
    return PROMPT_TOKENS + fixed + sum(message_tokens(message, count) for message in messages)
