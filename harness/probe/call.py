"""Places a probe's call with an engine of its own, as a run does, and gathers what it left."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.calibrate.children import EngineProcess
from harness.corpus.manifest import Corpus
from harness.model.codec import from_json, to_json
from harness.model.plan import CallPlan
from harness.model.records import CallRecord, TurnRecord

# After all time-outs of the call itself: the engine answers for each of them, so that this one is its own failure.
_GRACE_S = 30.0


@dataclass(slots=True)
class Probed:
    """What one call left behind."""

    plan: CallPlan
    call: CallRecord
    turns: list[TurnRecord]
    media_loop: str
    # What the engine itself complained of.
    log: str = ""


@dataclass(slots=True)
class _Gathered:
    turns: list[TurnRecord] = field(default_factory=list)
    call: CallRecord | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, kind: str, message: Any) -> None:
        """Keep a record."""
        if kind == "turn":
            self.turns.append(from_json(TurnRecord, message["record"]))
        elif kind == "call":
            self.call = from_json(CallRecord, message["record"])
            self.ended.set()


async def place(plan: CallPlan, corpus: Corpus, folder: Path) -> Probed:
    """Place the call and see it to its end; its recording is below `folder`. Raises GeneratorError.

    Cancelled (Ctrl-C) in the call, it hangs up and returns what there is: an agent is not left with half a call.
    """
    gathered = _Gathered()
    # One call needs no compiled media loop, whose making takes half a minute on a machine that has none yet.
    environment = {"CALLQUAKE_MEDIA": "python", **os.environ}
    engine = EngineProcess(
        folder, corpus.directory, os.sched_getaffinity(0), gathered.take, worker="probe", environment=environment
    )
    limits = plan.limits
    longest_ms = limits.connect_timeout_ms + limits.call_timeout_ms
    try:
        await engine.start()
        engine.send("place", plan=to_json(plan), due_at_ns=None)
        try:
            await engine.wait(gathered.ended, longest_ms / 1000 + _GRACE_S, "did not end the call")
        except asyncio.CancelledError:
            await engine.stop()
            if gathered.call is None:
                raise
        else:
            await engine.stop()
    finally:
        await engine.kill()
    call = gathered.call
    if call is None:
        raise AssertionError("a call that ended has a record")
    return Probed(plan, call, gathered.turns, engine.media_loop, engine.log_text())
