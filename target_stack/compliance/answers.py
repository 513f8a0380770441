"""What a caller's words mean for consent: yes, no, neither; and whether they take it back. English. Pure.

A yes must be unambiguous: whatever holds both, or a negation in any form, is at best unclear and never a yes.
"""

import re
from enum import StrEnum


class Answer(StrEnum):
    """What was answered."""

    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"


_YES = re.compile(
    r"\b(yes|yeah|yep|yup|sure|ok|okay|agree|agreed|accept|consent|absolutely|certainly|definitely|of course"
    r"|go ahead|that is fine|that's fine|fine with me|i do)\b"
)
_NO = re.compile(
    r"\b(no|nope|nah|not|never|none|don't|dont|do not|doesn't|won't|cannot|can't|wouldn't|refuse|decline|disagree"
    r"|object|stop)\b"
)
# Politeness with a no in it that says nothing about the question.
_NEITHER = re.compile(
    r"\b(no problem|not a problem|no worries|don't mind|do not mind|don't know|do not know|not sure)\b"
)
_THINGS = r"(recording|recordings|data|information|voice|call|conversation|transcript|transcripts)"
_TAKEN_BACK = re.compile(
    r"\b(stop (the |this |my )?recording( me| this| us)?"
    r"|(don't|do not) (want (you |this |to be )*|you )?record(ed|ing)?\b.*"
    r"|(delete|erase|remove|forget) (all )?(of )?(my|this|the) " + _THINGS + r"|"
    r"(withdraw|revoke|take back) (my )?consent|i (do not|don't) consent)\b"
)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]+", " ", text.lower().replace("\u2019", "'")).split())


def answer_in(text: str) -> Answer:
    """Return what `text` says to a question for consent."""
    words = _plain(text)
    if _NEITHER.search(words):
        return Answer.UNCLEAR
    is_yes, is_no = bool(_YES.search(words)), bool(_NO.search(words))
    if is_yes and is_no:
        # "I do not agree" is a no; "yes, no, wait" is nothing.
        negated = re.search(
            r"\b(not|don't|dont|never|can't|cannot|won't|wouldn't)\b( \w+){0,2} (agree|consent|accept)", words
        )
        return Answer.NO if negated else Answer.UNCLEAR
    if is_yes:
        return Answer.YES
    return Answer.NO if is_no else Answer.UNCLEAR


def takes_back(text: str) -> bool:
    """Tell whether the caller, in the middle of a call, no longer wants to be recorded or asks to be forgotten."""
    return _TAKEN_BACK.search(_plain(text)) is not None
