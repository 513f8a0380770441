"""Memory per call: ours (WebRTC, or RTP with `--kind rtp`) against stock aiortc and Pion.

A first batch of calls warms the process up; then as many more are added, and the growth of its resident memory is
divided by them. What every process needs whatever it carries is thereby left out, and so are the sockets' buffers,
which belong to the kernel.
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks import bench, machine, ours
from benchmarks.accounting import read_memory
from benchmarks.bench import Ground, Question
from benchmarks.comparison import OURS, Better, Measured
from benchmarks.peers import aiortc, pion, sipp
from benchmarks.processes import Callers
from benchmarks.turns import add_talk_option

Start = Callable[[str, Ground], Callers]


def _grown(callers: Callers, first: int, more: int, settle_s: float) -> Measured:
    started = read_memory(callers.pid)
    callers.add(first)
    time.sleep(settle_s)
    warm = read_memory(callers.pid)
    up = callers.add(more)
    time.sleep(settle_s)
    full = read_memory(callers.pid)
    return Measured(
        (full.resident_kb - warm.resident_kb) / more,
        {
            "first_calls": first,
            "more_calls": up - first,
            "resident_kb": {"no_calls": started.resident_kb, "first": warm.resident_kb, "all": full.resident_kb},
            "private_kb": {"no_calls": started.private_kb, "first": warm.private_kb, "all": full.private_kb},
            "private_kb_per_call": (full.private_kb - warm.private_kb) / more,
        },
    )


def _webrtc(start: Start, calls: int, binary: Path, options: argparse.Namespace, ground: Ground) -> Measured:
    with pion.EchoServer(binary, ground) as echo, closing(start(echo.url, ground)) as callers:
        return _grown(callers, options.first or max(1, calls // 4), calls, options.settle)


def _rtp(options: argparse.Namespace, ground: Ground) -> Measured:
    with (
        sipp.Echo(ground) as echo,
        closing(ours.callers(options.talk, echo.rtp_url, ground)) as callers,
    ):
        return _grown(callers, options.first or max(1, options.calls // 4), options.calls, options.settle)


def _question(options: argparse.Namespace) -> Question:
    if options.kind == "rtp":
        sipp.need()
        not_applicable = {"aiortc": "has no calls over plain RTP", "sipp": "takes no more calls once it runs"}
        runners = {OURS: partial(_rtp, options)}
        return Question("memory_per_call_rtp", "kB per RTP call", Better.LOWER, runners, not_applicable, {})
    names = bench.chosen_peers(options.peers, ["pion", "aiortc"])
    binary = pion.build(options.cache)
    starts: dict[str, tuple[Start, int]] = {
        OURS: (partial(ours.callers, options.talk), options.calls),
        "pion": (partial(pion.callers, binary, options.talk), options.calls),
        "aiortc": (partial(aiortc.callers, options.talk), options.aiortc_calls),
    }
    runners = {name: partial(_webrtc, *starts[name], binary, options) for name in (OURS, *names)}
    versions = {"pion": pion.version(), "aiortc": machine.version("aiortc") or "missing"}
    return Question("memory_per_call", "kB per WebRTC call", Better.LOWER, runners, {}, versions)


def run() -> None:
    """Compare."""
    parser = bench.options_parser("memory_per_call", __doc__)
    parser.add_argument("--kind", choices=["webrtc", "rtp"], default="webrtc", help="transport (%(default)s)")
    parser.add_argument("--calls", type=bench.positive, default=200, help="calls added and divided by (%(default)s)")
    parser.add_argument("--first", type=bench.positive, help="calls that warm up before (default: a quarter)")
    parser.add_argument("--settle", type=float, default=5.0, help="wait before memory is read, in s (%(default)s)")
    parser.add_argument("--aiortc-calls", type=bench.positive, default=8, help="of stock aiortc (%(default)s)")
    add_talk_option(parser)
    options = parser.parse_args()
    bench.answer(_question(options), options)


if __name__ == "__main__":
    sys.exit(bench.main(run))
