"""Where a long utterance is cut into parts that a recogniser takes whole, and how their words are joined. Pure.

    |######|####__####_#######|____|########|
     0                         `- a pause, late enough and long enough: the part ends in its middle

Whisper knows 30 s at a time; what is cut by the clock loses the word it falls into. So a part ends in a pause. How long
the pause must be falls with the part's age: a sentence's end at first, later the gap between two words. Only speech
without any is cut inside, at its quietest; the two parts then overlap, and the words that both have are kept once.
"""

from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from target_stack.frames import Pcm
from target_stack.pipeline.listening import Heard, Voice
from target_stack.stages.vad import CHUNK_MS, CHUNK_SAMPLES

# Words on each side of a cut that may be the same ones: two seconds of fast speech.
OVERLAP_WORDS = 10


@dataclass(frozen=True, slots=True)
class PartRules:
    """Durations in ms of audio."""

    # No part is shorter, but the last: recognisers need context.
    shortest_ms: float = 8_000.0
    # No part is longer: five seconds below Whisper's window.
    longest_ms: float = 25_000.0
    # How long a pause must be to end a part of `shortest_ms`, and one of nearly `longest_ms`.
    sentence_pause_ms: float = 300.0
    word_pause_ms: float = 90.0
    # Where there was none: how far back the quietest place is looked for, and how much both parts have of it.
    search_ms: float = 6_000.0
    overlap_ms: float = 2_000.0
    # Below this the VAD hears no voice.
    voice: float = 0.35


@dataclass(frozen=True, slots=True)
class Cut:
    """A part ends before chunk `end`, the next begins with chunk `start`; they overlap where no pause was found."""

    end: int
    start: int

    @property
    def is_in_speech(self) -> bool:
        """Whether both parts have the words around the cut."""
        return self.start < self.end


class CutSearch:
    """Looks for the end of the first part of a stretch that grows; begin a new one for the next part."""

    def __init__(self, rules: PartRules) -> None:
        self._rules = rules
        # Chunks looked at, and how many of the last of them have no voice.
        self._seen = 0
        self._silent = 0

    def look(self, heard: Heard) -> Cut | None:
        """Return where the first part of what was heard so far ends, None while it is not decided.

        `heard` begins with what the last look was given. The answer for a longer stretch is the same.
        """
        shortest, longest = _chunks(self._rules.shortest_ms), _chunks(self._rules.longest_ms)
        for probability in heard.voice[self._seen : longest]:
            self._seen += 1
            self._silent = self._silent + 1 if probability < self._rules.voice else 0
            pause_ms = self._silent * CHUNK_MS
            if self._seen >= shortest and pause_ms >= _pause_needed_ms(self._seen * CHUNK_MS, self._rules):
                middle = self._seen - self._silent // 2
                return Cut(middle, middle)
        return _cut_in_speech(heard, self._rules) if heard.chunks >= longest else None


def _chunks(duration_ms: float) -> int:
    return round(duration_ms / CHUNK_MS)


def _pause_needed_ms(age_ms: float, rules: PartRules) -> float:
    share = (age_ms - rules.shortest_ms) / (rules.longest_ms - rules.shortest_ms)
    return rules.sentence_pause_ms + (rules.word_pause_ms - rules.sentence_pause_ms) * min(1.0, max(0.0, share))


def _cut_in_speech(heard: Heard, rules: PartRules) -> Cut:
    """Return a cut at the quietest 100 ms, late enough that the overlap still fits into the part."""
    half, longest = _chunks(rules.overlap_ms / 2), _chunks(rules.longest_ms)
    first, last = longest - half - _chunks(rules.search_ms), longest - half
    energy = levels(heard.samples)[:longest]
    smooth = np.convolve(energy, np.ones(3) / 3, "same")
    quietest = first + int(np.argmin(smooth[first:last]))
    return Cut(quietest + half, quietest - half)


def levels(samples: Pcm) -> Voice:
    """Return the mean square of each whole chunk."""
    whole = len(samples) // CHUNK_SAMPLES * CHUNK_SAMPLES
    squares = samples[:whole].reshape(-1, CHUNK_SAMPLES).astype(np.float32) ** 2
    means: Voice = squares.mean(axis=1)
    return means


def joined(first: str, second: str, *, is_overlapping: bool = False) -> str:
    """Return the words of two parts as one text; of an overlap's words those in the first part's end stand once."""
    if not is_overlapping:
        return f"{first} {second}".strip()
    head, tail = first.split(), second.split()
    end, start = head[-OVERLAP_WORDS:], tail[:OVERLAP_WORDS]
    common = SequenceMatcher(None, _bare(end), _bare(start), autojunk=False).find_longest_match()
    # One word alone may be another one's like; then it must stand at the joint.
    dropped = len(end) - common.a - common.size + common.b
    if not common.size or (common.size == 1 and dropped > 2):
        return f"{first} {second}".strip()
    # What stands behind the common words in the first part, or before them in the second, was cut off in mid-word.
    kept = len(head) - len(end) + common.a + common.size
    return " ".join([*head[:kept], *tail[common.b + common.size :]])


def same_words(first: str, second: str) -> bool:
    """Return whether two transcripts differ in case and punctuation only."""
    return _bare(first.split()) == _bare(second.split())


def _bare(words: list[str]) -> list[str]:
    return ["".join(filter(str.isalnum, word)).casefold() for word in words]
