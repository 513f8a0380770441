"""SIP calls with audio per core, every turn timed: one engine and the reference responder, beside SIPp's `rtp_stream`.

Ours are placed over SIP (PCMU) by the product's engine, with plans over its wire, speak turn after turn, and time each
answer; TTFB is held against the responder's own truth. SIPp sends as many streams to its `-rtp_echo` and hears nothing.
"""

import argparse
import asyncio
import sys
from contextlib import closing
from functools import partial
from typing import Any

from benchmarks import bench
from benchmarks.bench import Ground, Question
from benchmarks.comparison import OURS, Better, Measured
from benchmarks.failure import BenchmarkError
from benchmarks.peers import sipp
from benchmarks.turns import Cycle, add_talk_option
from benchmarks.window import measure
from harness.calibrate.climb import Climb
from harness.measure.calibration import Conditions, Step
from harness.media.codecs import PCMU
from harness.model.codec import to_json
from harness.model.errors import CallquakeError


def flags_of(step: Step) -> list[str]:
    """Return what speaks against a step: lost calls, packets and turns, and the bounds of calibration it broke."""
    found = [str(limit) for limit in step.limits]
    if step.failed:
        found.append(f"{step.failed} calls failed ({step.first_failure})")
    if step.packets_lost:
        found.append(f"{step.packets_lost:,} of {step.packets_sent + step.packets_received:,} packets lost")
    if step.n_missed:
        found.append(f"{step.n_missed} answers missed")
    return found


def told_of(step: Step) -> str:
    """Return the timing of a step in words."""
    error = step.error
    if error.p99_ms is None or error.bias_ms is None or step.tick_lateness_p99_ms is None:
        return "TTFB not measured: no turn could be held against the truth"
    return (
        f"{error.n:,} turns timed, TTFB off by {error.bias_ms:+.3f} ms, p99 {error.p99_ms:.3f}; "
        f"ticks late by {step.tick_lateness_p99_ms:.2f} ms p99"
    )


def of_step(step: Step) -> Measured:
    """Return the figure of a step: calls that one core would carry at the CPU time that these took."""
    if not step.cpu_ratio_mean:
        raise BenchmarkError("the engine told nothing of its CPU time: a longer --seconds is needed")
    details: dict[str, Any] = {"calls": step.connected, "turns": told_of(step), "flags": flags_of(step)}
    return Measured(step.connected / step.cpu_ratio_mean, {**details, "step": to_json(step)})


def _ours(options: argparse.Namespace, _ground: Ground) -> Measured:
    climb = Climb(Conditions(transport="sip", codec=PCMU.name, duration_s=options.seconds))
    try:
        asyncio.run(climb.run([options.calls], lambda _step: None, lambda _line: None))
    except CallquakeError as error:
        raise BenchmarkError(f"our callers: {error}") from error
    return of_step(climb.steps[0])


def _sipp(options: argparse.Namespace, ground: Ground) -> Measured:
    with sipp.Echo(ground) as echo:
        callers = sipp.SippCallers(echo, b"".join(Cycle(options.talk).clip(PCMU).payloads), ground)
        with closing(callers):
            callers.add(options.calls)
            sample = measure(callers, options.seconds, options.settle, ground.caller_core)
    return Measured(sample.fair_calls_per_core, sample.as_json())


def run() -> None:
    """Compare."""
    parser = bench.options_parser("sip_media", __doc__)
    bench.add_window_options(parser, calls=1000)
    add_talk_option(parser)
    options = parser.parse_args()
    bench.chosen_peers(options.peers, ["sipp"])
    sipp.need()
    runners = {OURS: partial(_ours, options), "sipp": partial(_sipp, options)}
    unit = "SIP calls with audio per core"
    bench.answer(Question("sip_media", unit, Better.HIGHER, runners, {}, {"sipp": sipp.version()}), options)


if __name__ == "__main__":
    sys.exit(bench.main(run))
