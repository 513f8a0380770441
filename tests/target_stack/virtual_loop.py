"""An event loop whose time jumps to the next timer: hours pass at once, and always the same way."""

import asyncio
import selectors
from functools import partial

from harness.model.clock import NS_PER_S


class _JumpingSelector(selectors.DefaultSelector):
    """Sleeps by moving the loop's time; `held_up_s` is how much of it each round of the loop takes."""

    now_s = 1000.0

    def __init__(self, held_up_s):
        super().__init__()
        self._held_up_s = held_up_s

    def select(self, timeout=None):
        self.now_s += self._held_up_s()
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("nothing left that could ever happen: a task waits in vain")
        self.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For tasks without sockets and threads."""

    def __init__(self, held_up_s=lambda: 0.0):
        self._jumping = _JumpingSelector(held_up_s)
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.now_s


def now_ns():
    """The running loop's time, for what asks a clock."""
    return round(asyncio.get_running_loop().time() * NS_PER_S)


def run_virtually(main, held_up_s=lambda: 0.0):
    """Run the coroutine on a VirtualLoop and return its result.

    `held_up_s`: the time that a round of the loop takes, asked anew for each: timers that came due in it all fire in
    the next one, as on a machine with too much to do.
    """
    with asyncio.Runner(loop_factory=partial(VirtualLoop, held_up_s)) as runner:
        return runner.run(main)
