"""Short SIP calls per second, without audio: one engine's callers against one SIPp `uac`, both calling SIPp's `uas`.

INVITE, 180, 200, ACK, BYE, 200 over UDP, hung up at once; as many calls at a time as `--at-a-time` says, the next one
as soon as one is over. Ours are whole calls as the engine has them, from the plan's JSON to the record's. The figure is
calls over the wall clock of a process on a core of its own; CPU seconds stand beside it.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from benchmarks import bench
from benchmarks.bench import Ground, Question
from benchmarks.comparison import OURS, Better, Measured
from benchmarks.failure import BenchmarkError
from benchmarks.peers import sipp
from benchmarks.processes import READY_LIMIT_S, Child

_ROOT = Path(__file__).resolve().parents[1]
_DONE_LIMIT_S = 300.0
# What is not answered at all says nothing of speed.
_MOST_FAILED = 0.01


def _calls(module: str, options: argparse.Namespace, ground: Ground) -> Measured:
    with sipp.Echo(ground) as agent:
        address = f"{sipp.HOST}:{agent.sip_port}"
        command = [sys.executable, "-m", module, address, str(options.calls), str(options.at_a_time)]
        with Child(command, ground.caller_core, ground.log(module), cwd=_ROOT) as child:
            child.hear("ready", READY_LIMIT_S)
            child.tell("go")
            done = child.hear("done", _DONE_LIMIT_S)
    if done["failed"] > _MOST_FAILED * options.calls:
        raise BenchmarkError(f"{module}: {done['failed']} of {options.calls} calls failed")
    return Measured(done["calls"] / done["wall_s"], {**done, "calls_per_cpu_s": done["calls"] / done["cpu_s"]})


def run() -> None:
    """Compare."""
    parser = bench.options_parser("sip_calls", __doc__)
    parser.add_argument("--calls", type=bench.positive, default=10_000, help="calls of a round (%(default)s)")
    parser.add_argument("--at-a-time", type=bench.positive, default=50, help="calls in progress (%(default)s)")
    options = parser.parse_args()
    peers = bench.chosen_peers(options.peers, ["sipp"])
    sipp.need()
    modules = {OURS: "benchmarks.our_sip_calls", "sipp": "benchmarks.sipp_sip_calls"}
    runners = {name: partial(_calls, modules[name], options) for name in (OURS, *peers)}
    unit = "short SIP calls per second and process"
    question = Question("sip_calls", unit, Better.HIGHER, runners, {}, {"sipp": sipp.version()})
    bench.answer(question, options)


if __name__ == "__main__":
    sys.exit(bench.main(run))
