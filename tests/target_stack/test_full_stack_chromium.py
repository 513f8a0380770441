"""A person's way in: the page in Chromium, a spoken question, the whole stack behind it, a spoken answer."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import jiwer
import numpy as np
import pytest
from chromium_page import RATE, browser, wait_for, write_wav
from recording_sink import worked_ms

from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.measure.normaliser import normalise

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(420)]

# The greeting has to be over before the caller speaks, or it would be a barge-in.
LEAD_IN_S = 9
START_UP_S = 240


@contextlib.contextmanager
def running_stack(tmp_path):
    """Yield the URL of `python -m target_stack up --llm scripted` once it is ready; stop it with SIGTERM."""
    log = tmp_path / "stack.log"
    events = str(tmp_path / "events.jsonl")
    command = [sys.executable, "-m", "target_stack", "up", "--llm", "scripted", "--port", "0", "--events", events]
    with log.open("w") as output:
        process = subprocess.Popen(command, stderr=output, stdout=output)
    try:
        yield _until_ready(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()


def _until_ready(process, log):
    end = time.monotonic() + START_UP_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        words = log.read_text().split()
        urls = [word for word in words if word.startswith("http://127.0.0.1:")]
        if urls and _is_ready(urls[0]):
            return urls[0]
        time.sleep(0.5)
    raise AssertionError(f"not ready within {START_UP_S} s: {log.read_text()}")


def _is_ready(url):
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10) as response:
            return response.status == 200
    except urllib.error.HTTPError:
        return False


def test_a_spoken_question_is_understood_and_answered_aloud(tmp_path):
    pytest.importorskip("faster_whisper", reason="needs the cpu profile: pip install 'callquake[cpu]'")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    utterance = next(u for u in load_corpus().select(noise=["clean"], accent=["american"]) if u.duration_ms < 8000)
    speech = read_pcm(utterance, RATE)
    wav = tmp_path / "microphone.wav"
    quiet = np.zeros(RATE, np.int16)
    write_wav(wav, np.concatenate([np.tile(quiet, LEAD_IN_S), speech, np.tile(quiet, 60)]))
    with running_stack(tmp_path) as url, browser(tmp_path, wav) as driver:
        driver.get(f"{url}/?autostart=1")
        greeted = wait_for(driver, lambda a: a["remoteSpeech"], "greeted aloud", 30)
        assert greeted["remoteAudioLevelMax"] > -40
        answered = wait_for(driver, lambda a: a["answersHeard"] and a["turnTimings"], "answered aloud", 60)
        final = wait_for(driver, lambda a: a["remoteSpeech"][-1]["endMs"], "done answering", 60)
    assert greeted["answersHeard"] == 0
    assert final["remoteSpeech"][-1]["levelMax"] > -40
    assert answered["botTexts"]
    heard = " ".join(t["text"] for t in final["transcripts"])
    assert jiwer.wer(normalise(utterance.transcript), normalise(heard)) <= 0.4, heard
    timing = answered["turnTimings"][0]
    assert timing["endpointing_ms"] > 0
    assert min(timing[name] for name in ("stt_ms", "llm_ms", "tts_ms")) >= 0
    assert min(worked_ms(tmp_path / "events.jsonl").values()) > 0
    # What the page heard against what the agent says of itself: the network and two jitter buffers lie between.
    own_ms = sum(timing[f"{name}_ms"] for name in ("endpointing", "stt", "llm", "tts", "playout"))
    assert answered["heardAfterMs"][0] > 0.5 * own_ms
    (tmp_path / "account.txt").write_text(f"{answered['heardAfterMs']} {timing} {heard}")
