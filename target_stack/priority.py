"""Room for whoever shares the cores: a load generator beside the stack must keep its 20 ms ticks."""

import os
from pathlib import Path

from target_stack.stages.worker import MODEL_NICENESS

_AUTOGROUP = Path("/proc/self/autogroup")


def yield_to_other_sessions() -> bool:
    """Lower the weight of this session's scheduling group where that is ours alone to lower; return whether it was.

    Linux shares time between sessions first and looks at nice values only within one (sched(7), autogroup): to a
    generator in another session, nice threads of ours weigh as much as any. A session we do not lead is a user's shell.
    """
    if os.getsid(0) != os.getpid():
        return False
    try:
        _AUTOGROUP.write_text(str(MODEL_NICENESS))
    except OSError:
        # No autogroups on this kernel; nice values count as they are.
        return False
    return True
