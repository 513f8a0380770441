"""The error of TTFB: ours, and that of a stock aiortc caller that times the first loud frame of `track.recv()`.

Both talk to the reference responder, in a process and on a core of its own, and both are held against its truth: when
the packet with the caller's last voiced sample reached the kernel, and when the one with the answer's first voiced
sample left. What is compared is the p99 of the error's size; bias, median and maximum stand beside it.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import bench, machine
from benchmarks.bench import Ground, Question
from benchmarks.comparison import OURS, Better, Measured
from benchmarks.failure import BenchmarkError
from benchmarks.processes import READY_LIMIT_S, Child
from harness.calibrate.climb import Climb, responder_words
from harness.calibrate.truth_file import TruthFile
from harness.calibrate.utterances import write_corpus
from harness.measure.calibration import Conditions, ErrorStats, Truth, TurnError, error_stats
from harness.media.codecs import OPUS
from harness.model.clock import NS_PER_MS
from harness.model.codec import to_json
from harness.model.errors import CallquakeError

# Caller and responder date the end of one and the same utterance this close to each other.
_SAME_TURN_MS = 200.0
_ANSWER_MARGIN_S = 2.0
_END_LIMIT_S = 30.0
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(slots=True)
class Held:
    """Turns held against the truth."""

    errors: list[TurnError] = field(default_factory=list)
    # Answered, and not heard.
    missed: int = 0
    # Heard before the user's own speech had ended: the rest of an earlier answer.
    early: int = 0
    # The responder has no answer to it on record.
    unmatched: int = 0

    def counts(self) -> dict[str, int]:
        """Return what became no error."""
        return {"missed": self.missed, "early": self.early, "unmatched": self.unmatched}


def hold_against(turns: Sequence[dict[str, Any]], truths: Sequence[Truth]) -> Held:
    """Pair each turn with the answer to the speech that ended when the turn's did."""
    held = Held()
    for turn in turns:
        ended_ns, onset_ns = turn["speech_ended_at_ns"], turn["onset_at_ns"]
        own = (t for t in truths if t.call == turn["call"])
        near = min(own, key=lambda t: abs(t.speech_ended_at_ns - ended_ns), default=None)
        if near is None or abs(near.speech_ended_at_ns - ended_ns) > _SAME_TURN_MS * NS_PER_MS:
            held.unmatched += 1
        elif onset_ns is None:
            held.missed += 1
        elif onset_ns < ended_ns:
            held.early += 1
        else:
            error_ms = (onset_ns - ended_ns) / NS_PER_MS - near.ttfb_ms
            held.errors.append(TurnError(turn["call"], ended_ns, error_ms))
    return held


def _measured(who: str, stats: ErrorStats, more: dict[str, Any]) -> Measured:
    if stats.p99_ms is None:
        raise BenchmarkError(f"{who}: not one turn could be held against the truth: {more}")
    words = {"missed": "answers missed", "early": "answers heard early", "unmatched": "turns without a truth"}
    flags = [f"{more[name]} {what}" for name, what in words.items() if more[name]]
    return Measured(stats.p99_ms, {"error": to_json(stats), "flags": flags, **more})


def _conditions(options: argparse.Namespace) -> Conditions:
    return Conditions(loss_ratio=options.loss, duration_s=options.seconds)


def _ours(options: argparse.Namespace, _ground: Ground) -> Measured:
    climb = Climb(_conditions(options))
    try:
        asyncio.run(climb.run([options.calls], lambda _step: None, lambda _line: None))
    except CallquakeError as error:
        raise BenchmarkError(f"our callers: {error}") from error
    step = climb.steps[0]
    more = {
        "calls": step.connected,
        "missed": step.n_missed,
        "unmatched": step.n_unanswered + step.n_mismatched,
        "early": step.n_early,
        "tick_lateness_p99_ms": step.tick_lateness_p99_ms,
        "responder_tick_lateness_p99_ms": step.responder_tick_lateness_p99_ms,
    }
    return _measured("our callers", step.error, more)


def _aiortc(options: argparse.Namespace, ground: Ground) -> Measured:
    conditions = _conditions(options)
    with tempfile.TemporaryDirectory(prefix="callquake-timing-") as name:
        folder = Path(name)
        write_corpus(folder / "corpus", OPUS)
        truth = folder / "truth.jsonl"
        responder = [sys.executable, "-m", "harness.calibrate.responder", *responder_words(conditions, truth)]
        with Child([*responder, "--hear", "level"], ground.answer_core, ground.log("responder"), _ROOT) as answering:
            url = answering.hear_line(READY_LIMIT_S)
            limit_s = conditions.delay_ms[1] / 1000 + _ANSWER_MARGIN_S
            words = ["--calls", str(options.calls), "--seconds", str(options.seconds), "--answer-limit", str(limit_s)]
            command = [sys.executable, "-m", "benchmarks.peers.aiortc_timing", url, str(folder / "corpus"), *words]
            with Child(command, ground.caller_core, ground.log("aiortc-timing"), _ROOT) as callers:
                told = callers.hear("done", options.seconds + limit_s + _END_LIMIT_S)
            held = hold_against(told["turns"], TruthFile(truth).read())
    if told["failed"]:
        raise BenchmarkError(f"{told['failed']} of aiortc's calls failed")
    return _measured("aiortc", error_stats(held.errors), {"calls": options.calls, **held.counts()})


def run() -> None:
    """Compare."""
    parser = bench.options_parser("timing_error", __doc__)
    parser.add_argument("--calls", type=bench.positive, default=8, help="of each competitor (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="turns begin for so long (%(default)s)")
    parser.add_argument("--loss", type=float, default=0.0, help="share of the agent's packets lost (%(default)s)")
    options = parser.parse_args()
    names = bench.chosen_peers(options.peers, ["aiortc"])
    runners = {OURS: partial(_ours, options), **({"aiortc": partial(_aiortc, options)} if names else {})}
    unit = f"p99 of the TTFB error in ms, {options.loss:.0%} loss"
    not_applicable = {"pion": "a library without a caller that times turns", "sipp": "hears nothing of the answer"}
    versions = {"aiortc": machine.version("aiortc") or "missing"}
    bench.answer(Question("timing_error", unit, Better.LOWER, runners, not_applicable, versions), options)


if __name__ == "__main__":
    sys.exit(bench.main(run))
