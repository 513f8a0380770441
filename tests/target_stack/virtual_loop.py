"""An event loop whose time jumps to the next timer: hours pass at once, and always the same way."""

import asyncio
import selectors

from harness.model.clock import NS_PER_S


class _JumpingSelector(selectors.DefaultSelector):
    """Sleeps by moving the loop's time."""

    now_s = 1000.0

    def select(self, timeout=None):
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("nothing left that could ever happen: a task waits in vain")
        self.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For tasks without sockets and threads."""

    def __init__(self):
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.now_s


def now_ns():
    """The running loop's time, for what asks a clock."""
    return round(asyncio.get_running_loop().time() * NS_PER_S)


def run_virtually(main):
    """Run the coroutine on a VirtualLoop and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
