"""Loading until told to stop: loaded, stopped before, failed; a second signal is the process's own."""

import asyncio
import os
import signal

import pytest

from target_stack.until_stopped import is_loaded, stop_signals

pytestmark = pytest.mark.unit


def during(load):
    """Load with the signals heeded; return whether it loaded, and the handlers left behind."""

    async def main():
        async with stop_signals() as stopping:
            found = await is_loaded(load(), stopping)
            assert stopping.done() is not found
        return found, signal.getsignal(signal.SIGTERM)

    return asyncio.run(main())


def test_what_loads_is_loaded_and_signals_are_the_processs_again():
    async def load():
        await asyncio.sleep(0)

    assert during(load) == (True, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_still_loads(number):
    ended = []

    async def load():
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    assert during(load) == (False, signal.SIG_DFL)
    assert ended == [number]


def test_what_fails_says_so():
    async def load():
        raise OSError("no weights")

    with pytest.raises(OSError, match="no weights"):
        during(load)
