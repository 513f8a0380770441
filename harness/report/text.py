"""The report on a terminal: the verdict first, then why, then the numbers. At most 96 columns."""

import textwrap
from collections.abc import Iterable

from harness.measure.bands import DROP_OFF, TTFB_MS, band_of
from harness.measure.stages import STAGES
from harness.measure.ttfb import PERCENTILES
from harness.report import alert_words
from harness.report.analysis import Analysis, first_due_ns
from harness.report.audit_words import text_lines as audit_lines
from harness.report.by_target_words import text_lines as target_lines
from harness.report.causes import remedy_of
from harness.report.drop_off_words import text_lines as drop_off_lines
from harness.report.fault_words import rows_of as fault_rows
from harness.report.sip_words import text_lines as sip_lines
from harness.report.timeline_words import text_lines as timeline_lines
from harness.report.wer_words import intelligibility_lines
from harness.report.wer_words import text_lines as wer_lines
from harness.report.words import NOT_MEASURED, bounded_ms, interval, ms, percent, seconds, words
from harness.verdict.runbook import FIRED
from harness.verdict.thresholds import ThresholdVerdict

WIDTH = 96
_MARKS = {ThresholdVerdict.PASSED: "pass", ThresholdVerdict.FAILED: "FAIL", ThresholdVerdict.NO_DATA: "no data"}


def render(analysis: Analysis, report_path: str) -> str:
    """Return the report; ends with the path of the full one."""
    blocks = [
        _verdict(analysis),
        _thresholds(analysis),
        _ttfb(analysis),
        _stages(analysis),
        wer_lines(analysis.measured.wer) + intelligibility_lines(analysis.run.intelligibility),
        _calls(analysis),
        drop_off_lines(analysis.measured.curve),
        target_lines(analysis.measured.by_target),
        sip_lines(analysis.measured.sip),
        _faults(analysis),
        timeline_lines(analysis.timelines),
        _audit(analysis),
        _runbook(analysis),
        _alerts(analysis),
        _generator(analysis),
        _workers(analysis),
        _notes(analysis),
        [f"Report: {report_path}"],
    ]
    return "\n" + "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _wrap(text: str, indent: str = "  ", first: str | None = None) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent if first is None else first, subsequent_indent=indent, break_on_hyphens=False
    )


def _verdict(analysis: Analysis) -> list[str]:
    info, verdict = analysis.run.info, analysis.verdict
    lines = [f"{verdict.kind.value}  {info.scenario_name}, seed {info.seed}, {seconds(info.duration_s)}"]
    if info.status.value != "finished":
        lines[0] += f", {words(info.status.value)}"
    # A verdict on something that is not all real says so itself.
    if info.simulated:
        others = len(info.simulated) - 1
        lines += _wrap(f"simulated: {info.simulated[0]}" + (f", and {others} more, see Notes" if others else ""))
    for reason in verdict.reasons[:5]:
        lines += _wrap(reason)
    if len(verdict.reasons) > 5:
        lines.append(f"  and {len(verdict.reasons) - 5} more")
    return lines


def _thresholds(analysis: Analysis) -> list[str]:
    if not analysis.thresholds:
        return []
    lines = ["Thresholds"]
    for result in analysis.thresholds:
        mark = f"  {_MARKS[result.verdict]:<8}"
        lines += _wrap(f"{result.title:<34} {result.detail}", " " * 10, mark)
    return lines


def _ttfb(analysis: Analysis) -> list[str]:
    figures = analysis.measured.ttfb
    if not figures.sample.n:
        return ["TTFB   " + NOT_MEASURED]
    marks = "   ".join(f"{name} {bounded_ms(value)}" for name, value in figures.percentiles.items())
    bands = "   ".join(f"{band.name} {figures.bands[band.name]}" for band in TTFB_MS)
    lines = [
        f"TTFB   {marks}   n {figures.sample.n}",
        f"       response ratio {percent(figures.sample.response_ratio)}   {bands}",
        *_wrap(analysis.error_words, " " * 9, " " * 7),
    ]
    if figures.heard is not None:
        heard = {name: figures.heard.percentile(q) for name, q in PERCENTILES.items()}
        marks = "   ".join(f"{name} {bounded_ms(value)}" for name, value in heard.items())
        lines.append(f"       at the ear, behind the carrier's buffer: {marks}   n {figures.heard.n}")
    if figures.n_false_endpoints:
        lines.append(f"       false endpoints {figures.n_false_endpoints} ({percent(figures.false_endpoint_ratio)})")
    greeting = analysis.measured.greeting
    if greeting.n:
        p50, p95 = bounded_ms(greeting.percentile(0.5)), bounded_ms(greeting.percentile(0.95))
        lines.append(f"       greeting p50 {p50}   p95 {p95}   n {greeting.n}")
    return lines


def _stages(analysis: Analysis) -> list[str]:
    result = analysis.measured.stages
    if not result.groups:
        return ["Stages " + NOT_MEASURED]
    whole = result.groups[0]
    lines = [f"Stages {'':<13}{'share of mean':>14}{'p50':>10}{'p95':>10}"]
    for name in STAGES:
        stage = result.stages[name]
        p50, p95 = (ms(stage.p50), ms(stage.p95)) if stage else (NOT_MEASURED, "")
        lines.append(f"       {name:<13}{ms(whole.parts[name]):>14}{p50:>{12 if not stage else 10}}{p95:>10}")
    lines.append(f"       {'TTFB':<13}{ms(whole.ttfb_ms):>14}   over {whole.n} turns")
    return [line.rstrip() for line in lines]


def _calls(analysis: Analysis) -> list[str]:
    counts, drop = analysis.measured.counts, analysis.measured.drop_off
    parts = [f"{counts.completed} completed", f"{counts.dropped} dropped", f"{counts.failed} failed"]
    parts += [f"{n} {name}" for n, name in ((counts.interrupted, "interrupted"), (counts.lost, "lost")) if n]
    lines = [f"Calls  {counts.placed} placed: {', '.join(parts)}"]
    if drop.ratio is not None:
        band = band_of(DROP_OFF, drop.ratio).name
        lines.append(f"Drop-off {percent(drop.ratio)}, {band}   95% {interval(drop.ci95)}   n {drop.n}")
        lines += [line for cause, n in drop.by_cause.items() for line in _cause(analysis, cause, n)]
    return lines


def _cause(analysis: Analysis, cause: str, n: int) -> list[str]:
    """Return how often a cause ended a call, with the first call's own words for it, cut to a line."""
    line = f"       {words(cause):<28}{n:>5}"
    details = (" ".join(c.detail.split()) for c in analysis.run.calls if c.cause.value == cause)
    example = next((f"e.g. {detail}" for detail in details if detail), "")
    remedy = _wrap(remedy_of(cause), " " * 9) if remedy_of(cause) else []
    beside = f"{line}   {example}".rstrip()
    if len(beside) <= WIDTH:
        return [beside, *remedy]
    below = f"         {example}"
    return [line, below if len(below) <= WIDTH else f"{below[: WIDTH - 1].rstrip()}…", *remedy]


def _faults(analysis: Analysis) -> list[str]:
    """Tell what was broken on purpose, and what proves it."""
    lines = []
    for row in fault_rows(analysis.run):
        lines += _wrap(f"{row.name} ({row.kind}) {row.when}: {row.what or 'as it is'}", " " * 7, "  ")
        lines += _wrap(row.evidence, " " * 9, " " * 7)
        lines += _wrap(f"NOT UNDONE: {row.not_undone}", " " * 9, " " * 7) if row.not_undone else []
    return ["Faults", *lines] if lines else []


def _audit(analysis: Analysis) -> list[str]:
    head, *told = audit_lines(analysis.audit) or [""]
    return [head, *(line for one in told for line in _wrap(one.strip(), " " * 10, "  "))] if head else []


def _runbook(analysis: Analysis) -> list[str]:
    """Name the triggers that fired, and how many of the others could be judged."""
    states = [row.state for row in analysis.triggers]
    lines = [
        f"Runbook {states.count(FIRED)} of {len(states)} triggers fired, {states.count(NOT_MEASURED)} not measured"
    ]
    for row in analysis.triggers:
        if row.state == FIRED and row.value is not None:
            sign = "≥ " if row.is_lower_bound else ""
            lines += _wrap(
                f"{row.trigger.title} {sign}{_figure(row.value, row.trigger.unit)}: {row.trigger.action}", " " * 7
            )
    return lines


def _alerts(analysis: Analysis) -> list[str]:
    told = alert_words.text_lines(analysis.alerts, first_due_ns(analysis.run))
    return [line for one in told for line in _wrap(one, "    ", "  ")] and [
        f"Alerts  {len(analysis.alerts)} fired",
        *(line for one in told for line in _wrap(one, "    ", "  ")),
    ]


def _figure(value: float, unit: str) -> str:
    if unit == "ms":
        return ms(value)
    return percent(value) if unit == "ratio" else f"{value:g}"


def _generator(analysis: Analysis) -> list[str]:
    health = analysis.measured.health
    arrivals = health.arrival_lateness.percentile(0.99)
    cpu = NOT_MEASURED if health.cpu_ratio_mean is None else f"{health.cpu_ratio_mean:.0%} of a core"
    state = "void" if health.void_reasons else "kept time"
    line = (
        f"Generator {state}: tick lateness p99 {ms(health.tick_lateness_p99_ms)}, arrivals p99 {bounded_ms(arrivals)}, "
        f"CPU {cpu}, own packets lost {health.lost_packets} of {health.packets}"
    )
    if health.is_interpreted:
        line += ", media loop interpreted"
    return _wrap(line, " " * 10, "")


def _workers(analysis: Analysis) -> list[str]:
    workers = analysis.run.info.workers
    if not workers:
        return []
    lines = ["Workers"]
    for worker in workers:
        calls = f"{worker.calls_recorded} calls"
        if worker.calls_planned is not None:
            calls = f"{worker.calls_recorded} of {worker.calls_planned} calls"
        lost = f", {worker.calls_lost} lost" if worker.calls_lost else ""
        end = f": {worker.end}" if worker.end is not None else ""
        lines += _wrap(f"{worker.title}  {calls}{lost}{end}", " " * 10, "  ")
    return lines


def _notes(analysis: Analysis) -> list[str]:
    return list(_bullets(analysis.notes)) and ["Notes", *_bullets(analysis.notes)]


def _bullets(notes: Iterable[str]) -> list[str]:
    return [line for note in notes for line in _wrap(note, "    ", "  - ")]
