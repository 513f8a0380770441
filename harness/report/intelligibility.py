"""intelligibility.json beside a run, and what is made of it: how well the agent's own speech can be understood.

`callquake intelligibility` writes it, reports read it; figures are computed from its texts each time, with the one
normaliser. The interval draws different texts, for a text spoken twice by one voice is nearly one answer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.measure.alignment import Alignment, align
from harness.measure.normaliser import identity, normalise
from harness.measure.pooled import WerRate, pool
from harness.measure.worst import WordErrors, worst_words
from harness.report.words import interval, percent

NAME = "intelligibility.json"
SCHEMA_VERSION = 1
_FIELDS: Mapping[str, type] = {"call_id": str, "turn": int, "attempt": int, "said": str, "heard": str}


@dataclass(frozen=True, slots=True)
class HeardAnswer:
    """An answer: what the agent meant to say, and what a recogniser heard."""

    call_id: str
    turn: int
    attempt: int
    said: str
    heard: str


@dataclass(frozen=True, slots=True)
class ScoredAnswer(Alignment):
    """An answer, aligned."""

    answer: HeardAnswer


@dataclass(frozen=True, slots=True)
class Intelligibility:
    """WER of a recogniser on the agent's recorded answers, against the agent's text."""

    recogniser: str
    seed: int
    # Answers that could be heard; `scored` is a sample of them where it is fewer.
    n_eligible: int
    # Answers that could not, by reason.
    skipped: Mapping[str, int]
    rate: WerRate
    scored: list[ScoredAnswer]
    worst: list[ScoredAnswer]
    worst_words: list[WordErrors]

    @property
    def words(self) -> str:
        """The figure with its interval and n, in a line."""
        ends = f"95% {interval(self.rate.ci95)}" if self.rate.ci95 else "no interval: too few different answers"
        sample = f" of {self.n_eligible}" if len(self.scored) < self.n_eligible else ""
        return (
            f"WER of the agent's speech {percent(self.rate.wer)}  {ends}  {len(self.scored)}{sample} answers, "
            f"{self.rate.n_words} words"
        )


def write(
    run_dir: Path, recogniser: str, seed: int, n_eligible: int, skipped: Mapping[str, int], heard: Sequence[HeardAnswer]
) -> Path:
    """Write the file, as a whole or not at all; OSError where that cannot be done."""
    told = {
        "schema_version": SCHEMA_VERSION,
        "recogniser": recogniser,
        "seed": seed,
        "n_eligible": n_eligible,
        "skipped": dict(skipped),
        "answers": [{name: getattr(one, name) for name in _FIELDS} for one in heard],
    }
    path = run_dir / NAME
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return path


def read(run_dir: Path, notes: list[str]) -> Intelligibility | None:
    """Return what the file beside a run says; None where there is none. One that cannot be read is told in `notes`."""
    path = run_dir / NAME
    try:
        return _read(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        notes.append(f"{NAME} could not be read, so the agent's intelligibility is not told: {error}")
        return None


def _read(raw: Any) -> Intelligibility:
    if not isinstance(raw, dict) or raw.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"not of schema_version {SCHEMA_VERSION}")
    answers = [_answer(one) for one in raw["answers"]]
    skipped = {str(reason): _whole(n) for reason, n in raw["skipped"].items()}
    return score(str(raw["recogniser"]), _whole(raw["seed"]), _whole(raw["n_eligible"]), skipped, answers)


def _answer(raw: Mapping[str, Any]) -> HeardAnswer:
    for name, kind in _FIELDS.items():
        if type(raw[name]) is not kind:
            raise TypeError(f"answers: {name} {raw[name]!r:.60}")
        if kind is str:
            # A lone surrogate, which JSON can hold and no report can.
            raw[name].encode()
    return HeardAnswer(**{name: raw[name] for name in _FIELDS})


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r:.60} is no whole number from 0")
    return value


def score(
    recogniser: str, seed: int, n_eligible: int, skipped: Mapping[str, int], answers: Sequence[HeardAnswer]
) -> Intelligibility:
    """Align and pool the answers."""
    aligned = align([one.said for one in answers], [one.heard for one in answers])
    scored = [
        ScoredAnswer(a.edits, a.substitutions, a.deletions, a.insertions, a.n_words, one)
        for a, one in zip(aligned, answers, strict=True)
    ]
    wrong = [one for one in scored if one.errors]
    return Intelligibility(
        recogniser=recogniser,
        seed=seed,
        n_eligible=n_eligible,
        skipped=skipped,
        rate=pool(scored, [normalise(one.answer.said) for one in scored], seed),
        scored=scored,
        worst=sorted(wrong, key=lambda s: (-s.errors / max(1, s.n_words), -s.errors, s.answer.call_id))[:6],
        worst_words=worst_words(scored, 8),
    )


def to_json(found: Intelligibility | None) -> dict[str, Any] | None:
    """Return the `intelligibility` of summary.json; null = not measured."""
    if found is None:
        return None
    rate = found.rate
    return {
        "recogniser": found.recogniser,
        "normaliser": identity(),
        "n": len(found.scored),
        "n_eligible": found.n_eligible,
        "skipped": dict(found.skipped),
        "n_words": rate.n_words,
        "wer": None if rate.wer is None else round(rate.wer, 6),
        "ci95": None if rate.ci95 is None else [round(end, 6) for end in rate.ci95],
        "worst": [
            {"call_id": one.answer.call_id, "turn": one.answer.turn, "said": one.answer.said, "heard": one.answer.heard}
            for one in found.worst
        ],
    }
