"""Cuts a streamed reply into sentences as it grows, so that the first can be spoken while the rest is written."""

# Followed by a full stop without ending a sentence.
ABBREVIATIONS = frozenset(
    (
        "mr",
        "mrs",
        "ms",
        "dr",
        "st",
        "no",
        "vs",
        "etc",
        "approx",
        "inc",
        "ltd",
        "co",
        "a.m",
        "p.m",
        "e.g",
        "i.e",
        "u.s",
        "u.k",
    )
)
ENDS = ".!?"
CLOSERS = "\"')]\u2019\u201d"
CLAUSE_ENDS = ",;:\u2014"
# "Of course," and "Thank you," are the shortest openings worth their own breath; "Yes," is over before more can follow.
CLAUSE_LETTERS = 8
# A phrase long enough that the rest is spoken while it is heard, and what may stand at the next one's beginning.
PHRASE_WORDS = 3
PHRASE_LETTERS = 14
PHRASE_BEGINS = frozenset(
    (
        *("is", "are", "was", "were", "will", "would", "can", "has", "have"),
        *("on", "at", "in", "to", "for", "with", "from", "by", "until", "after", "before", "about"),
        *("and", "but", "or", "that", "which", "because", "when", "if", "so"),
    )
)


class SentenceSplitter:
    """Feed it text pieces of any size; it returns each sentence once it is certain that it ended.

    A full stop ends a sentence only when a space follows, so that "3.50" and "callquake.example" survive and "Dr. Ng"
    is one. The last sentence comes from `flush`.
    """

    def __init__(self) -> None:
        self._pending = ""

    def feed(self, text: str) -> list[str]:
        """Return the sentences that ended within `text`, stripped, none of them empty."""
        self._pending += text
        sentences: list[str] = []
        position = 0
        while position < len(self._pending):
            end = self._sentence_end(position)
            if end is None:
                position += 1
                continue
            sentences.append(self._pending[:end].strip())
            self._pending = self._pending[end:].lstrip()
            position = 0
        return [sentence for sentence in sentences if sentence]

    def take_clause(self) -> str:
        """Return the first clause of the sentence that is being written and keep the rest; "" while there is none."""
        clause, self._pending = split_clause(self._pending)
        return clause

    def flush(self) -> str:
        """Return what is left, "" when nothing is; the splitter is empty afterwards."""
        left, self._pending = self._pending.strip(), ""
        return left

    def _sentence_end(self, position: int) -> int | None:
        """Return the index after the sentence that ends with the mark at `position`, None where none does yet."""
        text = self._pending
        if text[position] == "\n":
            return position + 1
        if text[position] not in ENDS:
            return None
        end = position + 1
        while end < len(text) and text[end] in ENDS + CLOSERS:
            end += 1
        if end >= len(text) or not text[end].isspace():
            return None
        if text[position] == "." and self._is_abbreviation(position):
            return None
        return end

    def _is_abbreviation(self, full_stop: int) -> bool:
        words = self._pending[:full_stop].split()
        word = words[-1].lower() if words else ""
        return word in ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i")


def split_clause(text: str) -> tuple[str, str]:
    """Return the first clause, with its mark, and the rest; ("", text) where none has ended.

    A mark ends one only when a space follows, as in no number, and when enough was said before it. Without a mark a
    phrase of some length ends before a word that begins another ("The next appointment | is on Thursday").
    """
    position = 0
    for count, word in enumerate(text.split(" ")):
        before, after = text[:position].rstrip(), position + len(word)
        # Whether more follows: else the word itself may still be growing.
        is_whole = after < len(text)
        if count >= PHRASE_WORDS and is_whole and word.lower() in PHRASE_BEGINS and _letters(before) >= PHRASE_LETTERS:
            return before, text[position:].lstrip()
        if is_whole and word.endswith(tuple(CLAUSE_ENDS)) and _letters(text[:after]) >= CLAUSE_LETTERS:
            return text[:after].strip(), text[after:].lstrip()
        position = after + 1
    return "", text


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def is_speakable(sentence: str) -> bool:
    """Return whether there is a word in it: small models also stream lone punctuation."""
    return sum(character.isalpha() for character in sentence) >= 2


def clipped(sentence: str, max_characters: int) -> str:
    """Return the sentence, cut at the last clause or else word that fits in `max_characters`, ending with a stop."""
    if len(sentence) <= max_characters:
        return sentence
    head = sentence[: max_characters + 1]
    cut = max(head.rfind(mark) for mark in ",;:")
    if cut < max_characters // 3:
        cut = head.rfind(" ")
    return head[: cut if cut > 0 else max_characters].rstrip(" ,;:") + "."
