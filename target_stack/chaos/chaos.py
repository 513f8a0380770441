"""Which faults are in force: begun, renewed, lapsed, ended. One object an agent."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from harness.model.clock import NS_PER_S, monotonic_ns
from target_stack.chaos.fault import ChaosFault, FaultRequest, StageFault
from target_stack.chaos.parts import AgentParts, Restartable
from target_stack.chaos.resource_kinds import RESOURCE_KINDS, ContextOverflow
from target_stack.chaos.stage_kinds import STAGE_KINDS
from target_stack.chaos.stages import ChaosLlm, ChaosStt, ChaosTts
from target_stack.chaos.surrounding_kinds import SURROUNDING_KINDS
from target_stack.chaos.worker_kinds import WORKER_KINDS
from target_stack.stages.llm import LanguageModel
from target_stack.stages.prompt import Message
from target_stack.stages.stt import SpeechToText
from target_stack.stages.tts import TextToSpeech

_log = logging.getLogger(__name__)

MOST_FAULTS = 64
MOST_LEASE_S = 3_600.0
Build = Callable[[FaultRequest], ChaosFault]


class UnknownFaultError(LookupError):
    """No fault of that id is in force."""


class ConflictError(ValueError):
    """Another fault of that id is in force."""


@dataclass(slots=True)
class _InForce:
    fault: ChaosFault
    since: str
    since_ns: int
    expires_ns: int
    timer: asyncio.TimerHandle | None = None
    # What begins it and what ends it do not run side by side.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_undone: bool | None = None
    # Set when it is known whether it could be undone; anew for each try.
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Chaos:
    """The faults of one agent. `kinds`: what this agent can suffer, by name."""

    def __init__(self, kinds: Mapping[str, Build] | None = None, *, now: Callable[[], int] = monotonic_ns) -> None:
        self.parts = AgentParts()
        ours: dict[str, Build] = {**STAGE_KINDS}
        for name, kind in (*WORKER_KINDS.items(), *RESOURCE_KINDS.items(), *SURROUNDING_KINDS.items()):
            ours[name] = partial(kind, self.parts)
        self.kinds: dict[str, Build] = ours if kinds is None else dict(kinds)
        self._now = now
        self._in_force: dict[str, _InForce] = {}
        # Over, and what they did is still there: to end one again is to try again.
        self._not_undone: dict[str, _InForce] = {}
        # Over, and not settled yet: to load a model takes its time.
        self._undoing: dict[str, _InForce] = {}
        self._ending: set[asyncio.Task[None]] = set()

    # --- the stages ------------------------------------------------------------------------------------------------

    def stt(self, inner: SpeechToText) -> SpeechToText:
        """Return the stage behind its faults."""
        self.parts.stages["stt"] = inner
        return ChaosStt(inner, self.faults_at)

    def llm(self, inner: LanguageModel) -> LanguageModel:
        """Return the stage behind its faults."""
        self.parts.stages["llm"] = inner
        return ChaosLlm(inner, self.faults_at)

    def tts(self, inner: TextToSpeech) -> TextToSpeech:
        """Return the stage behind its faults."""
        self.parts.stages["tts"] = inner
        return ChaosTts(inner, self.faults_at)

    def history(self, history: list[Message]) -> list[Message]:
        """Return a conversation as the faults in force have it, before anybody counts how long it is."""
        for fault in self.of_kind(ContextOverflow):
            history = fault.lengthen(history)
        return history

    def runs_in(self, stage: str, server: object) -> None:
        """Take note of the process that runs a stage, where it is ours and can be started again."""
        if hasattr(server, "kill") and hasattr(server, "start"):
            self.parts.servers[stage] = cast("Restartable", server)

    def faults_at(self, stage: str) -> Sequence[StageFault]:
        """Return what a request of `stage` meets now, in the order in which it was begun."""
        if not self._in_force:
            return ()
        faults = (one.fault for one in self._in_force.values())
        return [fault for fault in faults if isinstance(fault, StageFault) and fault.stands_at(stage)]

    def of_kind(self, kind: type[ChaosFault]) -> list[Any]:
        """Return the faults in force that are of a class."""
        return [one.fault for one in self._in_force.values() if isinstance(one.fault, kind)]

    # --- the admin API ---------------------------------------------------------------------------------------------

    async def begin(self, request: FaultRequest) -> dict[str, Any]:
        """Put a fault in force, or renew the lease of the same one; return its state.

        Raises ValueError where the request cannot be followed, ConflictError where its id is another fault's.
        """
        known = self._in_force.get(request.id)
        if known is not None:
            if not _is_same(known.fault.request, request):
                raise ConflictError(f"the fault {request.id} is in force already, and is another")
            self._lease(known, request)
            return self._state(known)
        build = self.kinds.get(request.kind)
        if build is None:
            raise ValueError(f"kind: got {request.kind!r}; legal here: {', '.join(self.kinds)}")
        if request.id in self._undoing:
            raise ConflictError(f"the fault {request.id} was there before and is being undone; begin it again later")
        if request.id in self._not_undone:
            raise ConflictError(f"the fault {request.id} was there before and could not be undone; end it again first")
        if len(self._in_force) + len(self._not_undone) >= MOST_FAULTS:
            raise ValueError(f"{MOST_FAULTS} faults are in force; end some of them first")
        since_ns = self._now()
        one = _InForce(build(request), datetime.now(UTC).isoformat(timespec="milliseconds"), since_ns, since_ns)
        # Before it begins: whoever comes meanwhile meets it, and can end it.
        self._in_force[request.id] = one
        try:
            async with one.lock:
                await one.fault.begin()
        except BaseException:
            # Who has ended it meanwhile undoes it.
            if self._in_force.pop(request.id, None) is one:
                await self._undo(one)
            raise
        if self._in_force.get(request.id) is one:
            self._lease(one, request)
            _log.warning("fault %s (%s) is in force", request.id, request.kind)
        return self._state(one)

    async def end(self, fault_id: str) -> dict[str, Any]:
        """Undo a fault; return its last state, `undone` in it. Raises UnknownFaultError.

        One that could not be undone is told until it is: to end it again is to try again. Of one that is being undone
        already, by its lease's end or for somebody else, the outcome is waited for.
        """
        if (under_way := self._undoing.get(fault_id)) is not None:
            await under_way.settled.wait()
            return self._state(under_way)
        one = self._in_force.pop(fault_id, None) or self._not_undone.pop(fault_id, None)
        if one is None:
            raise UnknownFaultError(f"no fault {fault_id} is in force")
        await self._undo(one)
        return self._state(one)

    async def aclose(self) -> None:
        """Undo every fault."""
        for fault_id in list(self._in_force):
            with contextlib.suppress(UnknownFaultError):
                await self.end(fault_id)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def states(self) -> list[dict[str, Any]]:
        """Return every fault that is not undone with what it has counted: in force, just ending, or still there."""
        there = (*self._in_force.values(), *self._undoing.values(), *self._not_undone.values())
        return [self._state(one) for one in there]

    def _lease(self, one: _InForce, request: FaultRequest) -> None:
        one.expires_ns = self._now() + round(request.lease_s * NS_PER_S)
        if one.timer is not None:
            one.timer.cancel()
        one.timer = asyncio.get_running_loop().call_later(request.lease_s, self._lapse, request.id)

    def _lapse(self, fault_id: str) -> None:
        one = self._in_force.pop(fault_id, None)
        if one is None:
            return
        _log.warning("fault %s: its lease ran out; undoing it", fault_id)
        task = asyncio.ensure_future(self._undo(one))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _undo(self, one: _InForce) -> None:
        if one.timer is not None:
            one.timer.cancel()
        fault, fault_id = one.fault, one.fault.request.id
        fault.over.set()
        one.settled.clear()
        self._undoing[fault_id] = one
        try:
            async with one.lock:
                await fault.end()
        except BaseException as error:
            _log.exception("fault %s could not be undone", fault_id)
            fault.tally.detail = f"could not be undone: {str(error) or type(error).__name__}"
            one.is_undone = False
            self._not_undone[fault_id] = one
            # Whatever else it is, the other faults are undone, too.
            if not isinstance(error, Exception):
                raise
        else:
            _log.warning("fault %s is over", fault_id)
            if one.is_undone is False:
                fault.tally.detail = "undone at another try"
            one.is_undone = True
        finally:
            del self._undoing[fault_id]
            one.settled.set()

    def _state(self, one: _InForce) -> dict[str, Any]:
        request, tally = one.fault.request, one.fault.tally
        return {
            "id": request.id,
            "kind": request.kind,
            "parameters": request.parameters,
            "filter": {"share": request.share},
            "seed": request.seed,
            "lease_s": request.lease_s,
            "lease_left_s": round(max(0, one.expires_ns - self._now()) / NS_PER_S, 3),
            "since": one.since,
            "since_ns": one.since_ns,
            "touched": tally.touched,
            "what": one.fault.what,
            "counts": {"seen": tally.seen, **tally.counts},
            "calls": list(tally.calls),
            "detail": tally.detail,
            **({} if one.is_undone is None else {"undone": one.is_undone}),
        }


def _is_same(one: FaultRequest, other: FaultRequest) -> bool:
    return (one.kind, one.parameters, one.share, one.seed) == (other.kind, other.parameters, other.share, other.seed)
