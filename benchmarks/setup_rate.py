"""WebRTC set-ups per second and core: our peers against aiortc's RTCPeerConnection.

One process holds both ends of every pair and exchanges their descriptions by function call, so that nothing but SDP,
ICE, DTLS and the deriving of SRTP keys is counted. The figure is pairs over CPU seconds of that process, all its
threads; a caller alone, whose agent is elsewhere, costs about half a pair.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from benchmarks import bench, machine
from benchmarks.bench import Ground, Question
from benchmarks.comparison import OURS, Better, Measured
from benchmarks.processes import READY_LIMIT_S, Child

_ROOT = Path(__file__).resolve().parents[1]
_DONE_LIMIT_S = 300.0


def _pairs(name: str, pairs: int, options: argparse.Namespace, ground: Ground) -> Measured:
    command = [sys.executable, "-m", "benchmarks.setup_pairs", name, str(pairs), str(options.at_a_time)]
    with Child(command, ground.caller_core, ground.log(f"setup-{name}"), cwd=_ROOT) as child:
        child.hear("ready", READY_LIMIT_S)
        child.tell("go")
        done = child.hear("done", _DONE_LIMIT_S)
    return Measured(done["pairs"] / done["cpu_s"], {**done, "cpu_ms_per_pair": 1000 * done["cpu_s"] / done["pairs"]})


def _question(options: argparse.Namespace) -> Question:
    peers = bench.chosen_peers(options.peers, ["aiortc"])
    counts = {OURS: options.calls, "aiortc": options.aiortc_calls}
    sides = {OURS: "ours", "aiortc": "aiortc"}
    runners = {name: partial(_pairs, sides[name], counts[name], options) for name in (OURS, *peers)}
    versions = {"aiortc": machine.version("aiortc") or "missing"}
    unit = "WebRTC set-ups (both ends) per second and core"
    return Question("setup_rate", unit, Better.HIGHER, runners, {}, versions)


def run() -> None:
    """Compare."""
    parser = bench.options_parser("setup_rate", __doc__, pairs=5)
    parser.add_argument("--calls", type=bench.positive, default=400, help="set-ups of ours a round (%(default)s)")
    parser.add_argument("--aiortc-calls", type=bench.positive, default=100, help="of stock aiortc (%(default)s)")
    parser.add_argument("--at-a-time", type=bench.positive, default=16, help="set-ups in progress (%(default)s)")
    options = parser.parse_args()
    bench.answer(_question(options), options)


if __name__ == "__main__":
    sys.exit(bench.main(run))
