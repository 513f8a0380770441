"""One request's way through the faults of its stage."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from harness.model.clock import NS_PER_S
from target_stack.call_scope import call_scope
from target_stack.chaos.fault import Passing, StageFault, loop_ns


@asynccontextmanager
async def passage(stage: str, faults: Callable[[str], Sequence[StageFault]]) -> AsyncIterator[Passing]:
    """Meet what is in force at `stage`, do the work within, and leave. Raises what a fault raises in its place.

    Outside of any call, as in a warm-up, a request meets nothing: nobody's call would show it.
    """
    scope = call_scope()
    passing = Passing(stage, scope.call_id if scope is not None else "")
    for fault in faults(stage) if scope is not None else ():
        # It may have ended while another one held the request.
        if fault.over.is_set():
            continue
        fault.tally.seen += 1
        if fault.chooses(passing.call_id):
            passing.met.append(fault)
            await fault.meet(passing)
    begun_ns = loop_ns()
    failure: Exception | None = None
    try:
        yield passing
    except Exception as error:  # noqa: BLE001 - raised again below, once it is known what the faults have to do with it
        failure = error
    work_s = (loop_ns() - begun_ns) / NS_PER_S
    if scope is not None:
        _overtake(passing, faults(stage))
    if failure is not None:
        raise failure
    for fault in passing.met:
        if not fault.over.is_set():
            await fault.leave(passing, work_s)


def _overtake(passing: Passing, in_force: Sequence[StageFault]) -> None:
    for fault in in_force:
        if fault.catches_running and fault not in passing.met:
            fault.tally.seen += 1
            if fault.chooses(passing.call_id):
                fault.overtake(passing)
