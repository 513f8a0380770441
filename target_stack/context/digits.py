"""Spoken numbers as digits: "four five nine two", "double five", "4 5 9 2" and "4-5-9-2" are all 4592 or so."""

import re

WORDS = {
    "zero": "0",
    "oh": "0",
    "o": "0",
    "nought": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
}
TIMES = {"double": 2, "triple": 3, "treble": 3}
# A shorter run is rather a number of things than a number.
LEAST_WORDS = 3
_WORD = "|".join(WORDS)
_RUN = re.compile(
    rf"\b(?:(?:{'|'.join(TIMES)})\s+)?(?:{_WORD})(?:[\s,.-]+(?:(?:{'|'.join(TIMES)})\s+)?(?:{_WORD}))*\b",
    re.IGNORECASE,
)
_APART = re.compile(r"(?<![\dA-Za-z])\d{1,4}(?:(?:, |[ -])\d{1,4})+(?![\dA-Za-z])")


def with_digits(text: str) -> str:
    """Return the text with spoken runs of three digits and more written as one number."""
    return _APART.sub(lambda match: re.sub(r"\D", "", match[0]), _RUN.sub(_run_digits, text))


def _run_digits(match: re.Match[str]) -> str:
    digits, times = "", 1
    for word in re.findall(r"[a-z]+", match[0].lower()):
        if word in TIMES:
            times = TIMES[word]
        else:
            digits += WORDS[word] * times
            times = 1
    return digits if len(digits) >= LEAST_WORDS else match[0]
