"""RTP callers per core: ours against SIPp's `rtp_stream`.

PCMU, 20 ms packets; SIPp's `-rtp_echo` answers both from another core. Ours share one port to that one address, told
apart by SSRC, and time every turn; SIPp's have a port each and listen to nothing.
"""

import argparse
import sys
from contextlib import closing
from functools import partial

from benchmarks import bench, ours
from benchmarks.bench import Ground, Question
from benchmarks.comparison import OURS, Better, Measured
from benchmarks.peers import sipp
from benchmarks.processes import Callers
from benchmarks.turns import Cycle, add_talk_option
from benchmarks.window import measure
from harness.media.codecs import PCMU


def _measured(callers: Callers, ground: Ground, options: argparse.Namespace) -> Measured:
    with closing(callers):
        callers.add(options.calls)
        sample = measure(callers, options.seconds, options.settle, ground.caller_core)
    return Measured(sample.fair_calls_per_core, sample.as_json())


def _ours(options: argparse.Namespace, ground: Ground) -> Measured:
    with sipp.Echo(ground) as echo:
        return _measured(ours.callers(options.talk, echo.rtp_url, ground), ground, options)


def _sipp(options: argparse.Namespace, ground: Ground) -> Measured:
    with sipp.Echo(ground) as echo:
        callers = sipp.SippCallers(echo, b"".join(Cycle(options.talk).clip(PCMU).payloads), ground)
        return _measured(callers, ground, options)


def run() -> None:
    """Compare."""
    parser = bench.options_parser("callers_rtp", __doc__)
    bench.add_window_options(parser, calls=1000)
    add_talk_option(parser)
    options = parser.parse_args()
    bench.chosen_peers(options.peers, ["sipp"])
    sipp.need()
    runners = {
        OURS: partial(_ours, options),
        "sipp": partial(_sipp, options),
    }
    question = Question("callers_rtp", "RTP calls per core", Better.HIGHER, runners, {}, {"sipp": sipp.version()})
    bench.answer(question, options)


if __name__ == "__main__":
    sys.exit(bench.main(run))
