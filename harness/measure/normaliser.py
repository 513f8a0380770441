"""The one text normaliser of every WER; another normaliser, or version, gives another WER.

It is Whisper's English one, with two changes. Every digit is a word of its own in the end: for Whisper's joins "four
one seven two, nine zero three eight" into the single word 41729038, while a recogniser that heard every digit may write
"4172 9 0 3 8", five errors where nothing was misheard. It also spells a 1 that stands alone as "one". Split, one wrong
digit is one error. And zeros that begin a number are kept: Whisper's reads "0958" as the number 958, but "zero nine
five eight" as 0958, an error where there is none.
"""

import re
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

NAME = "whisper-normalizer EnglishTextNormalizer, digits apart, leading zeros kept,"
_DIGIT = re.compile(r"(\d)")
# Not behind a decimal point or a thousands separator.
_LEADING_ZERO = re.compile(r"(?<![\d.,])0\d+")
_LONE_ONE = re.compile(r"\bone\b")


def identity() -> str:
    """Return the normaliser's name and installed version, as every result states it."""
    return f"{NAME} {version('whisper-normalizer')}"


@cache
def _english() -> Any:
    # Loads a spelling table: once, and only where a WER is computed.
    from whisper_normalizer.english import EnglishTextNormalizer  # noqa: PLC0415 (see above)

    return EnglishTextNormalizer()


@lru_cache(maxsize=16_384)
def normalise(text: str) -> str:
    """Return `text` lower-cased, without punctuation and fillers, with contractions, spelling and digits unified."""
    digits_told_apart = _LEADING_ZERO.sub(lambda number: " ".join(number[0]), text)
    return " ".join(_DIGIT.sub(r" \1 ", _LONE_ONE.sub("1", str(_english()(digits_told_apart)))).split())
