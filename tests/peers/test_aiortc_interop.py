"""Our WebRTC caller and a stock aiortc server, in each SRTP profile."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from interop_call import PROFILES, assert_good, one_call

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def url():
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("aiortc_echo.py"))], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_call_talks_and_listens(url, profile):
    assert_good(one_call(url, profile))
