"""What the agent tells of its processes, for who watches them for leaks, and what ended calls give back."""

import asyncio
import os
import subprocess
import sys

import numpy as np
import psutil
import pytest

from harness.media.codecs import OPUS, PCMU
from target_stack.edge.playout import FRAME_SAMPLES
from target_stack.edge.speech_encoder import SpeechEncoder
from target_stack.telemetry.process_facts import child_facts, process_facts, render_process

pytestmark = pytest.mark.unit


def test_facts_tell_this_process_from_any_other_and_count_its_tasks():
    async def told():
        other = asyncio.create_task(asyncio.sleep(60))
        facts, text = process_facts("s1", 3), render_process()
        other.cancel()
        return facts, text

    facts, text = asyncio.run(told())
    started_at = psutil.Process().create_time()
    assert facts == {"name": "s1", "pid": os.getpid(), "started_at": started_at, "tasks": 2, "calls": 3}
    assert text.endswith("callquake_asyncio_tasks 2\n")
    assert child_facts("llm", None) == []
    assert child_facts("llm", 7) == [{"name": "llm", "pid": 7}]


@pytest.mark.parametrize("codec", [OPUS, PCMU])
def test_closed_encoder_has_given_its_threads_back_and_is_silent(codec):
    before = psutil.Process().num_threads()
    encoders = [SpeechEncoder(codec) for _ in range(5)]
    for encoder in encoders:
        encoder.encode(np.full(FRAME_SAMPLES, 900, np.int16))
    for encoder in encoders:
        encoder.close()
    assert psutil.Process().num_threads() <= before
    assert encoders[0].encode(np.full(FRAME_SAMPLES, 900, np.int16)) == codec.silence


def test_settled_heap_is_looked_through_no_more():
    code = "import gc, numpy; from target_stack.settled_heap import settle_heap as s; s(); print(gc.get_freeze_count())"
    root = os.fspath(__file__).partition("tests")[0]
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert int(said.stdout) > 1000
