"""Two texts aligned word by word by jiwer, after the one normaliser: what was substituted, deleted and inserted."""

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

from harness.measure.normaliser import normalise

EQUAL, SUBSTITUTE, DELETE, INSERT = "equal", "substitute", "delete", "insert"


@dataclass(frozen=True, slots=True)
class Edit:
    """A stretch of the alignment: kind is "equal", "substitute", "delete" or "insert"; words are normalised."""

    kind: str
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """A reference and its hypothesis, word by word; `n_words` are those of the reference."""

    edits: tuple[Edit, ...]
    substitutions: int
    deletions: int
    insertions: int
    n_words: int

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference(self) -> tuple[str, ...]:
        """The reference's normalised words."""
        return tuple(word for edit in self.edits for word in edit.reference)

    @property
    def hypothesis(self) -> tuple[str, ...]:
        """The hypothesis's normalised words."""
        return tuple(word for edit in self.edits for word in edit.hypothesis)


def align(references: Sequence[str], hypotheses: Sequence[str]) -> list[Alignment]:
    """Align each hypothesis with the reference of the same place; an empty one deletes every word."""
    if not references:
        return []
    output = jiwer.process_words([normalise(text) for text in references], [normalise(text) for text in hypotheses])
    return [
        _alignment(reference, hypothesis, chunks)
        for reference, hypothesis, chunks in zip(output.references, output.hypotheses, output.alignments, strict=True)
    ]


def _alignment(reference: list[str], hypothesis: list[str], chunks: list[jiwer.AlignmentChunk]) -> Alignment:
    edits = tuple(
        Edit(
            c.type,
            tuple(reference[c.ref_start_idx : c.ref_end_idx]),
            tuple(hypothesis[c.hyp_start_idx : c.hyp_end_idx]),
        )
        for c in chunks
    )
    return Alignment(
        edits=edits,
        substitutions=sum(len(e.reference) for e in edits if e.kind == SUBSTITUTE),
        deletions=sum(len(e.reference) for e in edits if e.kind == DELETE),
        insertions=sum(len(e.hypothesis) for e in edits if e.kind == INSERT),
        n_words=len(reference),
    )
