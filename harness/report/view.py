"""What the HTML template shows, section by section: charts drawn, tiles worded, calls sorted."""

from dataclasses import dataclass
from typing import Any

from harness.measure.bands import DROP_OFF, TTFB_MS, WER, Band, band_of
from harness.measure.distribution import Estimate
from harness.measure.normaliser import identity
from harness.measure.stages import STAGES
from harness.measure.ttfb import UNDECIDED
from harness.measure.wer import ENTITY_TAG
from harness.report import audit_words, drop_off_words
from harness.report.analysis import Analysis
from harness.report.by_target_words import difference_rows, rows_of, title_of
from harness.report.causes import remedy_of
from harness.report.charts import course as course_chart
from harness.report.charts import drop_off as drop_off_chart
from harness.report.charts import health as health_chart
from harness.report.charts import response, shares
from harness.report.charts import targets as target_chart
from harness.report.fault_words import rows_of as fault_rows
from harness.report.health_rows import health_rows
from harness.report.sip_words import delay_rows, facts_of, ratio_rows
from harness.report.view_alerts import alert_rows, course_of_run, timeline_rows
from harness.report.view_calls import call_rows, turn_points
from harness.report.view_wer import segment_groups
from harness.report.words import NOT_MEASURED, bounded_ms, interval, ms, percent

MAX_CALLS_SHOWN = 200
_VERDICT_TONES = {"PASSED": "good", "FAILED": "bad", "NO DATA": "unknown", "VOID": "void"}
_SEGMENT_CHARTS = ("accent", "noise", "channel", "domain")


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline figure; `tone` colours its mark, `tag` says the tone in words."""

    title: str
    value: str
    detail: str
    tone: str = "unknown"
    tag: str = ""


def view_of(analysis: Analysis) -> dict[str, Any]:
    """Return the template's variables."""
    rows = call_rows(analysis)
    return {
        "info": analysis.run.info,
        "verdict": analysis.verdict,
        "verdict_tone": _VERDICT_TONES[analysis.verdict.kind.value],
        "measured": analysis.measured,
        "tiles": _tiles(analysis),
        "thresholds": analysis.thresholds,
        "triggers": analysis.triggers,
        "budget": {row.part.stage: row for row in analysis.budget if row.part.stage},
        "stages": STAGES,
        "ttfb_bands": _ttfb_bands(analysis),
        "charts": _charts(analysis),
        "outcomes": _outcomes(analysis),
        "is_thinned": analysis.measured.ttfb.sample.n > response.MAX_DOTS,
        "normaliser": identity(),
        "segment_groups": segment_groups(analysis.measured.wer),
        "entity_tag": ENTITY_TAG,
        "intelligibility": analysis.run.intelligibility,
        "health_rows": health_rows(analysis.measured.health),
        "by_target": _by_target(analysis),
        "sip": _sip(analysis),
        "curve": _curve(analysis),
        "alerts": alert_rows(analysis),
        "timelines": timeline_rows(analysis),
        "course": course_chart.course(course_of_run(analysis)),
        "faults": fault_rows(analysis.run),
        "audit": _audit(analysis),
        "remedies": [(cause, remedy_of(cause)) for cause in analysis.measured.drop_off.by_cause if remedy_of(cause)],
        "calls": rows[:MAX_CALLS_SHOWN],
        "n_calls": len(rows),
        "notes": analysis.notes,
        "not_measured": NOT_MEASURED,
        "measurement_error": analysis.error_words,
    }


def _audit(analysis: Analysis) -> dict[str, Any] | None:
    result = analysis.audit
    return None if result is None else {"heads": audit_words.heads_of(result), "lines": audit_words.lines_of(result)}


def _charts(analysis: Analysis) -> dict[str, Any]:
    measured, info = analysis.measured, analysis.run.info
    bars = {
        key: [shares.Bar(_segment_name(key, v), rate) for k, v, rate in measured.wer.by_segment if k == key]
        for key in _SEGMENT_CHARTS
    }
    top = shares.wer_top([bar for group in bars.values() for bar in group])
    started = info.started_monotonic_ns or min((p.at_ns for p in measured.health.timeline), default=0)
    return {
        "histogram": response.histogram(measured.ttfb.sample, measured.ttfb.percentiles),
        "scatter": response.scatter(turn_points(analysis)),
        "stages": response.stage_bars(measured.stages.groups),
        "wer": {key: shares.wer_bars(group, top, f"WER by {key}") for key, group in bars.items()},
        "outcomes": shares.outcome_strip(_outcomes(analysis)),
        "causes": shares.cause_bars(measured.drop_off.by_cause, measured.drop_off.n),
        "lateness": health_chart.lateness(measured.health.timeline, started),
    }


def _by_target(analysis: Analysis) -> dict[str, Any] | None:
    found = analysis.measured.by_target
    if found is None:
        return None
    addresses = {one.name: one.target.get("url", "") for one in analysis.run.info.targets}
    return {
        "targets": [(target.name, addresses.get(target.name, "")) for target in found.targets],
        "rows": rows_of(found),
        "chart": target_chart.distributions([(one.name, one.ttfb) for one in found.targets]),
        "stages": response.stage_bars([one.stages for one in found.targets if one.stages is not None]),
        "comparisons": [(title_of(one), difference_rows(one)) for one in found.comparisons],
    }


def _curve(analysis: Analysis) -> dict[str, Any] | None:
    curve = analysis.measured.curve
    if curve is None or not curve.n_left:
        return None
    return {
        "n": curve.n,
        "n_left": curve.n_left,
        "chart": drop_off_chart.by_ttfb(curve),
        "survival": drop_off_chart.survival(curve.survival),
        "stayed": drop_off_words.survival_rows(curve),
        "sentences": [
            drop_off_words.inflection_words(curve.inflection),
            drop_off_words.association_words(curve.association),
            *drop_off_words.left_out_words(curve),
        ],
    }


def _sip(analysis: Analysis) -> dict[str, Any] | None:
    result = analysis.measured.sip
    if result is None:
        return None
    return {"result": result, "delays": delay_rows(result), "ratios": ratio_rows(result), "facts": facts_of(result)}


def _outcomes(analysis: Analysis) -> list[tuple[str, str, int]]:
    """Return (name, tone, number of calls) of each way to end that occurred."""
    counts = analysis.measured.counts
    rows = [
        ("completed", "good", counts.completed),
        ("dropped", "bad", counts.dropped),
        ("failed", "poor", counts.failed),
        ("interrupted", "unknown", counts.interrupted),
        ("lost with our engine", "void", counts.lost),
    ]
    return [row for row in rows if row[2]]


def _segment_name(key: str, value: str) -> str:
    return "clean" if key == "noise" and value in {"", "none"} else value.replace("_", " ")


def _tiles(analysis: Analysis) -> list[Tile]:
    return [
        _ttfb_tile(analysis),
        _response_tile(analysis),
        _wer_tile(analysis),
        _drop_tile(analysis),
        _own_tile(analysis),
    ]


def _ttfb_tile(analysis: Analysis) -> Tile:
    figures = analysis.measured.ttfb.percentiles
    p95 = figures["p95"]
    if p95 is None:
        return Tile("TTFB p95", "n/a", NOT_MEASURED)
    detail = f"p50 {bounded_ms(figures['p50'], unit=False)} · p99 {bounded_ms(figures['p99'], unit=False)}"
    return Tile("TTFB p95", bounded_ms(p95), detail, *_band_mark(TTFB_MS, _certain(p95)))


def _certain(estimate: Estimate) -> float | None:
    """Return the value where its band is certain: exact, or a lower bound already in the last band."""
    is_worst = band_of(TTFB_MS, estimate.value) is TTFB_MS[-1]
    return estimate.value if is_worst or not estimate.is_lower_bound else None


def _band_mark(bands: tuple[Band, ...], value: float | None) -> tuple[str, str]:
    if value is None:
        return "unknown", ""
    band = band_of(bands, value)
    return band.tone, band.name


def _response_tile(analysis: Analysis) -> Tile:
    figures = analysis.measured.ttfb
    ratio = figures.sample.response_ratio
    if ratio is None:
        return Tile("Turns answered", "n/a", "no turn awaited an answer")
    detail = f"{figures.n_answered} of {figures.sample.n} turns"
    if figures.n_false_endpoints:
        detail += f" · {figures.n_false_endpoints} false endpoint{'s' if figures.n_false_endpoints > 1 else ''}"
    return Tile("Turns answered", percent(ratio), detail, "good" if ratio == 1 else "poor" if ratio >= 0.95 else "bad")


def _wer_tile(analysis: Analysis) -> Tile:
    rate = analysis.measured.wer.overall
    if rate is None or rate.wer is None:
        return Tile("Word error rate", "n/a", NOT_MEASURED)
    detail = f"95%: {interval(rate.ci95)}" if rate.ci95 else f"{rate.n_words} words"
    return Tile("Word error rate", percent(rate.wer), detail, *_band_mark(WER, rate.wer))


def _drop_tile(analysis: Analysis) -> Tile:
    drop, counts = analysis.measured.drop_off, analysis.measured.counts
    if drop.ratio is None:
        return Tile("Drop-off", "n/a", f"{counts.placed} calls placed, none counts")
    detail = f"{counts.completed} completed of {drop.n} calls"
    return Tile("Drop-off", percent(drop.ratio), detail, *_band_mark(DROP_OFF, drop.ratio))


def _own_tile(analysis: Analysis) -> Tile:
    health = analysis.measured.health
    if health.void_reasons:
        return Tile("Generator", "void", "its numbers must not be believed", "void")
    if health.tick_lateness_p99_ms is None:
        return Tile("Generator", "n/a", NOT_MEASURED)
    detail = f"late p99 · {health.lost_packets} packets lost"
    return Tile("Generator", ms(health.tick_lateness_p99_ms), detail, "good", "kept time")


def _ttfb_bands(analysis: Analysis) -> list[dict[str, Any]]:
    figures = analysis.measured.ttfb
    n = figures.sample.n
    lower = 0.0
    rows: list[dict[str, Any]] = []
    for band in TTFB_MS:
        span = f"over {lower:g} ms" if band.upper is None else f"{lower:g} to {band.upper:g} ms"
        rows.append(
            _band_row(
                name=band.name,
                span=span,
                tone=band.tone,
                meaning=band.meaning,
                count=figures.bands.get(band.name, 0),
                n=n,
            )
        )
        lower = band.upper or lower
    if undecided := figures.bands.get(UNDECIDED, 0):
        rows.append(
            _band_row(
                name=UNDECIDED,
                span="no answer",
                tone="unknown",
                meaning="the call ended before the last band",
                count=undecided,
                n=n,
            )
        )
    return rows


def _band_row(*, name: str, span: str, tone: str, meaning: str, count: int, n: int) -> dict[str, Any]:
    return {"name": name, "span": span, "tone": tone, "meaning": meaning, "n": count, "ratio": count / n if n else 0.0}
