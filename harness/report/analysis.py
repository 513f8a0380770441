"""From a stored run to everything its reports say: figures, thresholds, runbook, verdict and notes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from harness.measure import leak_audit
from harness.measure.audit_rows import Load
from harness.measure.run import (
    Measured,
    find_answer_timeout_ms,
    find_expects_greeting,
    find_sampling,
    measure,
)
from harness.model.errors import ScenarioError
from harness.report.calibration_words import MeasurementError, error_words, measurement_error
from harness.report.emulated import not_heard
from harness.report.impairment_notes import onset_words
from harness.report.notes import notes_of
from harness.report.store import StoredRun
from harness.report.workers import faults_of
from harness.verdict import runbook
from harness.verdict.alerts import Alert, alerts_of
from harness.verdict.evaluate import ThresholdResult, evaluate_all
from harness.verdict.runbook_file import parse_runbook
from harness.verdict.thresholds import parse_entry
from harness.verdict.timeline import FaultTimeline, claims_broken, timelines_of
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
    # What the runbook's rules saw, stretch by stretch.
    alerts: list[Alert] = field(default_factory=list)
    timelines: list[FaultTimeline] = field(default_factory=list)
    # None = the run has no leak audit.
    audit: leak_audit.AuditResult | None = None
    # How true TTFB is; None = not calibrated on this machine, or told target by target.
    error: MeasurementError | None = None
    # The same of each of several targets, by name.
    errors: Mapping[str, MeasurementError | None] = field(default_factory=dict)

    @property
    def error_words(self) -> str:
        """Return the sentence that stands beside TTFB in every report."""
        targets = self.run.info.targets
        if not targets:
            return error_words(self.error, self.run.info.target)
        return "; ".join(f"{one.name}: {error_words(self.errors[one.name], one.target)}" for one in targets)


def analyse(run: StoredRun, runbook_file: Path | None = None) -> Analysis:
    """Judge `run`; raises ScenarioError when its scenario has a threshold, or its runbook a rule, that cannot be read.

    `runbook_file` stands in the place of the runbook that the run was begun with.
    """
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
        targets=[target.name for target in info.targets],
        sampling=find_sampling(info.scenario),
        not_heard=not_heard(info),
        faults=run.faults,
        scenario=info.scenario,
        first_due_ns=first_due_ns(run),
        target_info=info.target_info,
        target_samples=run.target_samples,
    )
    impaired = onset_words(run.calls)
    results = [result for threshold in thresholds for result in evaluate_all(threshold, measured)]
    book = load_runbook(run.info.runbook, runbook_file)
    alerts = alerts_of(book.rules, measured)
    timelines = timelines_of(measured, alerts)
    audit = _audit(run, measured)
    broken, untold = (audit.broken, audit.undecided) if audit is not None else ([], [])
    return Analysis(
        run=run,
        measured=measured,
        thresholds=results,
        triggers=runbook.evaluate_triggers(book, measured, info.target_info),
        budget=runbook.evaluate_budget(book, measured),
        verdict=decide(
            measured,
            results,
            info.status,
            str(info.target.get("url", "")),
            broken=[*claims_broken(timelines), *broken],
            untold=untold,
        ),
        audit=audit,
        alerts=alerts,
        timelines=timelines,
        notes=notes_of(run, measured),
        error=measurement_error(info.calibration, measured.health, impaired),
        errors={one.name: measurement_error(one.calibration, measured.health, impaired) for one in info.targets},
    )


def _audit(run: StoredRun, measured: Measured) -> leak_audit.AuditResult | None:
    if run.audit_rules is None:
        return None
    load = Load(measured.health.timeline, first_due_ns(run), run.faults)
    return leak_audit.measure(run.audit_samples, run.audit_rules, load)


def first_due_ns(run: StoredRun) -> int | None:
    """Return the first instant at which a call could be due; of a run that does not say, when its first one was."""
    if run.info.first_due_monotonic_ns is not None:
        return run.info.first_due_monotonic_ns
    begun = [call.started_at_ns if call.due_at_ns is None else call.due_at_ns for call in run.calls]
    return min(begun, default=run.info.started_monotonic_ns)


def load_runbook(text: str | None = None, path: Path | None = None) -> runbook.Runbook:
    """Return the runbook of `path`, else that of `text`, else the one that ships; raises ScenarioError."""
    if path is not None:
        try:
            return parse_runbook(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"--runbook: {path}: cannot be read: {error}") from error
    return parse_runbook(text if text is not None else shipped_runbook())


def shipped_runbook() -> str:
    """Return the text of the runbook that ships with the package."""
    return files("harness.verdict").joinpath("runbook.yaml").read_text(encoding="utf-8")
