"""What two runs of a failure mode prove: off FAILED with its symptom, on PASSED. Pure.

Nothing is taken for shown that was not measured: a run that is void, had no data or never began proves nothing, and a
symptom whose figures are missing is no symptom.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.exit_codes import ExitCode
from harness.failures.failure_file import OFF, ON, Failure, Side, SymptomBlock
from harness.failures.moves import Move, figure, move
from harness.model.fault import Direction
from harness.report.analysis import Analysis
from harness.verdict.thresholds import ThresholdVerdict
from harness.verdict.verdict import VerdictKind, not_injected, not_undone

DECLARED: Mapping[Side, VerdictKind] = {OFF: VerdictKind.FAILED, ON: VerdictKind.PASSED}
_NOTHING = "no run"


class Outcome(StrEnum):
    """What became of a failure mode's two runs."""

    AS_DECLARED = "as declared"
    OTHERWISE = "not as declared"
    NO_DATA = "not measured"
    VOID = "void"
    UNREACHABLE = "target did not start"
    INTERRUPTED = "interrupted"


EXIT_OF = {
    Outcome.AS_DECLARED: ExitCode.PASSED,
    Outcome.OTHERWISE: ExitCode.FAILED,
    Outcome.NO_DATA: ExitCode.NO_DATA,
    Outcome.VOID: ExitCode.VOID,
    Outcome.UNREACHABLE: ExitCode.TARGET_UNREACHABLE,
    Outcome.INTERRUPTED: ExitCode.INTERRUPTED,
}
# What the command exits with is that of the first of these that a mode came to.
_WORST = (
    Outcome.INTERRUPTED,
    Outcome.UNREACHABLE,
    Outcome.VOID,
    Outcome.OTHERWISE,
    Outcome.NO_DATA,
    Outcome.AS_DECLARED,
)


@dataclass(frozen=True, slots=True)
class SideRun:
    """One run; `analysis` None: it left no records, `why` says why. `code`: what the run exited with."""

    side: Side
    code: int
    analysis: Analysis | None = None
    why: str = ""
    # The target never was ready.
    is_unreachable: bool = False
    # What was typed, as it could be typed again.
    up: str = ""
    run_dir: str = ""

    @property
    def verdict(self) -> str:
        """The run's verdict, or that there was no run."""
        return self.analysis.verdict.kind.value if self.analysis is not None else _NOTHING


@dataclass(frozen=True, slots=True)
class SymptomMove:
    """A declared symptom: what it did with the fix off, and the same figures with it on, where those are others."""

    declared: str
    off: Move
    # None where the fix being on is what is compared with.
    on: Move | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A failure mode, judged. `reasons`: why it is not as declared; none where it is."""

    failure: Failure
    off: SideRun
    on: SideRun
    symptoms: tuple[SymptomMove, ...]
    outcome: Outcome
    reasons: tuple[str, ...]


def judge(failure: Failure, off: SideRun, on: SideRun) -> Judged:
    """Return what the two runs of a mode prove."""
    symptoms: tuple[SymptomMove, ...] = ()
    if off.analysis is not None and on.analysis is not None:
        symptoms = tuple(_symptom(block, off.analysis, on.analysis) for block in failure.file.symptoms)
    reasons = [*_side_reasons(off), *_side_reasons(on), *_symptom_reasons(symptoms)]
    return Judged(failure, off, on, symptoms, _outcome(off, on, symptoms), tuple(reasons))


def exit_code_of(judged: Sequence[Judged]) -> ExitCode:
    """Return what the command exits with: 0 where every mode is as declared, and there is one."""
    found = {one.outcome for one in judged}
    return EXIT_OF[next((outcome for outcome in _WORST if outcome in found), Outcome.NO_DATA)]


def _symptom(block: SymptomBlock, off: Analysis, on: Analysis) -> SymptomMove:
    direction, words = Direction(block.direction), declared(block)
    if not block.against:
        start, end = figure(block.metric, on.measured), figure(block.metric, off.measured)
        return SymptomMove(words, move(words, start, end, direction, block.by), None)
    off_move, on_move = (
        move(words, figure(block.against, side.measured), figure(block.metric, side.measured), direction, block.by)
        for side in (off, on)
    )
    return SymptomMove(words, off_move, on_move)


def declared(block: SymptomBlock) -> str:
    """Word what is declared of a symptom, like "up by 500 from `ttfb_ms p50 during phase:few`"."""
    return f"{block.direction} by {block.by:g} from {f'`{block.against}`' if block.against else 'fix on'}"


def _side_reasons(run: SideRun) -> list[str]:
    if run.analysis is None:
        return [f"fix {run.side}: {run.why or 'the run left no records'}"]
    verdict, wanted = run.analysis.verdict, DECLARED[run.side]
    if verdict.kind is not wanted:
        return [f"fix {run.side}: {verdict.kind.value}, declared {wanted.value}: {verdict.deciding}"]
    # A threshold that failed, as it must, can hide a fault that did nothing; one that is not undone fails by itself.
    measured = run.analysis.measured
    return [f"fix {run.side}: {said}" for said in (*not_injected(measured), *not_undone(measured))]


def _symptom_reasons(symptoms: Sequence[SymptomMove]) -> list[str]:
    return [f"symptom not shown: {one.declared}: {one.off.why}" for one in symptoms if not one.off.is_shown]


def _outcome(off: SideRun, on: SideRun, symptoms: Sequence[SymptomMove]) -> Outcome:
    runs = (off, on)
    if any(run.code == ExitCode.INTERRUPTED for run in runs):
        return Outcome.INTERRUPTED
    if any(run.is_unreachable or run.code == ExitCode.TARGET_UNREACHABLE for run in runs):
        return Outcome.UNREACHABLE
    kinds = [run.analysis.verdict.kind if run.analysis is not None else VerdictKind.NO_DATA for run in runs]
    if VerdictKind.VOID in kinds:
        return Outcome.VOID
    if VerdictKind.NO_DATA in kinds or any(one.off.is_shown is None for one in symptoms):
        return Outcome.NO_DATA
    if any(_side_reasons(run) for run in runs) or not all(one.off.is_shown for one in symptoms):
        return Outcome.OTHERWISE
    return Outcome.AS_DECLARED


def deciding(run: SideRun) -> list[str]:
    """Return the thresholds that failed, or why there is no run."""
    if run.analysis is None:
        return [run.why]
    failed = [one for one in run.analysis.thresholds if one.verdict is ThresholdVerdict.FAILED]
    return [f"{one.title}: {one.detail}" for one in failed] or [run.analysis.verdict.deciding]
