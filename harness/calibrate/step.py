"""One step of the climb: a fresh engine, so many calls at once, and everything that is measured of it.

    warm up --> all calls fall due at once --> all connected --> hold --> hang up --> pair with the truth

The turns of the hold are the step's figure. Turns that end while calls are still being set up are counted apart: what a
burst of set-ups costs is another question than what holding the calls costs.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.calibrate.children import EngineProcess, ResponderProcess, cpu_seconds, descriptors, memory_kib
from harness.calibrate.plans import call_plans
from harness.calibrate.truth_file import TruthFile
from harness.measure.calibration import Conditions, Step, TurnError, error_stats, limits_of, pair
from harness.measure.distribution import Sample
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.codec import from_json, to_json
from harness.model.errors import GeneratorError
from harness.model.histogram import Histogram
from harness.model.plan import CallPlan
from harness.model.records import CallRecord, HealthSample, Outcome, TurnRecord

WARM_UP_CALLS = 2
_WARM_UP_LIMIT_S = 60.0
# From placing the calls to the instant at which all are due: their clips are encoded, their plans read.
_LEAD_S = 0.5
_LEAD_PER_CALL_S = 0.001
_SETUP_LIMIT_S = 30.0
_SETUP_LIMIT_PER_CALL_S = 0.1
_END_LIMIT_S = 30.0
_PROGRESS_S = 1.0

Progress = Callable[[str], None]


@dataclass(slots=True)
class _Records:
    """What an engine has sent so far."""

    turns: list[TurnRecord] = field(default_factory=list)
    calls: dict[str, CallRecord] = field(default_factory=dict)
    health: list[HealthSample] = field(default_factory=list)
    connected_ns: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, kind: str, message: dict[str, Any]) -> None:
        if kind == "turn":
            self.turns.append(from_json(TurnRecord, message["record"]))
        elif kind == "call":
            record = from_json(CallRecord, message["record"])
            self.calls[record.call_id] = record
        elif kind == "health":
            self.health.append(from_json(HealthSample, message["sample"]))
        elif kind == "milestone" and message["name"] == "connected":
            self.connected_ns[message["call_id"]] = message["at_ns"]
        self.changed.set()


@dataclass(frozen=True, slots=True)
class Hold:
    """When all calls of a step were up, in monotonic ns, and what the processes used within that time."""

    due_ns: int
    began_ns: int
    ended_ns: int
    memory_before_kib: int | None
    memory_kib: int | None
    descriptors: int | None
    responder_cpu_s: float
    responder_before: dict[str, Any]
    responder_after: dict[str, Any]


class StepRun:
    """Runs one step against a responder that is up."""

    def __init__(
        self,
        name: str,
        callers: int,
        conditions: Conditions,
        *,
        responder: ResponderProcess,
        truth: TruthFile,
        corpus: Path,
        utterances: Sequence[str],
        folder: Path,
        cpus: set[int],
        progress: Progress,
    ) -> None:
        self._name, self._callers, self._conditions = name, callers, conditions
        self._responder, self._truth = responder, truth
        self._utterances, self._cpus = list(utterances), cpus
        self._progress = progress
        self._records = _Records()
        folder.mkdir(parents=True, exist_ok=True)
        self._engine = EngineProcess(folder, corpus, cpus, self._records.take)

    @property
    def _address(self) -> str:
        return self._responder.address(self._conditions.transport)

    @property
    def media_loop(self) -> str:
        """How the engine's media loop ran: "compiled" or "python"."""
        return self._engine.media_loop

    async def run(self) -> Step:
        """Measure the step; the engine is gone afterwards, whatever happened. Raises GeneratorError when it died."""
        try:
            await self._engine.start()
            await self._warm_up()
            hold = await self._hold()
        finally:
            await self._engine.stop()
        # The last answers' lines are on their way while their calls are hung up.
        return self._measure(hold)

    async def _warm_up(self) -> None:
        """Let every path be walked once before memory and time count: code is loaded, caches are filled."""
        once = replace(self._conditions, turns=1)
        plans = call_plans(f"{self._name}-warm", WARM_UP_CALLS, self._address, self._utterances, once)
        self._place(plans, None)
        await self._until(lambda: all(p.call_id in self._records.calls for p in plans), _WARM_UP_LIMIT_S, "warm up")
        for plan in plans:
            record = self._records.calls[plan.call_id]
            if record.outcome is Outcome.FAILED:
                raise GeneratorError(f"a call to the reference responder failed: {record.cause}: {record.detail}")

    async def _hold(self) -> Hold:
        plans = call_plans(self._name, self._callers, self._address, self._utterances, self._conditions)
        before_kib = memory_kib(self._engine.pid)
        due_ns = monotonic_ns() + int((_LEAD_S + _LEAD_PER_CALL_S * self._callers) * NS_PER_S)
        self._place(plans, due_ns)
        await self._until(
            lambda: all(p.call_id in self._records.connected_ns or p.call_id in self._records.calls for p in plans),
            _SETUP_LIMIT_S + _SETUP_LIMIT_PER_CALL_S * self._callers,
            "set all calls up",
        )
        responder_before, cpu_before = await self._responder.stats(), cpu_seconds(self._responder.pid)
        began_ns = monotonic_ns()
        await self._wait_out(plans)
        ended_ns, cpu_s = monotonic_ns(), cpu_seconds(self._responder.pid) - cpu_before
        hold = Hold(
            due_ns=due_ns,
            began_ns=began_ns,
            ended_ns=ended_ns,
            memory_before_kib=before_kib,
            memory_kib=memory_kib(self._engine.pid),
            descriptors=descriptors(self._engine.pid),
            responder_cpu_s=cpu_s,
            responder_before=responder_before,
            responder_after=await self._responder.stats(),
        )
        await self._hang_up(plans)
        return hold

    def _place(self, plans: Sequence[CallPlan], due_ns: int | None) -> None:
        for plan in plans:
            self._engine.send("place", plan=to_json(plan), due_at_ns=due_ns)

    async def _wait_out(self, plans: Sequence[CallPlan]) -> None:
        """Hold the calls for the step's time, or until each has had its turns."""
        end_s = time.monotonic() + self._conditions.duration_s
        while time.monotonic() < end_s and any(p.call_id not in self._records.calls for p in plans):
            self._tell()
            await self._sleep(min(_PROGRESS_S, max(0.0, end_s - time.monotonic())))

    async def _hang_up(self, plans: Sequence[CallPlan]) -> None:
        for plan in plans:
            self._engine.send("hang_up", call_id=plan.call_id)
        # One that will not end is ended with the engine; it has no record then, and counts as failed.
        with contextlib.suppress(GeneratorError):
            await self._until(lambda: all(p.call_id in self._records.calls for p in plans), _END_LIMIT_S, "hang up")

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._engine.is_gone:
            await self._engine.wait(asyncio.Event(), 0, "was there")

    async def _until(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        end_s = time.monotonic() + limit_s
        told_s = 0.0
        while not condition():
            self._records.changed.clear()
            await self._engine.wait(self._records.changed, max(0.001, end_s - time.monotonic()), f"did not {what}")
            if time.monotonic() > end_s:
                raise GeneratorError(f"the engine did not {what} within {limit_s:.0f} s")
            if time.monotonic() - told_s > _PROGRESS_S:
                told_s = time.monotonic()
                self._tell()

    def _tell(self) -> None:
        up = sum(1 for c in self._records.connected_ns if c not in self._records.calls)
        cpu = f", engine at {self._records.health[-1].cpu_ratio:.0%} of a core" if self._records.health else ""
        self._progress(f"{self._callers} callers: {up} up, {len(self._records.turns)} turns{cpu}")

    # --- figures ---------------------------------------------------------------------------------------------------

    def _measure(self, hold: Hold) -> Step:
        mine = f"{self._name}-"
        calls = [c for c in self._records.calls.values() if self._is_mine(c.call_id)]
        turns = [t for t in self._records.turns if self._is_mine(t.call_id)]
        paired = pair(turns, [t for t in self._truth.read() if t.call.startswith(mine)])
        # Calls with a number of turns to make, not a time to fill, are through when they are: all of it is the hold.
        began_ns = hold.due_ns if self._conditions.turns else hold.began_ns
        held, setting_up = _split(paired.errors, began_ns, hold.ended_ns)
        samples = [h for h in self._records.health if hold.began_ns + NS_PER_S <= h.at_ns <= hold.ended_ns]
        early = [h for h in self._records.health if hold.due_ns <= h.at_ns <= hold.began_ns]
        ticks, setup_ticks = _lateness(samples), _lateness(early)
        cpu = [s.cpu_ratio for s in samples]
        held_s = (hold.ended_ns - hold.began_ns) / NS_PER_S
        setup = Sample(c.setup.total_ms for c in calls if c.setup.total_ms is not None)
        failed = [c for c in calls if c.outcome not in (Outcome.COMPLETED, Outcome.INTERRUPTED)]
        connected = [at for call_id, at in self._records.connected_ns.items() if self._is_mine(call_id)]
        step = Step(
            callers=self._callers,
            connected=len(connected),
            failed=len(failed) + self._callers - len(calls),
            held_s=held_s,
            error=error_stats(held),
            error_during_setup=error_stats(setting_up),
            n_missed=paired.n_missed,
            n_early=paired.n_early,
            n_unanswered=paired.n_unanswered,
            n_mismatched=paired.n_mismatched,
            n_ticks=ticks.n,
            tick_lateness_p50_ms=ticks.percentile(0.5),
            tick_lateness_p99_ms=ticks.percentile(0.99),
            tick_lateness_max_ms=ticks.maximum if ticks.n else None,
            setup_tick_lateness_p99_ms=setup_ticks.percentile(0.99),
            cpu_ratio_mean=sum(cpu) / len(cpu) if cpu else None,
            cpu_ratio_max=max(cpu, default=None),
            memory_per_call_kib=self._memory_per_call(hold),
            setups_per_s=_rate(connected, hold.due_ns),
            setup_p50_ms=_at(setup, 0.5),
            setup_p99_ms=_at(setup, 0.99),
            packets_sent=sum(c.media.packets_sent for c in calls),
            packets_received=sum(c.media.packets_received for c in calls),
            packets_lost=self._lost(calls, hold),
            responder_cpu_ratio=hold.responder_cpu_s / held_s if held_s > 0 else None,
            responder_tick_lateness_p99_ms=_responder_lateness(hold),
            responder_loop_lag_ms=float(hold.responder_after["loop_lag_ms"]),
            responder_overflows=int(hold.responder_after["overflows"]) - int(hold.responder_before["overflows"]),
            descriptors=hold.descriptors,
            first_failure=next((f"{c.cause.value}: {c.detail}" for c in failed), ""),
        )
        return replace(step, limits=limits_of(step, len(self._cpus), self._conditions.loss_ratio))

    def _is_mine(self, call_id: str) -> bool:
        return call_id.startswith(f"{self._name}-") and not call_id.startswith(f"{self._name}-warm")

    def _memory_per_call(self, hold: Hold) -> float | None:
        if hold.memory_kib is None or hold.memory_before_kib is None:
            return None
        return (hold.memory_kib - hold.memory_before_kib) / self._callers

    def _lost(self, calls: Sequence[CallRecord], hold: Hold) -> int:
        """Count what this machine lost: refused sends, dropped datagrams, gaps that nobody made on purpose.

        With loss on purpose a gap says nothing: then the kernel's and the sockets' own counts must do.
        """
        # Calls of one port all tell that port's drops; which calls those are nobody says here, so one port's stand.
        own = sum(c.media.send_errors for c in calls) + max((c.media.socket_drops for c in calls), default=0)
        names = ("send_errors", "socket_drops")
        theirs = sum(int(hold.responder_after[n]) - int(hold.responder_before[n]) for n in names)
        if self._conditions.loss_ratio:
            return own + theirs
        gaps = sum(max(0, c.media.packets_lost) for c in calls)
        heard_gaps = int(hold.responder_after["packets_lost"]) - int(hold.responder_before["packets_lost"])
        # A datagram dropped at a socket is also a gap in its stream: count it once.
        return max(own + theirs, gaps + max(0, heard_gaps))


def _split(errors: Sequence[TurnError], began_ns: int, ended_ns: int) -> tuple[list[TurnError], list[TurnError]]:
    held = [e for e in errors if began_ns <= e.at_ns <= ended_ns]
    return held, [e for e in errors if e.at_ns < began_ns]


def _lateness(samples: Sequence[HealthSample]) -> Histogram:
    merged = Histogram()
    for sample in samples:
        merged.merge(Histogram.from_json(sample.tick_lateness_ms))
    return merged


def _responder_lateness(hold: Hold) -> float | None:
    return Histogram.from_json(hold.responder_after["tick_lateness_ms"]).percentile(0.99)


def _rate(connected_ns: Sequence[int], due_ns: int) -> float | None:
    if not connected_ns:
        return None
    return len(connected_ns) * NS_PER_S / max(1, max(connected_ns) - due_ns)


def _at(sample: Sample, q: float) -> float | None:
    estimate = sample.percentile(q)
    return estimate.value if estimate is not None else None
