"""Rules that find names and numbers in what a caller said; they cost microseconds and need no model.

They work on transcripts: with capitals and stops (Whisper), or all in small letters. A bare answer ("Daniel Reyes.",
"four five nine two") counts as what the agent had asked for. Payment cards, PINs and passwords are never kept.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from target_stack.context.digits import with_digits


@dataclass(frozen=True, slots=True)
class Fact:
    """Something the caller said of himself or his errand. `kind`: "name", "order number", "e-mail" ..."""

    kind: str
    value: str


_PARTICLE = r"(?:de|da|del|della|di|la|van|von|der|den|bin|al|el)"
_PART = r"[A-ZÀ-ÖØ-Þ](?:[\w']*[^\W\d_])?(?:-[A-ZÀ-ÖØ-Þ][\w']+)?"
NAME = rf"{_PART}(?: (?:{_PARTICLE} )*{_PART}){{0,3}}"
# After "my name is", where a transcript has no capitals at all.
SMALL_NAME = r"[a-z][a-z'-]+(?: [a-z][a-z'-]+)?"
_NO_NAME = frozenset(
    """a an and are as at because but by calling can could do for from good have hello help here hi how i i'm if in is
    it it's its just like looking me my no not of ok okay on or please really so sorry sure thank thanks that the there
    this to trying very want was well what when with would yes you your monday tuesday wednesday thursday friday
    saturday sunday january february march april june july august september october november december today tomorrow
    mr mrs ms dr""".split()  # noqa: SIM905 - a hundred words read better so
)
_RELATIVE = (
    "(?P<who>wife|husband|partner|son|daughter|mother|father|mum|mom|dad|brother|sister|boss|manager|colleague|"
    "assistant|friend|doctor|lawyer|neighbou?r)"
)

# Each with a group `name`. (?i:...) for the cue, not for the name's capitals.
_NAMED = (
    rf"(?i:\bmy (?:\w+ |sur)?name(?:'s| is|,| would be) (?:it's |it is )?)(?P<name>{NAME})",
    rf"(?i:\b(?:the name is|under(?: the name(?: of)?)?|name of|call me|named) )(?P<name>{NAME})",
    rf"(?i:\bthis is )(?P<name>{NAME})(?=\s*(?:[,.!]|$|(?i:and|calling|speaking|from|here|again)\b))",
    rf"(?i:\bi(?:'m| am) )(?P<name>{_PART} {_PART})(?=\s*(?:[,.!]|$|(?i:and|calling|speaking|from|here)\b))",
    rf"(?i:\bi(?:'m| am) )(?P<name>{NAME})(?=\s*,?\s*(?i:calling|speaking|here|from)\b)",
    rf"(?:^|[.,!] )(?P<name>{NAME})(?= (?i:speaking|here|calling)\b)",
    rf"(?i:\bmy name(?:'s| is) )(?P<name>{SMALL_NAME})",
)
_NAMES = tuple(map(re.compile, _NAMED))
_RELATIVES_NAMES = (
    re.compile(rf"(?i:\bmy {_RELATIVE}(?:'s name is|'s called| is called| is named|,| is)? )(?P<name>{NAME})"),
)

_THINGS = (
    "order|booking|reservation|reference|confirmation|account|ticket|case|claim|policy|invoice|customer|membership|"
    "member|tracking|serial|flight|patient|contract"
)
_FILLER = r"(?:[\s,:#.]+(?:number|no|id|code|is|was|it's|its|that's|that|would be|the|my|yes|of|and|i|think))*[\s,:#.]+"
_VALUE = r"(?P<value>(?=[A-Za-z-]*\d)[A-Za-z]{0,4}-?\d[\dA-Za-z-]{0,18}[\dA-Za-z]|\d)(?![\w])"
_NUMBERED = re.compile(rf"\b(?P<thing>{_THINGS}){_FILLER}{_VALUE}", re.IGNORECASE)
_PHONE = re.compile(
    r"\b(?:phone|telephone|mobile|cell|call(?: me)? back|reach me|my number)\b[^\d+]{0,40}"
    r"(?P<value>\+?\d[\d ()-]{5,18}\d)",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"(?P<value>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)")
_SPOKEN_EMAIL = re.compile(
    r"(?P<user>\w+(?: (?:dot|underscore|dash) \w+)*) at (?P<host>\w+(?: dot \w+)+)", re.IGNORECASE
)
_POSTCODE = re.compile(r"\b(?:post ?code|zip(?: code)?)\b[^\dA-Z]{0,12}(?P<value>[A-Z0-9]{2,4} ?[A-Z0-9]{2,5})")
_ADDRESS = re.compile(
    r"\b(?:address is|live at|lives at|deliver(?:ed)? (?:it )?to) (?P<value>\d[^.?!]{3,60})", re.IGNORECASE
)
_BORN = re.compile(
    r"\b(?:date of birth|birthday|born)\b(?: is| was| on|,| the|:)* (?P<value>[^.?!,]{4,30}(?:, ?\d{4})?)",
    re.IGNORECASE,
)
_SPELLED = re.compile(r"\b(?P<value>[A-Za-z](?:(?:, |[ -.]|\. )[A-Za-z]){2,})\b(?!')")
_SECRET = re.compile(r"\b(?:card|cvv|cvc|security code|pin|password|passcode|social security)\b", re.IGNORECASE)
_CARD_DIGITS = re.compile(r"\d{13,19}")

# What the agent asked for -> the kind of a bare answer.
_QUESTIONS = (
    (re.compile(r"\b(?:your|full|first|last) name\b|who am i (?:speaking|talking)", re.IGNORECASE), "name"),
    (re.compile(r"\b(?:phone|telephone|mobile|call you back)\b", re.IGNORECASE), "phone number"),
    (re.compile(r"\be-?mail\b", re.IGNORECASE), "e-mail"),
    (re.compile(r"\bpost ?code|zip\b", re.IGNORECASE), "postcode"),
    (re.compile(r"\bdate of birth|birthday\b", re.IGNORECASE), "date of birth"),
    (re.compile(r"\baddress\b", re.IGNORECASE), "address"),
)
_ASKED_NUMBER = re.compile(rf"\b(?P<thing>{_THINGS})(?: (?:number|code|id))?\b", re.IGNORECASE)
_BARE_NUMBER = re.compile(rf"^(?:[\w' ,]*?\b(?:is|it's|yes|sure|okay)\b[ ,:]*)?{_VALUE}\W*$", re.IGNORECASE)
_BARE_NAME = re.compile(rf"^(?:(?i:yes|sure|okay|it's|it is|of course)[, ]+)*(?P<name>{NAME})[.!]?$")
LONGEST_BARE_ANSWER = 60


def facts_in(said: str, asked: str = "") -> list[Fact]:
    """Return what a caller's turn tells, in the order of the rules. `asked`: the agent's words before it."""
    said = said.replace("\u2019", "'")
    if _SECRET.search(said) or _SECRET.search(asked):
        # What stands near such a word may be the secret itself; names are safe.
        return list(_names(said))
    text = with_digits(said)
    found = [*_names(said), *_numbers(text), *_contacts(text), *_spelled(said), *_answered(said, text, asked)]
    return [fact for fact in dict.fromkeys(found) if not _CARD_DIGITS.search(re.sub(r"\D", "", fact.value))]


def _names(said: str) -> Iterator[Fact]:
    for pattern in _RELATIVES_NAMES:
        for match in pattern.finditer(said):
            if name := _clean_name(match["name"]):
                yield Fact(f"{match['who'].lower()}'s name", name)
    others = [match.span("name") for pattern in _RELATIVES_NAMES for match in pattern.finditer(said)]
    for pattern in _NAMES:
        for match in pattern.finditer(said):
            name = _clean_name(match["name"])
            if name and match.span("name") not in others:
                yield Fact("name", name)


def _clean_name(found: str) -> str:
    """Cut a name at the first word that is none; "" when nothing is left."""
    words: list[str] = []
    for word in found.split():
        if word.lower().strip("'") in _NO_NAME:
            break
        words.append(word)
    return " ".join(words) if words and len(words[0]) > 1 else ""


def _numbers(text: str) -> Iterator[Fact]:
    for match in _NUMBERED.finditer(text):
        yield Fact(f"{match['thing'].lower()} number", match["value"].upper())


def _contacts(text: str) -> Iterator[Fact]:
    for kind, pattern in (
        ("phone number", _PHONE),
        ("e-mail", _EMAIL),
        ("postcode", _POSTCODE),
        ("address", _ADDRESS),
        ("date of birth", _BORN),
    ):
        for match in pattern.finditer(text):
            yield Fact(kind, match["value"].strip())
    for match in _SPOKEN_EMAIL.finditer(text):
        user, host = (_unspoken(match[part]) for part in ("user", "host"))
        yield Fact("e-mail", f"{user}@{host}")


def _unspoken(words: str) -> str:
    signs = {" dot ": ".", " underscore ": "_", " dash ": "-"}
    for word, sign in signs.items():
        words = re.sub(word, sign, words, flags=re.IGNORECASE)
    return words.lower()


def _spelled(said: str) -> Iterator[Fact]:
    for match in _SPELLED.finditer(said):
        letters = re.sub(r"[^A-Za-z]", "", match["value"])
        # "a b c" in small letters may be anything; a spelled name comes in capitals or with dashes.
        if letters.isupper() or "-" in match["value"]:
            yield Fact("spelling", letters.upper())


def _answered(said: str, text: str, asked: str) -> Iterator[Fact]:
    if not asked or len(said) > LONGEST_BARE_ANSWER:
        return
    if (thing := _ASKED_NUMBER.search(asked)) and (bare := _BARE_NUMBER.match(text.strip())):
        yield Fact(f"{thing['thing'].lower()} number", bare["value"].upper())
        return
    kind = next((kind for pattern, kind in _QUESTIONS if pattern.search(asked)), "")
    if kind == "name":
        if (name := _BARE_NAME.match(said.strip())) and (clean := _clean_name(name["name"])):
            yield Fact(kind, clean)
    elif kind and any(map(str.isdigit, text)):
        yield Fact(kind, text.strip(" .!"))
