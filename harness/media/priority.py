"""Scheduling priority of a process that must keep 20 ms deadlines beside busy neighbours."""

import contextlib
import os
from collections.abc import Iterator


def raise_priority() -> str:
    """Ask for the best scheduling this user may have; return what was granted.

    Real-time round robin (root, CAP_SYS_NICE, or an rtprio limit) keeps ticks within a fraction of a millisecond on a
    machine whose every core is busy; a nice value does not, since Linux shares time by session first. The kernel holds
    back 5 % of a core from real-time threads, and this process sleeps between ticks.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (PermissionError, OSError):
        pass
    else:
        return "real-time"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except (PermissionError, OSError):
        return "normal"
    return "nice -10"


def outrank_the_process() -> None:
    """Put the calling thread above the other threads of a process that is real-time; elsewhere nothing changes.

    Threads of one priority take turns of 100 ms on a core. A media loop that shares its core with a busy event loop
    was 95 ms late at p99 as its equal, 0.1 ms above it.
    """
    with contextlib.suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_RR:
            above = os.sched_getparam(0).sched_priority + 1
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(above))


@contextlib.contextmanager
def at_normal_priority() -> Iterator[None]:
    """Take the calling thread's real-time scheduling away for a while: for work that nobody's deadline waits for."""
    policy = os.sched_getscheduler(0)
    if policy != os.SCHED_RR:
        yield
        return
    parameters = os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)
