"""The heap of a process that has begun: what it holds for good is looked at no more.

A call's objects refer to each other, so the cycle collector frees them. It looks through everything only when a quarter
has been added to all that was there: behind the models and modules that is hundreds of ended calls, with the buffers
and threads of their codecs. Frozen, they count no more, and a look is short: it sees the calls alone.
"""

import gc


def settle_heap() -> None:
    """Collect, and set what is left aside; takes some hundred milliseconds, so before the first call."""
    gc.collect()
    gc.freeze()
    # The collector compares with what its last look through everything left: now nothing.
    gc.collect()
