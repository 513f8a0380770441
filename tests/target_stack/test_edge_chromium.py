"""A WebRTC client that we did not write, against a scripted session."""

import asyncio
import contextlib
import threading
import time

import numpy as np
import pytest
from chromium_page import RATE, browser, wait_for, write_wav
from edge_peer import TRANSCRIPT, Sessions, running_edge, tone

from target_stack.edge.agent_call import EndReason

pytestmark = pytest.mark.end_to_end


@contextlib.contextmanager
def _edge_in_thread(sessions, **options):
    """Yield (edge, URL) of an edge on its own loop: selenium blocks its thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = running_edge(sessions, **options)
    try:
        yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(20)
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


@pytest.mark.parametrize("webrtc", ["aiortc", pytest.param("light", marks=pytest.mark.slow)])
def test_the_page_in_chromium_speaks_and_hears_an_answer(tmp_path, webrtc):
    silence = np.zeros(RATE, np.int16)
    wav = tmp_path / "microphone.wav"
    write_wav(wav, np.concatenate([np.tile(silence, 4), tone(1.0, 300.0, RATE), np.tile(silence, 30)]))
    sessions = Sessions(greeting_s=1.0, answer_s=1.5, quiet_ms=400)
    with _edge_in_thread(sessions, webrtc=webrtc) as (edge, url):
        with browser(tmp_path, wav) as driver:
            driver.get(f"{url}/?autostart=1&raw=1&call_id=chromium-1")
            account = wait_for(driver, lambda a: a["answersHeard"] >= 1, "heard an answer")
            wait_for(driver, lambda a: a["remoteSpeech"][-1]["endMs"], "heard the answer end")
            session = sessions.made[0]
            assert session.call_id == "chromium-1"
            turn, heard_ms, _, endpointing_ms = driver.find_element("id", "timings").text.split()[:4]
            assert (turn, endpointing_ms) == ("1", "200")
            assert abs(int(heard_ms) - account["heardAfterMs"][0]) <= 1
            driver.find_element("id", "call").click()
            ended = wait_for(driver, lambda a: a["state"] == "ended", "hung up")
            end = time.monotonic() + 20
            while edge.counts.active_calls and time.monotonic() < end:
                time.sleep(0.05)
        # The greeting, then the answer; nothing else was audible.
        assert len(ended["remoteSpeech"]) == 2
        assert account["remoteAudioLevelMax"] > -30
        assert ended["transcripts"][0]["text"] == TRANSCRIPT
        assert ended["botTexts"] == ["Nine to five."]
        assert ended["messages"]["bot-ready"] == 1
        assert ended["messages"]["bot-started-speaking"] == 2
        assert ended["turnTimings"][0]["stt_ms"] == 100.0
        assert 0.7 < session.loud_samples / 16_000 < 1.3
        assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 1}
    assert session.closes == 1
