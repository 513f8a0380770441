"""Options of `up` for the emulated profile: whose service times, how many servers, how they start."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from harness.model.errors import ScenarioError
from target_stack.emulation.servers import ServerOptions
from target_stack.emulation.service_times import GUIDE_NAME, ServiceTimes, read_service_times

PROFILE = "emulated"
ColdStart = Literal["none", "start", "first"]
COLD_STARTS = ("none", "start", "first")


@dataclass(frozen=True, slots=True)
class EmulationConfig:
    """The emulated stages. `pool`: the socket of servers shared with other processes, None for our own."""

    times: ServiceTimes
    servers: ServerOptions
    cold_start: ColdStart = "none"
    pool: Path | None = None

    @property
    def marks(self) -> tuple[str, ...]:
        """What is not real, as /healthz says it and every report repeats it."""
        whose = f"emulated (service times from {self.times.name})"
        return (
            f"target: {whose}",
            f"stt: {whose}; it hears how long an utterance is, and none of its words",
            f"llm: {whose}; its replies are a fixed stock",
            f"tts: {whose}; its voice has no words",
        )

    @property
    def descriptions(self) -> dict[str, str]:
        """Return stage -> what does its work."""
        times, pool = self.times, " of a shared pool" if self.pool is not None else ""
        batch = f", batches of {times.tts.batch}" if times.tts.batch > 1 else ""
        return {
            "stt": f"emulated, {times.stt.slots} slots{pool}, service times from {times.name}",
            "llm": f"emulated, {times.llm.slots} slots{pool}, service times from {times.name}",
            "tts": f"emulated, {times.tts.slots} replicas{batch}{pool}, service times from {times.name}",
        }


def add_options(up: argparse.ArgumentParser) -> None:
    """Add the options."""
    up.add_argument(
        "--service-times",
        default=GUIDE_NAME,
        metavar="FILE",
        help=f"emulated: how long stages take, from `callquake stages measure`; {GUIDE_NAME}: the shipped figures",
    )
    up.add_argument(
        "--emulation-seed", type=int, default=1, metavar="N", help="emulated: draws the service times (%(default)s)"
    )
    up.add_argument(
        "--llm-slots", type=int, default=0, metavar="N", help="emulated: replies written at once (the file's)"
    )
    up.add_argument(
        "--cold-start",
        default="none",
        metavar="WORD",
        help="none; start: not ready before it is over; first: the first request waits for it, also for the real local "
        "model, whose process it then begins (%(default)s)",
    )
    up.add_argument(
        "--stage-pool", type=Path, metavar="SOCKET", help="emulated: share the servers that are run at this socket"
    )


def emulation_from(options: argparse.Namespace) -> EmulationConfig:
    """Return the checked configuration. Raises ScenarioError."""
    if options.llm_url or options.llm != "real":
        given = "--llm-url" if options.llm_url else f"--llm {options.llm}"
        raise ScenarioError(f"{given}: not with --profile emulated, which has no language model but its own")
    if options.cold_start not in COLD_STARTS:
        raise ScenarioError(f"--cold-start {options.cold_start}: legal: {', '.join(COLD_STARTS)}")
    if not 0 <= options.llm_slots <= 4096:
        raise ScenarioError(f"--llm-slots {options.llm_slots}: must be 1 to 4096, or 0 for what the file says")
    path = None if str(options.service_times) == GUIDE_NAME else Path(options.service_times)
    return EmulationConfig(
        times=read_service_times(path),
        servers=ServerOptions(
            seed=options.emulation_seed,
            stt_slots=options.stt_workers or 0,
            llm_slots=options.llm_slots,
            tts_replicas=options.tts_workers or 0,
            tts_batch=options.tts_batch or 0,
            tts_deadline_ms=options.tts_deadline_ms,
            waiting=options.waiting or 0,
        ),
        cold_start=cast("ColdStart", options.cold_start),
        pool=options.stage_pool,
    )
