"""A run's targets side by side as reports show them: a row for each figure, a cell for each target."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.measure.by_target import ByTarget, Comparison, TargetFigures
from harness.measure.difference import Difference
from harness.measure.distribution import Sample
from harness.measure.sip import Ratio, SipResult
from harness.report.words import NOT_MEASURED, bounded_ms, interval, ms, percent

# A target has no such figure, whatever is measured: ICE over SIP, say.
NONE = "n/a"
_STEPS = {
    "queue": "in our queue",
    "gather": "STUN and TURN",
    "signalling": "signalling",
    "ice": "ICE",
    "dtls": "DTLS",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of every target; `meaning` is what its name leaves out."""

    name: str
    cells: tuple[str, ...]
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """One figure of a comparison."""

    name: str
    value: str
    interval: str
    # What follows from the interval, "" where there is none.
    verdict: str


def rows_of(found: ByTarget) -> list[Row]:
    """Return every row; one in which no target has anything is left out."""
    rows = (Row(name, tuple(map(cell, found.targets)), meaning) for name, cell, meaning in _FIGURES)
    return [row for row in rows if any(cell != NONE for cell in row.cells)]


def difference_rows(comparison: Comparison) -> list[DifferenceRow]:
    """Return the rows of one comparison, those that were not measured on both left out."""
    times = [_row(name, found, _MS) for name, found in comparison.times.items()]
    shares = [_row(name, found, _SHARE) for name, found in comparison.shares.items()]
    return [row for row in (*times, *shares) if row is not None]


def title_of(comparison: Comparison) -> str:
    """Return what is subtracted from what."""
    return f"{comparison.second} minus {comparison.first}"


# --- differences ---------------------------------------------------------------------------------------------------


def _row(name: str, found: Difference, kind: "_Kind") -> DifferenceRow | None:
    if found.value is None and found.low is None:
        return None
    value = "open" if found.value is None else f"{kind.show(found.value)} {kind.unit}"
    if found.low is None or found.high is None:
        return DifferenceRow(name, value, found.why, "")
    said = (kind.above if found.low > 0 else kind.below) if found.is_shown else "no difference shown"
    return DifferenceRow(name, value, f"95% {_span(found.low, found.high, kind)}", said)


def _span(low: float, high: float, kind: "_Kind") -> str:
    if math.isinf(low) and math.isinf(high):
        return "anything"
    if math.isinf(low):
        return f"at most {kind.show(high)} {kind.unit}"
    if math.isinf(high):
        return f"at least {kind.show(low)} {kind.unit}"
    return f"{kind.show(low)} to {kind.show(high)} {kind.unit}"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How differences of one unit are written."""

    unit: str
    show: Callable[[float], str]
    above: str
    below: str


_MS = _Kind("ms", lambda value: f"{'+' if value > 0 else ''}{ms(value, unit=False)}", "slower", "faster")
_SHARE = _Kind("points", lambda value: f"{value * 100:+.1f}", "more", "less")

# --- figures -------------------------------------------------------------------------------------------------------

_Cell = Callable[[TargetFigures], str]


def _way(target: TargetFigures) -> str:
    return ", ".join((*target.transports, *target.codecs)) or NOT_MEASURED


def _two(sample: Sample) -> str:
    """Return p50 and p95."""
    if not sample.n:
        return NONE
    p50, p95 = (sample.percentile(q) for q in (0.5, 0.95))
    return f"{bounded_ms(p50, unit=False)} / {bounded_ms(p95)}"


def _step(name: str) -> _Cell:
    return lambda target: _two(target.steps[name])


def _ttfb(name: str) -> _Cell:
    def cell(target: TargetFigures) -> str:
        estimate, ends = target.ttfb.percentiles[name], target.ttfb.ci95[name]
        if estimate is None:
            return NOT_MEASURED
        if ends is None:
            return bounded_ms(estimate)
        high = "…" if ends[1] is None else ms(ends[1], unit=False)
        return f"{bounded_ms(estimate)} ({ms(ends[0], unit=False)} to {high})"

    return cell


def _answered(target: TargetFigures) -> str:
    sample = target.ttfb.sample
    return f"{percent(sample.response_ratio)} of {sample.n}" if sample.n else NOT_MEASURED


def _wer(target: TargetFigures) -> str:
    if target.wer is None:
        return NOT_MEASURED
    ends = f" ({interval(target.wer.ci95)})" if target.wer.ci95 else ""
    return f"{percent(target.wer.wer)}{ends}"


def _drop_off(target: TargetFigures) -> str:
    result = target.drop_off
    return f"{percent(result.ratio)} ({interval(result.ci95)})" if result.ci95 else NOT_MEASURED


def _loss(target: TargetFigures) -> str:
    media = target.media
    if media.loss_ratio is None:
        return NONE
    return f"{media.loss_ratio:.2%} of {media.received + media.lost:,}"


def _on_purpose(target: TargetFigures) -> str:
    return f"{target.media.lost_on_purpose:,}" if target.media.lost_on_purpose else NONE


def _sip_delay(pick: Callable[[SipResult], Sample]) -> _Cell:
    return lambda target: NONE if target.sip is None else _two(pick(target.sip))


def _sip_ratio(pick: Callable[[SipResult], Ratio]) -> _Cell:
    def cell(target: TargetFigures) -> str:
        ratio = None if target.sip is None else pick(target.sip)
        return NONE if ratio is None or not ratio.n else f"{percent(ratio.value)} of {ratio.n}"

    return cell


def _heard(target: TargetFigures) -> str:
    return NONE if target.ttfb.heard is None else _two(target.ttfb.heard)


def _figures() -> Iterator[tuple[str, _Cell, str]]:
    yield "Over", _way, ""
    yield "Calls", lambda t: f"{t.counts.placed}, {t.counts.connected} connected", ""
    yield "Completed", lambda t: str(t.counts.completed), ""
    yield "Error rate", lambda t: percent(t.error_rate), "ended in an error"
    yield "TTFB p50", _ttfb("p50"), "with its 95% interval where there are enough turns"
    yield "TTFB p95", _ttfb("p95"), ""
    yield "TTFB p99", _ttfb("p99"), ""
    yield "  turns", lambda t: f"{t.ttfb.sample.n} in {t.counts.placed} calls", ""
    yield "  at the ear", _heard, "p50 / p95 behind the carrier's playout buffer"
    yield "Turns answered", _answered, ""
    yield "False endpoints", lambda t: str(t.ttfb.n_false_endpoints), ""
    yield "WER", _wer, "with its 95% interval"
    yield "Drop-off", _drop_off, "with its 95% interval"
    yield "Greeting", lambda t: _two(t.greeting), "p50 / p95"
    yield "Set-up", lambda t: _two(t.setup), "p50 / p95; the steps below, likewise"
    for step, title in _STEPS.items():
        yield f"  {title}", _step(step), ""
    yield "  SRD", _sip_delay(lambda sip: sip.request_delay), "INVITE to the first sign of what becomes of it"
    yield "SIP SDD", _sip_delay(lambda sip: sip.disconnect_delay), "BYE to its answer, p50 / p95"
    yield "SIP SER", _sip_ratio(lambda sip: sip.ser), "session requests answered with a 2xx"
    yield "SIP ISA", _sip_ratio(lambda sip: sip.isa), "ineffective attempts"
    yield "SIP SCR", _sip_ratio(lambda sip: sip.scr), "sessions that a BYE ended properly"
    yield "Packets lost", _loss, "of the agent's, by sequence number"
    yield "  on purpose", _on_purpose, "among them, by our own impairments"
    yield "Jitter", lambda t: _two(t.media.jitter), "of each call, p50 / p95"
    yield "Round trip", lambda t: _two(t.media.round_trip), "by RTCP, of each call, p50 / p95"


_FIGURES: Sequence[tuple[str, _Cell, str]] = tuple(_figures())

# --- on a terminal -------------------------------------------------------------------------------------------------

_LABEL, _WIDTH = 18, 96
_IN_A_ROW = 3


def text_lines(found: ByTarget | None) -> list[str]:
    """Return the terminal's block, [] for a run with one target."""
    if found is None:
        return []
    rows = rows_of(found)
    lines = ["By target"]
    for start in range(0, len(found.targets), _IN_A_ROW):
        names = [target.name for target in found.targets[start : start + _IN_A_ROW]]
        width = (_WIDTH - _LABEL - 2) // len(names)
        cells = [Row("", tuple(names)), *(Row(row.name, row.cells[start : start + _IN_A_ROW]) for row in rows)]
        lines += [
            f"  {row.name:<{_LABEL}}{''.join(f'{cell:<{width}}' for cell in row.cells)}".rstrip() for row in cells
        ]
    for comparison in found.comparisons:
        lines.append(f"  {title_of(comparison)}")
        for row in difference_rows(comparison):
            beside = f"{row.value:<14}{row.interval}{f': {row.verdict}' if row.verdict else ''}"
            lines.append(f"    {row.name:<{_LABEL - 2}}{beside}")
    return lines
