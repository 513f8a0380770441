"""The verdict of a run and the line that decided it.

Order: VOID beats FAILED beats NO DATA beats PASSED. A void run's numbers must not be believed, whichever way they
point. A fault that is not undone fails the run: it leaves broken what it was let loose on. PASSED needs thresholds,
all of them passed, and at least one answered turn: a run in which nothing was heard, or nothing was asked, proves
nothing. An interrupted run keeps its verdict on what it saw, and exits as interrupted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.exit_codes import ExitCode
from harness.measure.run import Measured
from harness.verdict.evaluate import ThresholdResult
from harness.verdict.thresholds import ThresholdVerdict


class VerdictKind(StrEnum):
    """What a run says of the agent."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    NO_DATA = "NO DATA"
    VOID = "VOID"


class RunStatus(StrEnum):
    """How the run itself ended, as run.json says; RUNNING on disk means it was killed before it could say."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    ENGINE_DIED = "engine_died"
    # Of several workers one or more left or died; the others went on to their end.
    WORKER_LOST = "worker_lost"
    TARGET_UNREACHABLE = "target_unreachable"


EXIT_OF = {
    VerdictKind.PASSED: ExitCode.PASSED,
    VerdictKind.FAILED: ExitCode.FAILED,
    VerdictKind.NO_DATA: ExitCode.NO_DATA,
    VerdictKind.VOID: ExitCode.VOID,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict, the line that decided it, every further reason, and the exit code."""

    kind: VerdictKind
    deciding: str
    reasons: tuple[str, ...]
    exit_code: ExitCode


def decide(
    run: Measured,
    results: Sequence[ThresholdResult],
    status: RunStatus,
    target: str = "",
    broken: Sequence[str] = (),
    untold: Sequence[str] = (),
) -> Verdict:
    """Return the verdict of a run that ended with `status`; `target` is the address named when it was unreachable.

    `broken` says what faults claimed and the run refuted, and which bounds of its leak audit a process broke; `untold`
    what that audit had to tell and could not.
    """
    kind, reasons = _reasons(run, results, status, target, broken, untold)
    return Verdict(kind, reasons[0], tuple(reasons), _exit_code(kind, status))


def _exit_code(kind: VerdictKind, status: RunStatus) -> ExitCode:
    if status in {RunStatus.INTERRUPTED, RunStatus.RUNNING}:
        return ExitCode.INTERRUPTED
    if status is RunStatus.TARGET_UNREACHABLE:
        return ExitCode.TARGET_UNREACHABLE
    return EXIT_OF[kind]


def _reasons(
    run: Measured,
    results: Sequence[ThresholdResult],
    status: RunStatus,
    target: str,
    broken: Sequence[str],
    untold: Sequence[str],
) -> tuple[VerdictKind, list[str]]:
    """Return the kind and its reasons, the deciding one first."""
    if run.health.void_reasons:
        return VerdictKind.VOID, [*run.health.void_reasons, *not_undone(run)]
    failed = [r for r in results if r.verdict is ThresholdVerdict.FAILED]
    refuted = [*(_line(r) for r in failed), *broken, *not_undone(run)]
    if refuted:
        return VerdictKind.FAILED, refuted
    missing = [*_nothing_heard(run, status, target), *not_injected(run), *_undecided(results), *untold]
    if missing:
        return VerdictKind.NO_DATA, missing
    return VerdictKind.PASSED, [f"all {len(results)} thresholds passed"] if len(results) > 1 else [_line(results[0])]


def _nothing_heard(run: Measured, status: RunStatus, target: str) -> list[str]:
    if status is RunStatus.TARGET_UNREACHABLE:
        return [f"the target {target} could not be reached".replace("  ", " ")]
    if not run.counts.placed:
        return ["no call was placed"]
    if run.sip is not None and run.sip.without_media == run.counts.placed:
        # Signalling only: there are no turns.
        return [] if run.counts.connected else [f"none of {run.counts.placed} calls was answered"]
    if not run.ttfb.n_answered:
        return [f"no turn was answered in {run.counts.placed} calls"]
    return []


def not_injected(run: Measured) -> list[str]:
    """Return a sentence for each fault that did nothing: what it was to show was not asked of the agent."""
    return [
        f"fault {one.fault.name} ({one.fault.kind}) was not injected: {one.why_not}"
        for one in run.faults
        if not one.is_injected
    ]


def not_undone(run: Measured) -> list[str]:
    """Return a sentence for each fault that may be in force still, whatever else the run says of the agent."""
    return [
        f"fault {one.fault.name} ({one.fault.kind}) was not undone: {one.not_undone}; "
        "`callquake fault status` says whether it is in force"
        for one in run.faults
        if one.not_undone
    ]


def _undecided(results: Sequence[ThresholdResult]) -> list[str]:
    if not results:
        return ["the scenario has no thresholds, so there is nothing to pass"]
    return [_line(r) for r in results if r.verdict is ThresholdVerdict.NO_DATA]


def _line(result: ThresholdResult) -> str:
    return f"{result.title}: {result.detail}"
