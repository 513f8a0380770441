"""Short SIP calls a second, without audio: one engine process against SIPp.

Both call one `sipp -sn uas` on the other core: INVITE, 180, 200, ACK, BYE, 200. The rate climbs until it is sustained
no more: 99.9 % of the calls completed, 99 % of the rate achieved, messages sent again for 0.1 % of the calls at most.
Ours is the product's engine, given plans over its wire and giving records back; what writes plans and reads records is
on the callers' core.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import bench
from benchmarks.bench import Ground, Question
from benchmarks.call_rate import Climb, Held
from benchmarks.comparison import OURS, Better, Measured
from benchmarks.failure import BenchmarkError
from benchmarks.peers import sipp, sipp_short
from benchmarks.processes import READY_LIMIT_S, Child

_ROOT = Path(__file__).resolve().parents[1]
_HOLD_LIMIT_S = 90.0


class OurEngine(Child):
    """One engine and its driver."""

    def __init__(self, uas: sipp_short.Uas, ground: Ground) -> None:
        core = [] if ground.caller_core is None else ["--core", str(ground.caller_core)]
        command = [sys.executable, "-m", "benchmarks.engine_calls", uas.url, str(ground.logs / "engine"), *core]
        command += ["--peer", str(uas.pid)]
        super().__init__(command, ground.caller_core, ground.log("engine-calls"), _ROOT)
        try:
            self.hear("ready", READY_LIMIT_S)
        except BaseException:
            self.close()
            raise

    def hold(self, rate: float, seconds: float) -> dict[str, Any]:
        """Hold a rate."""
        self.tell(f"hold {rate:g} {seconds:g}")
        return self.hear("held", seconds + _HOLD_LIMIT_S)


def _hold_ours(options: argparse.Namespace, ground: Ground, rate: float) -> Held:
    # Both are new at each rate, as SIPp's are: what a failed rate has left behind burdens no other.
    with ExitStack() as stack:
        uas = stack.enter_context(sipp_short.Uas(ground))
        engine = stack.enter_context(OurEngine(uas, ground))
        told = engine.hold(rate, options.seconds)
    own = ("placed", "completed", "seconds", "resent", "cpu_s", "peer_cpu_s")
    more = {name: value for name, value in told.items() if name not in (*own, "event")}
    return Held(asked_per_s=rate, **{name: told[name] for name in own}, more=more)


def _hold_sipp(options: argparse.Namespace, ground: Ground, rate: float) -> Held:
    with sipp_short.Uas(ground) as uas:
        return sipp_short.hold(uas, ground, rate, options.seconds)


def _measured(
    hold: Callable[[argparse.Namespace, Ground, float], Held], who: str, options: argparse.Namespace, ground: Ground
) -> Measured:
    climb = Climb(options.first, options.factor, options.halvings, options.tries)
    best = climb.run(partial(hold, options, ground), lambda line: print(f"    {who}: {line}", flush=True))
    if best is None:
        raise BenchmarkError(f"{who} sustained not even {options.first:g} calls a second; legal: a lower --first")
    notes = f"{best.cpu_us_per_call:.0f} µs of CPU a call"
    return Measured(
        best.achieved_per_s,
        {
            "turns": notes,
            "flags": [],
            "cpu_us_per_call": best.cpu_us_per_call,
            "calls_per_cpu_s": 1e6 / best.cpu_us_per_call,
            "best": best.as_json(),
            "climb": [held.as_json() for held in climb.held],
        },
    )


def run() -> None:
    """Compare."""
    parser = bench.options_parser("sip_calls", __doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="each rate is held for so long (%(default)s)")
    parser.add_argument("--first", type=float, default=500.0, help="calls a second to begin with (%(default)s)")
    parser.add_argument("--factor", type=float, default=1.5, help="to the next rate (%(default)s)")
    parser.add_argument("--halvings", type=int, default=3, help="between the last two rates (%(default)s)")
    parser.add_argument("--tries", type=bench.positive, default=2, help="of a rate before it counts as failed")
    options = parser.parse_args()
    if options.factor <= 1:
        raise BenchmarkError(f"--factor {options.factor:g}: legal: more than 1")
    bench.chosen_peers(options.peers, ["sipp"])
    sipp.need()
    runners = {
        OURS: partial(_measured, _hold_ours, OURS, options),
        "sipp": partial(_measured, _hold_sipp, "sipp", options),
    }
    unit = "short SIP calls per second and process, without audio"
    bench.answer(Question("sip_calls", unit, Better.HIGHER, runners, {}, {"sipp": sipp.version()}), options)


if __name__ == "__main__":
    sys.exit(bench.main(run))
