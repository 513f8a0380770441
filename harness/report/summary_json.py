"""summary.json: the run in numbers, for CI, trend charts and comparison. `null` means "not measured"."""

from typing import Any

from harness.measure.bands import DROP_OFF, TTFB_MS, band_of
from harness.measure.distribution import Estimate, Sample
from harness.measure.ttfb import PERCENTILES, UNDECIDED
from harness.model.codec import to_json
from harness.report import alert_words, audit_words, drop_off_words, timeline_words
from harness.report.analysis import Analysis, first_due_ns
from harness.report.by_target_json import by_target_json
from harness.report.calibration_words import error_json
from harness.report.fallback_words import fallbacks_json
from harness.report.fault_words import faults_json
from harness.report.impairment_notes import impaired_callers, loss_of
from harness.report.intelligibility import to_json as intelligibility_json
from harness.report.sip_words import sip_json
from harness.report.wer_json import wer_json

SCHEMA_VERSION = 1


def summary_of(analysis: Analysis) -> dict[str, Any]:
    """Return summary.json's content."""
    info, measured, verdict = analysis.run.info, analysis.measured, analysis.verdict
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": info.run_id,
        "verdict": verdict.kind.value,
        "deciding": verdict.deciding,
        "exit_code": int(verdict.exit_code),
        "status": info.status.value,
        "scenario": info.scenario_name,
        "seed": info.seed,
        "target": dict(info.target),
        "started_at": info.started_at.isoformat() if info.started_at else None,
        "ended_at": info.ended_at.isoformat() if info.ended_at else None,
        "duration_s": info.duration_s,
        "calls": to_json(measured.counts),
        "ttfb_ms": _ttfb(analysis),
        "greeting_ms": _trend(measured.greeting),
        "setup_ms": _trend(measured.setup),
        "setup_queue_ms": _trend(measured.setup_queue),
        "stages_ms": _stages(analysis),
        "stage_means_ms": [to_json(group) for group in measured.stages.groups],
        "false_endpoints": {
            "n": measured.ttfb.n_false_endpoints,
            "unanswered": measured.ttfb.n_false_endpoints_unanswered,
            "ratio": _round(measured.ttfb.false_endpoint_ratio, 6),
        },
        "wer": wer_json(measured.wer),
        "intelligibility": intelligibility_json(analysis.run.intelligibility),
        "drop_off": _drop_off(analysis),
        "drop_off_by_ttfb": drop_off_words.to_json(measured.curve),
        "error_rate": _round(measured.error_rate, 6),
        "sip": sip_json(measured.sip),
        "by_target": by_target_json(measured.by_target, analysis.errors),
        "thresholds": [threshold_row(r) for r in analysis.thresholds],
        "runbook": _runbook(analysis),
        "alerts": [alert_words.to_json(one, first_due_ns(analysis.run)) for one in analysis.alerts],
        "fault_timelines": [timeline_words.to_json(one) for one in analysis.timelines],
        "leak_audit": audit_words.to_json(analysis.audit),
        "generator": _generator(analysis),
        "packets": loss_of(analysis.run.calls),
        "impairments": impaired_callers(analysis.run.calls),
        "fallbacks": fallbacks_json(analysis.run.calls),
        "faults": faults_json(analysis.run),
        "workers": [to_json(worker) for worker in info.workers],
        "simulated": list(info.simulated),
        "notes": analysis.notes,
    }


def threshold_row(result: Any) -> dict[str, Any]:
    """Return one threshold as summary.json and verdict.json write it."""
    return {
        "expression": result.threshold.expression,
        "segment": result.segment or None,
        "value": _round(result.value, 6),
        "is_lower_bound": result.is_lower_bound,
        "n": result.n,
        "min_samples": result.threshold.min_samples,
        "verdict": result.verdict.value,
        "detail": result.detail,
    }


def verdict_of(analysis: Analysis) -> dict[str, Any]:
    """Return verdict.json's content."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": analysis.run.info.run_id,
        "verdict": analysis.verdict.kind.value,
        "exit_code": int(analysis.verdict.exit_code),
        "exit_code_name": analysis.verdict.exit_code.name,
        "deciding": analysis.verdict.deciding,
        "reasons": list(analysis.verdict.reasons),
        "simulated": list(analysis.run.info.simulated),
        "thresholds": [threshold_row(r) for r in analysis.thresholds],
    }


def _round(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def _value(estimate: Estimate | None) -> float | None:
    return _round(estimate.value) if estimate else None


def _trend(sample: Sample) -> dict[str, Any]:
    """Percentiles as plain numbers; `is_lower_bound` names those that rest on censored values."""
    estimates = {name: sample.percentile(q) for name, q in PERCENTILES.items()}
    estimates |= {"min": sample.minimum(), "max": sample.maximum(), "mean": sample.mean()}
    intervals = {name: sample.interval(q) for name, q in PERCENTILES.items()}
    return {
        "n": sample.n,
        "n_answered": len(sample.observed),
        "n_censored": len(sample.censored),
        "response_ratio": _round(sample.response_ratio, 6),
        **{name: _value(estimate) for name, estimate in estimates.items()},
        "is_lower_bound": {name: bool(e and e.is_lower_bound) for name, e in estimates.items()},
        "ci95": {name: [_round(ci[0]), _round(ci[1])] if ci else None for name, ci in intervals.items()},
    }


def _ttfb(analysis: Analysis) -> dict[str, Any]:
    figures = analysis.measured.ttfb
    n = figures.sample.n
    meanings = {band.name: band.meaning for band in TTFB_MS} | {UNDECIDED: "ended before the last band began"}
    return {
        **_trend(figures.sample),
        "bands": {
            name: {"n": count, "ratio": _round(count / n, 6) if n else None, "meaning": meanings[name]}
            for name, count in figures.bands.items()
        },
        "excluded": {
            "cut": figures.n_cut,
            "false_endpoint": figures.n_false_endpoints - figures.n_false_endpoints_unanswered,
            "out_of_step": figures.n_out_of_step,
            "unspoken": figures.n_unspoken,
        },
        "measurement_error": error_json(analysis.error),
        "heard": None if figures.heard is None else _trend(figures.heard),
    }


def _stages(analysis: Analysis) -> dict[str, Any]:
    budgets = {row.part.stage: row.part.p95_ms for row in analysis.budget if row.part.stage}
    return {
        name: {
            "n": stage.n if stage else 0,
            "p50": _round(stage.p50) if stage else None,
            "p95": _round(stage.p95) if stage else None,
            "mean": _round(stage.mean) if stage else None,
            "budget_p95": budgets.get(name),
        }
        for name, stage in analysis.measured.stages.stages.items()
    }


def _drop_off(analysis: Analysis) -> dict[str, Any]:
    result = analysis.measured.drop_off
    return {
        "n": result.n,
        "n_dropped": result.n_dropped,
        "ratio": _round(result.ratio, 6),
        "ci95": [_round(end, 6) for end in result.ci95] if result.ci95 else None,
        "band": band_of(DROP_OFF, result.ratio).name if result.ratio is not None else None,
        "by_cause": result.by_cause,
        "patience": "modelled",
    }


def _runbook(analysis: Analysis) -> dict[str, Any]:
    return {
        "triggers": [
            {
                "name": row.trigger.name,
                "above": row.trigger.above,
                "unit": row.trigger.unit,
                "value": _round(row.value, 6),
                "state": row.state,
                "action": row.trigger.action,
            }
            for row in analysis.triggers
        ],
        "budget": [
            {
                "part": row.part.title,
                "budget_p95_ms": row.part.p95_ms,
                "p95_ms": _round(row.p95_ms),
                "over": row.is_over,
            }
            for row in analysis.budget
        ],
    }


def _generator(analysis: Analysis) -> dict[str, Any]:
    health = analysis.measured.health
    arrivals = health.arrival_lateness
    return {
        "tick_lateness_ms": {
            "p50": _round(health.tick_lateness_p50_ms),
            "p99": _round(health.tick_lateness_p99_ms),
            "max": _round(health.tick_lateness_max_ms),
            "n": health.n_ticks,
        },
        "arrival_lateness_ms": {
            "p50": _value(arrivals.percentile(0.5)),
            "p99": _value(arrivals.percentile(0.99)),
            "max": _value(arrivals.maximum()),
            "n": arrivals.n,
        },
        "cpu_ratio": _round(health.cpu_ratio_mean, 4),
        "cpu_ratio_max": _round(health.cpu_ratio_max, 4),
        "host_cpu_ratio_max": _round(health.host_cpu_ratio_max, 4),
        "loop_lag_max_ms": _round(health.loop_lag_max_ms),
        "packets": health.packets,
        "lost_packets": health.lost_packets,
        "overflows": health.overflows,
        "starved_turns": health.starved_turns,
        "clock_step_max_ms": _round(health.clock_step_max_ms),
        "memory_mib_max": _round(health.memory_mib_max, 1),
        "descriptors_max": health.descriptors_max,
        "descriptor_limit": health.descriptor_limit,
        "workers": health.workers,
        "peak_calls": health.peak_calls,
        "media_loops": list(health.media_loops),
        "samples": health.n_samples,
        "void_reasons": health.void_reasons,
    }
