"""What `callquake run` says before a run of this machine's calibration: nothing, or one line."""

import sys

from harness.calibrate.machine import media_loop_mode
from harness.calibrate.saved import last_calibration
from harness.model.errors import ScenarioError
from harness.model.plan import TargetSpec
from harness.report.calibration_words import command_for
from harness.scenario.check import Prepared
from harness.scenario.concurrency import peak_calls


def print_calibration(prepared: Prepared, engines: int = 1) -> None:
    """Warn when nobody has measured whether this machine can hold what the scenario asks for."""
    hint = calibration_hint(prepared, engines)
    if hint:
        print(hint, file=sys.stderr, flush=True)


def calibration_hint(prepared: Prepared, engines: int = 1) -> str:
    """Return a line for each target, none where `engines` engines were calibrated for at least the scenario's peak."""
    hints = [(name, _hint(prepared, target, engines)) for name, target in prepared.targets.items()]
    return "\n".join(f"{name}: {hint}" if name else hint for name, hint in hints if hint)


def _hint(prepared: Prepared, target: TargetSpec, engines: int) -> str:
    again = command_for(target.transport, target.codec)
    try:
        calibration = last_calibration(
            target.transport, target.codec, media_loop=media_loop_mode(), source_ports=target.source_ports
        )
    except ScenarioError as error:
        return f"calibration: {error}"
    if calibration is None:
        return f"calibration: not calibrated on this machine, so the error of TTFB is not known; run: {again}"
    peak = peak_calls(prepared)
    if peak <= calibration.callers * engines:
        return ""
    share = "" if engines == 1 else f" in {engines} engines"
    return (
        f"calibration: WARNING: the scenario asks for about {peak} calls at once{share}, calibrated on "
        f"{calibration.calibrated_at[:10]} for {calibration.callers} an engine; the run may be void. "
        f"More workers share the calls; a longer climb may show more: {again}"
    )
