"""A calibration in words: the table that `callquake calibrate` prints, and what a report says of its run's error."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.measure.calibration import MAX_TICK_LATENESS_P99_MS, Calibration, Step, max_error_p99_ms
from harness.measure.generator_health import HealthResult

_COMMAND = "callquake calibrate"
_DEFAULT_TRANSPORT = "webrtc"
_WIDTH = 96
_COLUMNS = (
    ("callers", 8),
    ("bias ms", 9),
    ("p99 ms", 9),
    ("n", 8),
    ("late p99", 10),
    ("CPU", 7),
    ("CPU/call", 10),
    ("kB/call", 9),
    ("set-ups/s", 11),
    ("lost", 7),
)


def command_for(transport: str, codec: str) -> str:
    """Return the command that calibrates for such calls; WebRTC speaks one codec."""
    if transport == _DEFAULT_TRANSPORT:
        return _COMMAND
    return f"{_COMMAND} --transport {transport}" + (f" --codec {codec}" if codec else "")


def step_head() -> str:
    """Return the head of the table of steps."""
    return "".join(f"{name:>{width}}" for name, width in _COLUMNS)


def step_line(step: Step) -> str:
    """Return one step as a row of the table."""
    error = step.error
    cells = (
        f"{step.callers}",
        _figure(error.bias_ms, "+.2f"),
        _figure(error.p99_ms, ".2f"),
        f"{error.n}",
        _figure(step.tick_lateness_p99_ms, ".2f"),
        _figure(step.cpu_ratio_mean, ".0%"),
        _figure(step.cpu_per_call, ".3%"),
        _figure(step.memory_per_call_kib, ".0f"),
        _figure(step.setups_per_s, ".0f"),
        f"{step.packets_lost}",
    )
    return "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, _COLUMNS, strict=True))


def _figure(value: float | None, style: str) -> str:
    return "n/a" if value is None else format(value, style)


def calibration_lines(calibration: Calibration) -> list[str]:
    """Return what a calibration came to, below its table."""
    conditions = calibration.conditions
    bound = max_error_p99_ms(conditions.loss_ratio)
    kinds = [kind for kind, is_so in (("partial", calibration.is_partial), ("quick", conditions.is_quick)) if is_so]
    what = f"{conditions.transport}, {conditions.codec}, media loop {calibration.media_loop}"
    head = f"{calibration.callers} callers per engine ({what}): |TTFB error| p99 within {bound:g} ms"
    if not calibration.callers:
        head = f"not even {calibration.steps[0].callers} callers ({what}) within the bounds"
    lines = _wrap(head + (f" [{', '.join(kinds)}]" if kinds else ""))
    best = calibration.step_for(calibration.callers) if calibration.callers else None
    lines += _wrap(_error_in_full(best)) if best is not None else []
    lines += [f"  {calibration.affinity}"]
    last = calibration.steps[-1]
    lines += [f"  limited at {last.callers} callers by:"] if last.limits else ["  no bound was broken: more may fit"]
    lines += [line for limit in last.limits for line in _wrap(limit, "    ")]
    return lines


def _error_in_full(step: Step) -> str:
    error, during = step.error, step.error_during_setup
    low, high = error.bias_ci95 or (None, None)
    text = f"at {step.callers}: bias {_figure(error.bias_ms, '+.3f')} ms"
    text += f" (95 % {low:+.3f} to {high:+.3f})" if low is not None and high is not None else ""
    text += f", p99 {_figure(error.p99_ms, '.3f')} ms"
    text += (
        f" (95 % {error.p99_ci95[0]:.3f} to {error.p99_ci95[1]:.3f})"
        if error.p99_ci95
        else " (too few turns for an interval)"
    )
    text += f", worst {_figure(error.max_ms, '.3f')} ms, n {error.n}"
    if during.n:
        text += f"; while calls were set up: p99 {_figure(during.p99_ms, '.3f')} ms, n {during.n}"
    return f"{text}; ticks late p99 {_figure(step.tick_lateness_p99_ms, '.3f')} ms (bound {MAX_TICK_LATENESS_P99_MS:g})"


def _wrap(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)


# --- beside a run's TTFB -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MeasurementError:
    """What a calibration says of one run's TTFB; `step` is None where the run held more calls than was calibrated."""

    calibration: Calibration
    step: Step | None
    # Most calls at once in one engine of the run; None = not measured.
    peak_calls: int | None

    # How the run's media loops ran where they did not run as calibrated.
    media_loops: tuple[str, ...] = ()
    # What the impairments of the run's calls add, in words; "" = it had none.
    impaired: str = ""

    def words(self) -> str:
        """Return the sentence that stands beside TTFB."""
        at = f"calibrated on {self.calibration.calibrated_at[:10]}"
        if self.media_loops:
            return f"error not known: {self._other_loop()} {at}{self._kind()}; run: {self._command()}"
        if self.step is None or self.step.error.bias_ms is None or self.step.error.p99_ms is None:
            peak = f"{self.peak_calls} calls at once" if self.peak_calls is not None else "these calls"
            most = f"{self.calibration.callers}{self._kind()}"
            return f"error not known: {peak} in one engine, {at} for at most {most}; run: {self._command()}"
        error = self.step.error
        figures = f"{error.bias_ms:+.1f} ms (p99 {error.p99_ms:.1f} ms, n={error.n}, {at}"
        figures += f" at {self.step.callers} callers{self._kind()})"
        if self.impaired:
            return f"calibrated without impairments, to an error of {figures}: {self.impaired}"
        return f"measured with an error of {figures}"

    def _command(self) -> str:
        conditions = self.calibration.conditions
        return command_for(conditions.transport, conditions.codec)

    def _other_loop(self) -> str:
        return f"media loop {' and '.join(self.media_loops)} in this run, {self.calibration.media_loop} as"

    def _kind(self) -> str:
        """Return what sets the calibration apart from the usual one."""
        conditions = self.calibration.conditions
        words = (
            ("partial", self.calibration.is_partial),
            ("quick", conditions.is_quick),
            (f"silence {conditions.silence}", conditions.silence != "packets"),
            (f"source ports {conditions.source_ports}", conditions.source_ports != "auto"),
        )
        return "".join(f", {word}" for word, is_so in words if is_so)


def measurement_error(
    calibration: Calibration | None, health: HealthResult, impaired: str = ""
) -> MeasurementError | None:
    """Return what `calibration` says of a run with this health; None where there is no calibration.

    `impaired` tells what the run's impairments add. Where a media loop ran otherwise than calibrated nothing is known.
    """
    if calibration is None:
        return None
    peak = max((point.calls_active for point in health.timeline), default=None)
    if any(mode != calibration.media_loop for mode in health.media_loops):
        return MeasurementError(calibration, None, peak, health.media_loops, impaired)
    step = calibration.step_for(peak if peak is not None else 0)
    return MeasurementError(calibration, step, peak, impaired=impaired)


def error_words(error: MeasurementError | None, target: Mapping[str, Any]) -> str:
    """Return the sentence that stands beside TTFB in every report; `target` is run.json's."""
    if error is not None:
        return error.words()
    command = command_for(str(target.get("transport") or _DEFAULT_TRANSPORT), str(target.get("codec") or ""))
    return f"not calibrated on this machine; run: {command}"


def error_json(error: MeasurementError | None) -> dict[str, Any] | None:
    """Return what summary.json says of it; None = not calibrated, `bias_ms` None = not for such a run."""
    if error is None:
        return None
    figures = error.step.error if error.step is not None else None
    return {
        "bias_ms": figures.bias_ms if figures else None,
        "bias_ci95": list(figures.bias_ci95) if figures and figures.bias_ci95 else None,
        "p99_ms": figures.p99_ms if figures else None,
        "p99_ci95": list(figures.p99_ci95) if figures and figures.p99_ci95 else None,
        "n": figures.n if figures else 0,
        "at_callers": error.step.callers if error.step is not None else None,
        "calibrated_at": error.calibration.calibrated_at,
        "calibrated_callers": error.calibration.callers,
        "is_partial": error.calibration.is_partial,
        "is_quick": error.calibration.conditions.is_quick,
        "peak_calls_per_engine": error.peak_calls,
        "calibrated_media_loop": error.calibration.media_loop,
        "impaired": error.impaired or None,
    }
