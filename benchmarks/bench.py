"""What every comparison's command shares: its options, its surroundings, and how it ends."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from benchmarks import machine
from benchmarks.comparison import Better, Comparison, Measured, run_rounds, write_json
from benchmarks.failure import BenchmarkError
from benchmarks.network import enter_own_namespace
from benchmarks.processes import may_be_real_time


def default_cache() -> Path:
    """Return where built peers are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "callquake" / "benchmarks"


def positive(text: str) -> int:
    """Return the whole number of 1 and more that an option names."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not legal; legal: 1 and more")
    return value


def options_parser(name: str, description: str | None, *, pairs: int = 3) -> argparse.ArgumentParser:
    """Return a parser with the options that all comparisons have."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--pairs", type=positive, default=pairs, help="rounds of ours and each peer (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample and the machine's facts")
    parser.add_argument("--peers", default="", metavar="A,B", help="only these peers (default: all)")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder of built peers (%(default)s)")
    parser.add_argument(
        "--shared-network",
        action="store_true",
        help="stay in this network namespace; UDP counts then hold everybody's datagrams",
    )
    return parser


def add_window_options(parser: argparse.ArgumentParser, *, calls: int, settle_s: float = 3.0) -> None:
    """Add how many calls, and how long the steady state is watched."""
    parser.add_argument("--calls", type=positive, default=calls, help="calls at a time (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="steady state that is counted (%(default)s)")
    parser.add_argument("--settle", type=float, default=settle_s, help="wait before it, in s (%(default)s)")


def chosen_peers(text: str, legal: Sequence[str]) -> list[str]:
    """Return the peers that `--peers` names; all of them for an empty text."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in legal]
    if unknown:
        raise BenchmarkError(f"--peers: '{unknown[0]}' is unknown here; legal: {', '.join(legal)}")
    return names or list(legal)


@dataclass(frozen=True, slots=True)
class Ground:
    """Where one comparison runs: the two cores, the folder of its processes' logs, whose network it is."""

    caller_core: int | None
    answer_core: int | None
    logs: Path
    # Nobody else's datagrams are counted here.
    is_own_network: bool

    def log(self, name: str) -> Path:
        """Return the log file of the process called `name`."""
        return self.logs / f"{name}.log"


def two_cores() -> tuple[int | None, int | None]:
    """Return the callers' core and the answering side's; no pinning where there are not two."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) >= 2 else (None, None)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared: name, unit, which way is good, how each competitor is run once."""

    benchmark: str
    unit: str
    better: Better
    runners: Mapping[str, Callable[[Ground], Measured]]
    not_applicable: Mapping[str, str]
    # Versions of the peers, kept beside the machine's facts.
    peer_versions: Mapping[str, str]


def answer(question: Question, options: argparse.Namespace) -> Comparison:
    """Run all rounds, print the outcome, write the JSON that `--json` asks for."""
    facts = {**machine.facts(), "peers": dict(question.peer_versions)}
    is_own = not options.shared_network and enter_own_namespace()
    facts["own_network_namespace"] = is_own
    facts["real_time"] = may_be_real_time()
    if not is_own:
        print("in the shared network namespace: UDP counts hold everybody's datagrams", file=sys.stderr)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="callquake-bench-"))
        ground = Ground(*two_cores(), Path(folder), is_own)
        if ground.caller_core is None:
            print("one core only: callers and answering side share it, figures mean little", file=sys.stderr)
        runners = {name: _bound(run, ground) for name, run in question.runners.items()}
        runs = run_rounds(options.pairs, runners, lambda line: print(line, flush=True))
    comparison = Comparison(question.benchmark, question.unit, question.better, runs, question.not_applicable)
    comparison.print()
    if options.json is not None:
        write_json(options.json, comparison.as_json(_method(options), facts))
        print(f"written: {options.json}")
    return comparison


def _bound(run: Callable[[Ground], Measured], ground: Ground) -> Callable[[], Measured]:
    return lambda: run(ground)


def _method(options: argparse.Namespace) -> dict[str, Any]:
    left_out = ("json", "cache", "peers")
    return {name: value for name, value in vars(options).items() if name not in left_out}


def main(run: Callable[[], object]) -> int:
    """Run a comparison's command; return its exit code. Ctrl-C and SIGTERM end the children too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        run()
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
