"""Scheduling priority of a process that must keep 20 ms deadlines beside busy neighbours."""

import os


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
