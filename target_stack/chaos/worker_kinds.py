"""What happens to who does a stage's work: its process dies, its model has to be loaded anew, others keep it busy."""

import asyncio
import contextlib
import logging

import numpy as np

from harness.model.clock import monotonic_ns, ms_between
from target_stack.chaos.fault import STAGES, ChaosFault, FaultRequest, Passing, StageFault
from target_stack.chaos.parameters import Parameters
from target_stack.chaos.parts import AgentParts, Restartable, is_running
from target_stack.frames import INPUT_RATE
from target_stack.stages.prompt import Message

_log = logging.getLogger(__name__)
# Seconds of sound, and words, of one request that only keeps a stage busy.
_BUSY_S = 4
_BUSY_WORDS = "One request after another keeps this stage from those who wait for it."
_REFUSED_PAUSE_S = 0.05


class WorkerKill(ChaosFault):
    """The process that runs a stage is killed; it is started again when the fault is over."""

    what = "processes killed"

    def __init__(self, parts: AgentParts, request: FaultRequest) -> None:
        super().__init__(request)
        read = Parameters(request.parameters)
        self._stage = read.choice("stage", STAGES)
        read.close()
        self._parts, self._server = parts, _server(parts, self._stage)

    async def begin(self) -> None:
        """Kill it."""
        # One that is dead already, by another fault or of itself, is not killed by this one.
        if is_running(self._server):
            await self._server.kill()
            self.tally.touch()

    async def end(self) -> None:
        """Start it again, and wait until its model is loaded."""
        begun_ns = monotonic_ns()
        await self._parts.revive(self._stage)
        self.tally.counts["load_ms"] = round(ms_between(begun_ns, monotonic_ns()))


class ColdStart(StageFault):
    """A stage's model is thrown away and loaded anew, really; requests wait for it."""

    what = "models loaded anew"

    def __init__(self, parts: AgentParts, request: FaultRequest) -> None:
        super().__init__(request)
        read = Parameters(request.parameters)
        self.stage = read.choice("stage", STAGES)
        read.close()
        self._parts = parts
        # The wait for it is over, and whether there is a model then.
        self._is_loaded = asyncio.Event()
        self._has_model = False
        self._loading: asyncio.Task[None] | None = None
        loader = parts.loader(self.stage)
        if loader is None:
            raise ValueError(f"parameters.stage: {self.stage} of this agent has no model of ours to load")
        self._loader = loader

    async def begin(self) -> None:
        """Begin to load."""
        self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        begun_ns = monotonic_ns()
        try:
            server = self._parts.servers.get(self.stage)
            if server is not None:
                await server.kill()
            await self._loader()
            self._has_model = True
            self.tally.touch(load_ms=round(ms_between(begun_ns, monotonic_ns())))
        except Exception as error:  # noqa: BLE001 - told as what became of the fault; requests go on to what there is
            _log.exception("fault %s: the model could not be loaded", self.request.id)
            self.tally.detail = f"the model could not be loaded: {error}"
        finally:
            self._is_loaded.set()

    async def meet(self, passage: Passing) -> None:
        """Wait until the model is there; also past the fault's end, for until then there is none."""
        if not self._is_loaded.is_set():
            self.tally.counts["requests_waited"] += 1
            if passage.call_id:
                self.tally.calls[passage.call_id] = None
            await self._is_loaded.wait()

    async def end(self) -> None:
        """See the loading to its end, for half a model is none; load it again where that failed."""
        if self._loading is not None:
            await self._loading
            if not self._has_model:
                await self._loader()
                self._has_model = True


class Saturation(ChaosFault):
    """Requests of nobody's keep a stage busy, so that callers' requests wait in its queue behind them."""

    what = "requests of nobody's answered or refused"

    def __init__(self, parts: AgentParts, request: FaultRequest) -> None:
        super().__init__(request)
        read = Parameters(request.parameters)
        self._stage = read.choice("stage", STAGES)
        self._jobs = read.whole("jobs", low=0, high=1_000)
        read.close()
        self._inner = parts.stages.get(self._stage)
        self._tasks: list[asyncio.Task[None]] = []
        if self._inner is None:
            raise ValueError(f"parameters.stage: {self._stage} is not loaded yet")

    async def begin(self) -> None:
        """Begin to ask."""
        self._tasks = [asyncio.create_task(self._keep_busy()) for _ in range(self._jobs)]

    async def _keep_busy(self) -> None:
        while True:
            try:
                await self._ask()
                self.tally.counts["answered"] += 1
            except Exception:  # noqa: BLE001 - a stage that refuses is as full as it can be
                self.tally.counts["refused"] += 1
                await asyncio.sleep(_REFUSED_PAUSE_S)
            self.tally.touched += 1
            # A stage that answers at once would keep the whole agent from everything else.
            await asyncio.sleep(0)

    async def _ask(self) -> None:
        match self._stage:
            case "stt":
                noise = np.random.default_rng(self.request.seed).normal(0, 3_000, _BUSY_S * INPUT_RATE)
                await self._inner.transcribe(noise.astype(np.int16))  # type: ignore[union-attr]  # checked in __init__
            case "llm":
                async with contextlib.aclosing(self._inner.stream([Message("user", _BUSY_WORDS)])) as pieces:  # type: ignore[union-attr]  # same
                    async for _ in pieces:
                        pass
            case _:
                await self._inner.synthesise(_BUSY_WORDS)  # type: ignore[union-attr]  # same

    async def end(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _server(parts: AgentParts, stage: str) -> Restartable:
    server = parts.servers.get(stage)
    if server is None:
        legal = ", ".join(parts.servers) or "none: no stage of this agent is a process of ours"
        raise ValueError(f"parameters.stage: {stage} has no process of its own; legal here: {legal}")
    return server


WORKER_KINDS = {"stage.worker_kill": WorkerKill, "stage.cold_start": ColdStart, "stage.saturation": Saturation}
