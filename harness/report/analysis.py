"""From a stored run to everything its reports say: figures, thresholds, runbook, verdict and notes."""

from dataclasses import dataclass
from importlib.resources import files

from harness.measure.run import Measured, find_answer_timeout_ms, find_expects_greeting, measure
from harness.report.calibration_words import MeasurementError, measurement_error
from harness.report.impairment_notes import onset_words
from harness.report.notes import notes_of
from harness.report.store import StoredRun
from harness.report.workers import faults_of
from harness.verdict import runbook
from harness.verdict.evaluate import ThresholdResult, evaluate
from harness.verdict.thresholds import parse_entry
from harness.verdict.verdict import RunStatus, Verdict, decide


@dataclass(frozen=True, slots=True)
class Analysis:
    """One run, judged."""

    run: StoredRun
    measured: Measured
    thresholds: list[ThresholdResult]
    triggers: list[runbook.TriggerResult]
    budget: list[runbook.BudgetResult]
    verdict: Verdict
    notes: list[str]
    # How true TTFB is; None = not calibrated on this machine.
    error: MeasurementError | None = None


def analyse(run: StoredRun) -> Analysis:
    """Judge `run`; raises ScenarioError when its scenario has a threshold that cannot be read."""
    info = run.info
    thresholds = [parse_entry(entry) for entry in info.scenario.get("thresholds") or ()]
    measured = measure(
        run.calls,
        run.turns,
        run.health,
        answer_timeout_ms=find_answer_timeout_ms(info.scenario),
        expects_greeting=find_expects_greeting(info.scenario),
        engine_died=info.status is RunStatus.ENGINE_DIED and not info.locust_died,
        locust_died=info.locust_died,
        why_engine_died=info.notes[0] if info.status is RunStatus.ENGINE_DIED and info.notes else "",
        worker_faults=() if info.status is RunStatus.TARGET_UNREACHABLE else faults_of(info.workers),
        seed=info.seed,
    )
    results = [evaluate(threshold, measured) for threshold in thresholds]
    book = load_runbook()
    return Analysis(
        run=run,
        measured=measured,
        thresholds=results,
        triggers=runbook.evaluate_triggers(book, measured, info.target_info),
        budget=runbook.evaluate_budget(book, measured),
        verdict=decide(measured, results, info.status, str(info.target.get("url", ""))),
        notes=notes_of(run, measured),
        error=measurement_error(info.calibration, measured.health, onset_words(run.calls)),
    )


def load_runbook() -> runbook.Runbook:
    """Return the runbook that ships with the package."""
    return runbook.parse(files("harness.verdict").joinpath("runbook.yaml").read_text(encoding="utf-8"))
