"""`callquake calibrate`: how many callers one engine of this machine holds, and how true its TTFB is then."""

import argparse
import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

from harness.calibrate import saved
from harness.calibrate.machine import describe_affinity, machine_key, split_cpus
from harness.exit_codes import ExitCode
from harness.measure.calibration import Calibration, Conditions, Step
from harness.model.codec import to_json
from harness.model.errors import GeneratorError, ScenarioError
from harness.report.calibration_words import calibration_lines, step_head, step_line
from harness.scenario.run_dir import utc_now

_TELEPHONE_CODECS = ("PCMU", "PCMA", "G722", "opus")
CODECS = {"webrtc": ("opus",), "rtp": _TELEPHONE_CODECS, "sip": _TELEPHONE_CODECS}
SILENCES = ("packets", "dtx", "comfort-noise")
SOURCE_PORTS = ("auto", "shared", "per_call")
DEFAULT_CALLERS = {
    "webrtc": (50, 100, 200, 500, 1000, 1500, 2000),
    "rtp": (100, 200, 500, 1000, 2000, 3000, 4000),
    "sip": (100, 200, 500, 1000, 2000, 3000, 4000),
}
QUICK_CALLERS = (10, 20)
QUICK_DURATION_S = 5.0
DEFAULT_DURATION_S = 20.0
MAX_CALLERS = 100_000
# The responder knows the end of speech this long after it; an answer cannot be due sooner.
MIN_DELAY_MS = 220.0
MAX_DELAY_MS = 10_000.0
MAX_LEADING_MS = 5_000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--transport", choices=sorted(CODECS), default="webrtc", help="default: %(default)s")
    parser.add_argument("--codec", metavar="NAME", help="webrtc: opus; rtp, sip: PCMU (default), PCMA, G722, opus")
    parser.add_argument("--callers", metavar="N,N,..", help="the steps; default: 50 to 2000, rtp and sip: 100 to 4000")
    parser.add_argument("--turns", metavar="N", help="turns of each call, instead of as many as fit into --duration")
    parser.add_argument("--duration", metavar="S", help=f"how long a step is held (default: {DEFAULT_DURATION_S:g})")
    parser.add_argument("--delay-ms", metavar="A:B", default="250:900", help="end of speech to answer: %(default)s")
    parser.add_argument(
        "--leading-silence-ms", metavar="A:B", default="0:600", help="silence that opens an answer: %(default)s"
    )
    parser.add_argument("--silence", choices=SILENCES, default="packets", help="between answers: %(default)s")
    parser.add_argument("--loss", metavar="RATIO", default="0", help="share of the answers' packets lost: %(default)s")
    parser.add_argument("--source-ports", choices=SOURCE_PORTS, default="auto", help="the callers': %(default)s")
    parser.add_argument("--quick", action="store_true", help="two small steps, half a minute: is everything in place?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the calibration there, too")


def calibrate(options: argparse.Namespace) -> int:
    """Climb, print and save; return the exit code. Raises ScenarioError for a wrong option."""
    conditions, callers = read_options(options)
    _check_json(options.json)
    # Imported late: it takes a second, and no other command needs it.
    from harness.calibrate.climb import Climb  # noqa: PLC0415

    _say_what(conditions, callers)
    climb = Climb(conditions)
    code, is_partial = ExitCode.PASSED, False
    try:
        asyncio.run(_run(climb, callers))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\ninterrupted; what was measured is kept as partial", flush=True)
        code, is_partial = ExitCode.INTERRUPTED, True
    except GeneratorError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        code, is_partial = ExitCode.VOID, True
    if not climb.steps:
        print("nothing was measured, and nothing saved")
        return code or ExitCode.NO_DATA
    result = climb.result(utc_now(), is_partial=is_partial)
    print("\n".join(["", *calibration_lines(result)]))
    print(f"saved: {saved.save(result)}")
    if options.json is not None:
        _write(options.json, result)
    if code is ExitCode.PASSED and not result.callers:
        return ExitCode.NO_DATA if not climb.steps[0].error.n else ExitCode.VOID
    return code


async def _run(climb: Any, callers: tuple[int, ...]) -> None:
    """Run the climb as the task that SIGTERM cancels, as Ctrl-C does."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    print(step_head(), flush=True)
    is_live = sys.stderr.isatty()
    await climb.run(callers, lambda step: _told(step, is_live=is_live), _show if is_live else _hide)


def _show(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()


def _hide(_text: str) -> None:
    """Say nothing between steps where nobody watches: a log has the steps."""


def _told(step: Step, *, is_live: bool) -> None:
    if is_live:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
    print(step_line(step), flush=True)


def _say_what(conditions: Conditions, callers: tuple[int, ...]) -> None:
    print(f"machine: {machine_key()}")
    print(f"         {describe_affinity(*split_cpus())}")
    held = f"{conditions.turns} turns a call" if conditions.turns else f"{conditions.duration_s:g} s a step"
    loss = f", {conditions.loss_ratio:.1%} loss" if conditions.loss_ratio else ""
    print(
        f"calls:   {conditions.transport}, {conditions.codec}, {held}, answers after {{:g}} to {{:g}} ms".format(
            *conditions.delay_ms
        )
        + ", opened by {:g} to {:g} ms of silence".format(*conditions.leading_silence_ms)
        + f", between them {conditions.silence}{loss}"
    )
    print(f"steps:   {', '.join(map(str, callers))} callers, until a bound is broken; Ctrl-C keeps what is measured\n")


def _write(path: Path, result: Calibration) -> None:
    content = {**to_json(result), "callers": result.callers}
    try:
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"--json: cannot write {path}: {error.strerror}") from error


def _check_json(path: Path | None) -> None:
    if path is not None and (path.is_dir() or not path.resolve().parent.is_dir()):
        raise ScenarioError(f"--json: got {path}; legal: a file in a folder that exists")


# --- options -------------------------------------------------------------------------------------------------------


def read_options(options: argparse.Namespace) -> tuple[Conditions, tuple[int, ...]]:
    """Return what the options ask for; raises ScenarioError naming the option and the legal values."""
    codec = _codec(options.transport, options.codec)
    delay = _range("--delay-ms", options.delay_ms, MIN_DELAY_MS, MAX_DELAY_MS)
    if options.turns is not None and options.duration is not None:
        raise ScenarioError("--turns and --duration: both given; legal: one of them, a call's end is either")
    turns = None if options.turns is None else _whole("--turns", options.turns, 1, 10_000)
    duration_s = QUICK_DURATION_S if options.quick else DEFAULT_DURATION_S
    if options.duration is not None:
        duration_s = _number("--duration", options.duration, 3, 86_400)
    elif turns is not None:
        duration_s = 3_600.0
    conditions = Conditions(
        transport=options.transport,
        codec=codec,
        silence=options.silence,
        source_ports=options.source_ports,
        loss_ratio=_number("--loss", options.loss, 0, 0.5),
        delay_ms=delay,
        leading_silence_ms=_range("--leading-silence-ms", options.leading_silence_ms, 0, MAX_LEADING_MS),
        turns=turns,
        duration_s=duration_s,
        is_quick=options.quick,
    )
    default = QUICK_CALLERS if options.quick else DEFAULT_CALLERS[options.transport]
    return conditions, default if options.callers is None else _callers(options.callers)


def _codec(transport: str, name: str | None) -> str:
    legal = CODECS[transport]
    if name is None:
        return legal[0]
    for codec in legal:
        if codec.lower() == name.lower():
            return codec
    raise ScenarioError(f"--codec: got '{name}' with --transport {transport}; legal: {', '.join(legal)}")


def _callers(text: str) -> tuple[int, ...]:
    legal = f"rising whole numbers from 1 to {MAX_CALLERS}, like 50,100,200"
    if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", text):
        raise ScenarioError(f"--callers: got '{text}'; legal: {legal}")
    counts = tuple(int(word) for word in text.split(","))
    if any(b <= a for a, b in zip((0, *counts), counts, strict=False)) or counts[-1] > MAX_CALLERS:
        raise ScenarioError(f"--callers: got '{text}'; legal: {legal}")
    return counts


def _number(option: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ScenarioError(f"{option}: got '{text}'; legal: a number from {low:g} to {high:g}")
    return value


def _whole(option: str, text: str, low: int, high: int) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
        raise ScenarioError(f"{option}: got '{text}'; legal: a whole number from {low} to {high}")
    return int(text)


def _range(option: str, text: str, low: float, high: float) -> tuple[float, float]:
    legal = f"MS or MS:MS, rising, from {low:g} to {high:g}"
    first, _, second = text.partition(":")
    try:
        values = (float(first), float(second or first))
    except ValueError:
        values = (float("nan"), float("nan"))
    if not low <= values[0] <= values[1] <= high:
        raise ScenarioError(f"{option}: got '{text}'; legal: {legal}")
    return values
