"""A recording is kept whatever comes of comparing its two sides."""

import numpy as np
import pytest

from harness.callers import recording
from harness.media.clips import payloads_of
from harness.media.codecs import PCMU
from harness.media.recorder import Recorder

pytestmark = pytest.mark.unit


def recorder():
    one = Recorder(1_000_000_000, PCMU)
    one.echoed(payloads_of(np.full(160, 4_000, np.int16), PCMU)[0], PCMU, 1_500_000_000)
    return one


def test_a_call_is_kept_and_judged(tmp_path):
    echo = recording.keep_recording(recorder(), tmp_path / "call.flac", None)
    assert (tmp_path / "call.flac").exists()
    assert (echo.copies, echo.transcripts) == (0, False)
    # An agent that tells what it understands, and understood nothing, has told that.
    assert recording.keep_recording(recorder(), tmp_path / "call.flac", ()).transcripts


def test_sides_that_cannot_be_compared_take_no_recording_with_them(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "self_answers", lambda *_: 1 / 0)
    assert recording.keep_recording(recorder(), tmp_path / "call.flac", None) is None
    assert (tmp_path / "call.flac").exists()
