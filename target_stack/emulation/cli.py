"""`stages measure | show`: how long the stages take here, and what a file says of it."""

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.model.errors import ScenarioError
from target_stack import config
from target_stack.emulation.measuring import Extent, measure
from target_stack.emulation.service_times import GUIDE_NAME, ServiceTimes, read_service_times
from target_stack.emulation.times_file import as_text, table_of, times_of
from target_stack.stages.llm_server import CONTEXT_TOKENS

if TYPE_CHECKING:
    from target_stack.app import Stack

ABOUT = """\
The emulated profile of `callquake up` runs on service times in place of models. This measures them with the real
stages on this machine, or shows a file of them.

  stages measure --out my-laptop.yaml     loads the models as `up` does (every option of `up` counts) and times each
                                          stage alone, by how much work there is and how much of it at once; minutes
  stages show my-laptop.yaml              what it says, for work of a usual size
  stages show guide                       the shipped figures, of the guide
  up --profile emulated --service-times my-laptop.yaml
"""
_QUICK_PIECES = 6
_LEAST_PIECES = 3

_AddOptions = Callable[[argparse.ArgumentParser], None]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", add_up_options: _AddOptions) -> None:
    """Add `stages` to a command line; `add_up_options` adds those of `up`."""
    parser = commands.add_parser(
        "stages",
        help="measure how long the stages take, for the emulated profile",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar="measure | show")
    measuring = actions.add_parser("measure", help="time the real stages on this machine")
    measuring.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    measuring.add_argument("--name", default="", metavar="TEXT", help="as reports name it (the file's name)")
    measuring.add_argument(
        "--pieces", type=int, default=40, metavar="N", help="pieces of work at each step (%(default)s)"
    )
    measuring.add_argument("--quick", action="store_true", help=f"{_QUICK_PIECES} pieces: to see that it works")
    measuring.add_argument("--measure-seed", type=int, default=1, metavar="N", help="draws the work (%(default)s)")
    add_up_options(measuring)
    measuring.set_defaults(run=run_measure)
    showing = actions.add_parser("show", help="tell what a file says")
    showing.add_argument("file", nargs="?", type=Path, metavar="FILE", help=f"default: {GUIDE_NAME}, as shipped")
    showing.set_defaults(run=run_show)


def run_show(options: argparse.Namespace) -> int:
    """Print the table. Raises ScenarioError."""
    # By the name that reports have for them, too.
    path = None if str(options.file) == GUIDE_NAME else options.file
    print("\n".join(table_of(read_service_times(path))))
    return 0


def run_measure(options: argparse.Namespace) -> int:
    """Measure, write the file, print its table. Raises ScenarioError, and what a stage raises."""
    # Nothing but the models is to be loaded.
    options.greeting = ""
    settings = config.config_from(options, os.environ)
    if settings.emulation is not None:
        raise ScenarioError(f"--profile {settings.profile}: has no real stages to measure")
    pieces = _QUICK_PIECES if options.quick else options.pieces
    if pieces < _LEAST_PIECES:
        raise ScenarioError(f"--pieces {pieces}: must be at least {_LEAST_PIECES}")
    name = options.name or options.out.stem
    if name == GUIDE_NAME:
        raise ScenarioError(f"--name {name}: is what the shipped figures are called")
    # Told now, and not after minutes of measuring.
    if options.out.is_dir() or not os.access(options.out if options.out.exists() else options.out.parent, os.W_OK):
        raise ScenarioError(f"--out {options.out}: cannot be written; legal: a file in a folder that is there")
    times = asyncio.run(_measured(settings, name, pieces, options.measure_seed, options.llm_slots))
    options.out.write_text(as_text(times), encoding="utf-8")
    print("\n".join([*table_of(times), f"written: {options.out}"]))
    return 0


async def _measured(settings: config.StackConfig, name: str, pieces: int, seed: int, llm_slots: int) -> ServiceTimes:
    from target_stack.app import LLM_SLOTS, Stack  # noqa: PLC0415 - it brings every library; `show` needs none

    _say("loading the models twice: the first time may be fetching them")
    await _loaded_once(Stack(settings))
    stack = Stack(settings)
    try:
        await stack.load()
        stt, llm, tts = stack.own_stages()
        batch = settings.tts.batch.size if settings.tts.is_batched else 1
        extent = Extent(settings.stt_workers, llm_slots or LLM_SLOTS, settings.tts_workers, batch, pieces)
        found = await measure(stt, llm, tts, extent, seed, _say)
        stages = stack.readiness().description
        return times_of(
            name,
            f"measured on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, {platform.machine()}",
            found,
            extent,
            waiting=settings.waiting,
            context_tokens=CONTEXT_TOKENS,
            cold_ms=stack.load_ms,
            facts={**stages, "pieces": str(pieces), "seed": str(seed), "kernel": platform.release()},
        )
    finally:
        await stack.aclose()


async def _loaded_once(stack: "Stack") -> None:
    try:
        await stack.load()
    finally:
        await stack.aclose()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
