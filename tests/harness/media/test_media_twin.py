"""The interpreted twin of the media loop: it passes the tests of the compiled one, and stands in where numba is not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.media.hot.jit import INTERPRETED

# Minutes in all, and the same tests run compiled in every suite.
pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
# What the twin must pass, in parts that each fit the time of one test; the fewest tests each must have run.
PARTS = {
    "loop": (("test_media_loop*.py", "test_loop_*.py"), 45),
    "hot": (("test_hot_*.py", "test_lateness.py"), 80),
    "ear": (("test_ear*.py", "test_onset.py", "test_clips.py", "test_opus_clips.py"), 60),
}
LIMIT_S = 500
# Asserts what it runs as before it runs the tests.
RUN_TESTS = """
import sys, pytest
from harness.media.hot import jit
assert (jit.MODE, "numba" in sys.modules) == ("python", False), jit.MODE
sys.exit(pytest.main(sys.argv[1:]))
"""


def python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]), **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.skipif(INTERPRETED, reason="this run is the interpreted one")
@pytest.mark.timeout(LIMIT_S + 20)
@pytest.mark.parametrize("part", PARTS)
def test_the_twin_passes_the_same_tests(part):
    patterns, fewest = PARTS[part]
    files = [str(path) for pattern in patterns for path in sorted(HERE.glob(pattern))]
    # Tests that compare both modes have done so already.
    options = ["-q", "-p", "no:cacheprovider", "-k", "not both_modes and not compiled_and_interpreted"]
    told = python(RUN_TESTS, *options, *files, CALLQUAKE_MEDIA="python")
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]
    passed = re.search(r"(\d+) passed", told.stdout)
    assert passed is not None
    assert int(passed[1]) >= fewest, told.stdout[-500:]


WITHOUT_NUMBA = """
import asyncio, sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
import harness.calibrate.responder
import harness.engine.engine
from loop_lab import PlainPeer, clip_of, running_loop, spec, until

async def main():
    posted = []
    with PlainPeer() as peer:
        async with running_loop(10_000) as loop:
            print("mode", loop.mode, loop.capacity)
            call = loop.add_call(loop.open_port("127.0.0.1", lambda *_: None), spec(peer.address, post=posted))
            call.play(clip_of("a", 5))
            await until(lambda: len(posted) == 2)
            told = await call.close()
        print("sent", told.packets_sent == len(peer.packets()), [type(event).__name__ for event in posted])

asyncio.run(main())
"""


def test_without_numba_the_loop_is_interpreted_and_says_so():
    told = python(WITHOUT_NUMBA, CALLQUAKE_MEDIA="")
    assert told.returncode == 0, told.stderr
    # Interpreted, it takes no more calls than it could carry.
    assert told.stdout.splitlines() == ["mode python 256", "sent True ['SpeechStarted', 'SpeechEnded']"]


def test_who_asks_for_the_compiled_loop_without_numba_is_told_what_is_missing():
    told = python('import sys; sys.modules["numba"] = None; import harness.media.loop', CALLQUAKE_MEDIA="compiled")
    assert told.returncode == 1
    assert "numba" in told.stderr.splitlines()[-1]
