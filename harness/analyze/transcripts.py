"""What was said and what was understood of it, turn by turn, as files give it -> WER of a recording.

A recording holds sound, no hypothesis of the agent's STT: that comes from the agent's log. Accepted are a JSON list
of {"turn": 1, "said": "...", "heard": "..."} (`clip` in place of `said` names an utterance of the corpus), or two
texts of one line a turn. What a local model makes of the caller's channel is an estimate of what the agent could have
understood.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.analyze.recording import Pcm
from harness.analyze.turns import Turn
from harness.corpus.audio import resample
from harness.corpus.manifest import Corpus
from harness.measure.alignment import align
from harness.measure.pooled import WerRate, pool
from harness.model.errors import ScenarioError

_MARGIN_MS = 200


@dataclass(frozen=True, slots=True)
class Words:
    """One turn's words; None = nobody told."""

    said: str | None = None
    heard: str | None = None


@dataclass(frozen=True, slots=True)
class Wer:
    """WER of the turns whose words are known; `heard_by` says who understood them so."""

    rate: WerRate
    heard_by: str
    n_left_out: int


def read_json(file: Path, corpus: Corpus | None) -> dict[int, Words]:
    """Read the JSON form; by turn number. Raises ScenarioError naming the place and what is legal."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ScenarioError(f"{file}: cannot read transcripts: {error}") from error
    rows = told.get("turns") if isinstance(told, dict) else told
    if not isinstance(rows, list):
        raise ScenarioError(f'{file}: legal: a list of {{"turn": 1, "said": "...", "heard": "..."}}')
    words: dict[int, Words] = {}
    for index, row in enumerate(rows):
        place = f"{file}: [{index}]"
        if not isinstance(row, dict) or not set(row) <= {"turn", "said", "clip", "heard"}:
            raise ScenarioError(f"{place}: legal: an object with turn, said or clip, and heard")
        number = row.get("turn", index + 1)
        if not isinstance(number, int) or number in words:
            raise ScenarioError(f"{place}.turn: {number!r}; legal: a turn's number, once")
        words[number] = Words(_said(place, row, corpus), _text(place, row, "heard"))
    return words


def read_texts(said: Path, heard: Path | None) -> dict[int, Words]:
    """Read one line a turn of each file."""
    lines = [_lines(said), _lines(heard) if heard else []]
    if heard and len(lines[0]) != len(lines[1]):
        raise ScenarioError(
            f"{heard}: has {len(lines[1])} lines, {said} has {len(lines[0])}; legal: a line a turn in both"
        )
    return {
        number: Words(text, lines[1][number - 1] if heard else None) for number, text in enumerate(lines[0], start=1)
    }


def estimated(
    turns: Sequence[Turn], caller: Pcm, rate: int, transcribe: Callable[[Pcm], str], words: dict[int, Words]
) -> dict[int, Words]:
    """Return `words` with what a local model hears of each turn."""
    heard: dict[int, Words] = {}
    for turn in turns:
        first = max(0, int((turn.start_ms - _MARGIN_MS) * rate / 1000))
        stretch = caller[first : int((turn.end_ms + _MARGIN_MS) * rate / 1000)]
        at_rate = stretch if rate == 16_000 else resample(stretch, rate, 16_000)
        said = words[turn.number].said if turn.number in words else None
        heard[turn.number] = Words(said, transcribe(np.ascontiguousarray(at_rate)))
    return heard


def wer_of(turns: Sequence[Turn], words: dict[int, Words], heard_by: str) -> Wer | None:
    """Return the WER; a turn of which nothing was understood counts as deleted. None without any reference."""
    numbers = [turn.number for turn in turns if words.get(turn.number, Words()).said]
    if not numbers or all(words[number].heard is None for number in numbers):
        return None
    aligned = align([words[n].said or "" for n in numbers], [words[n].heard or "" for n in numbers])
    return Wer(pool(aligned, numbers), heard_by, len(turns) - len(numbers))


def check_count(words: dict[int, Words], turns: Sequence[Turn]) -> str | None:
    """Return a warning where words and turns are not of one number."""
    unknown = sorted(set(words) - {turn.number for turn in turns})
    if not unknown and len(words) == len(turns):
        return None
    return f"transcripts of {len(words)} turns were given, {len(turns)} turns were heard: check which belongs to which"


def _said(place: str, row: dict[str, Any], corpus: Corpus | None) -> str | None:
    clip = _text(place, row, "clip")
    if clip is None:
        return _text(place, row, "said")
    if corpus is None or clip not in corpus.utterances:
        where = "--corpus is not given" if corpus is None else f"no utterance of {corpus.directory}"
        raise ScenarioError(f"{place}.clip: {clip!r}: {where}")
    return corpus.utterances[clip].transcript


def _text(place: str, row: dict[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise ScenarioError(f"{place}.{name}: {value!r}; legal: a text")
    return value


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{file}: cannot read transcripts: {error}") from error
