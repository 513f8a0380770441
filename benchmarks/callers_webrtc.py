"""WebRTC callers per core: ours against Pion (Go) and stock aiortc.

Opus in SRTP, 20 ms packets both ways; one and the same Pion echo server answers all from another core. Ours decode and
time every turn; Pion's callers send ready-made payloads and only read what comes; aiortc's encode and decode, all the
same speech, or (aiortc-silent) the digital silence of its own AudioStreamTrack.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks import bench, machine, ours
from benchmarks.bench import Ground, Question
from benchmarks.comparison import OURS, Better, Measured
from benchmarks.peers import aiortc, pion
from benchmarks.processes import Callers
from benchmarks.turns import add_talk_option
from benchmarks.window import measure

Start = Callable[[str, Ground], Callers]


def _runner(start: Start, calls: int, binary: Path, options: argparse.Namespace) -> Callable[[Ground], Measured]:
    def run_once(ground: Ground) -> Measured:
        with pion.EchoServer(binary, ground) as echo, closing(start(echo.url, ground)) as callers:
            callers.add(calls)
            sample = measure(callers, options.seconds, options.settle, ground.caller_core)
        return Measured(sample.fair_calls_per_core, sample.as_json())

    return run_once


def run() -> None:
    """Compare."""
    parser = bench.options_parser("callers_webrtc", __doc__)
    bench.add_window_options(parser, calls=200)
    add_talk_option(parser)
    parser.add_argument("--aiortc-calls", type=bench.positive, default=8, help="calls of stock aiortc (%(default)s)")
    parser.add_argument("--pion-interceptors", action="store_true", help="let Pion's callers send RTCP, at a price")
    options = parser.parse_args()
    names = bench.chosen_peers(options.peers, ["pion", "aiortc", "aiortc-silent"])
    binary = pion.build(options.cache)

    starts: dict[str, tuple[Start, int]] = {
        OURS: (partial(ours.callers, options.talk), options.calls),
        "pion": (
            partial(pion.callers, binary, options.talk, interceptors=options.pion_interceptors),
            options.calls,
        ),
        "aiortc": (partial(aiortc.callers, options.talk), options.aiortc_calls),
        "aiortc-silent": (partial(aiortc.callers, 0.0), options.aiortc_calls),
    }
    runners = {name: _runner(*starts[name], binary, options) for name in (OURS, *names)}
    versions = {"pion": pion.version(), "aiortc": machine.version("aiortc") or "missing"}
    bench.answer(Question("callers_webrtc", "WebRTC calls per core", Better.HIGHER, runners, {}, versions), options)


if __name__ == "__main__":
    sys.exit(bench.main(run))
