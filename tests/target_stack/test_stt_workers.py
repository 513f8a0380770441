"""The real recogniser has as many workers as threads that ask it: with one, they would wait for one another."""

import asyncio
import importlib.util
import os

import numpy as np
import pytest

from target_stack.frames import INPUT_RATE
from target_stack.own_models import OwnModels
from target_stack.telemetry.stats import Stats

MISSING = importlib.util.find_spec("faster_whisper") is None

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(MISSING, reason="not installed: faster_whisper (pip install 'callquake[cpu]')"),
    # Weights may have to be fetched first.
    pytest.mark.timeout(600),
]


@pytest.mark.parametrize("workers", [1, 2])
def test_as_many_utterances_are_recognised_at_once_as_there_are_workers(workers):
    async def load_and_use():
        from target_stack.__main__ import parser
        from target_stack.config import config_from

        options = parser({}).parse_args(["up", "--stt-workers", str(workers)])
        stt = await OwnModels(config_from(options, os.environ), Stats(), {}).stt()
        try:
            await asyncio.gather(*(stt.transcribe(np.zeros(INPUT_RATE, np.int16)) for _ in range(workers + 1)))
            return stt._model.model.num_workers
        finally:
            await stt.aclose()

    assert asyncio.run(load_and_use()) == workers
