import asyncio
import contextlib
import threading
from pathlib import Path

import numpy as np
import pytest
from edge_peer import TRANSCRIPT, Client, Sessions, running_edge, until

from harness.protocols import rtvi
from target_stack.edge import webrtc
from target_stack.edge.agent_call import CallLimits, EndReason
from target_stack.edge.playout import Playout
from target_stack.edge.webrtc import SpeechTrack
from target_stack.frames import SpeechOut

pytestmark = pytest.mark.loopback


def test_a_conversation_over_pipecats_dialect():
    async def scenario():
        sessions = Sessions()
        async with running_edge(sessions) as (edge, url), Client(url, request_data={"call_id": "call-1"}) as client:
            assert client.answer["type"] == "answer"
            assert client.answer["pc_id"]
            await client.until_said(rtvi.BotReady)
            await client.until_heard()
            await client.until_said(rtvi.BotStoppedSpeaking)
            client.speak(0.4)
            await client.until_heard()
            await client.until_said(rtvi.BotStoppedSpeaking, 2)
            (session,) = sessions.made
            assert edge.counts.active_calls == 1
        assert session.call_id == "call-1"
        assert session.playout == [("started", 0), ("drained", 0), ("started", 1), ("drained", 1)]
        assert session.first_dtype == (np.dtype(np.int16), 1)
        # 0.4 s of tone at 16 kHz, give or take codec edges.
        assert 0.3 < session.loud_samples / 16_000 < 0.5
        assert session.arrivals_ns == sorted(session.arrivals_ns)
        await until(lambda: session.closes == 1, "closed")
        return client.messages

    messages = asyncio.run(scenario())
    assert messages[0] == rtvi.BotReady("7", library=messages[0].library) or isinstance(
        messages[0], rtvi.BotStartedSpeaking
    )
    said = [m for m in messages if not isinstance(m, rtvi.BotReady)]
    timing = rtvi.TurnTimingMessage(1, 200.0, 100.0, 300.0, 150.0, 5.0, 80.0, 0.0)
    assert [type(m) if isinstance(m, rtvi.UserTranscription | rtvi.Metrics) else m for m in said] == [
        rtvi.BotStartedSpeaking(),
        rtvi.BotStoppedSpeaking(),
        rtvi.UserStartedSpeaking(),
        rtvi.UserStoppedSpeaking(),
        rtvi.UserTranscription,
        rtvi.BotLlmStarted(),
        rtvi.BotLlmText("Nine to five."),
        rtvi.BotLlmStopped(),
        rtvi.BotTtsStarted(),
        rtvi.BotOutput("Nine to five."),
        rtvi.BotTtsText("Nine to five."),
        rtvi.BotTtsStopped(),
        rtvi.BotStartedSpeaking(),
        timing,
        rtvi.Metrics,
        rtvi.BotStoppedSpeaking(),
    ]
    transcription = next(m for m in said if isinstance(m, rtvi.UserTranscription))
    assert (transcription.text, transcription.is_final) == (TRANSCRIPT, True)
    metrics = next(m for m in said if isinstance(m, rtvi.Metrics))
    assert rtvi.stage_ttfb(metrics) == pytest.approx((100.0, 80.0, 150.0))


@pytest.mark.parametrize("path", ["/offer", "start"])
def test_the_other_dialects_connect_and_are_greeted(path):
    async def scenario():
        async with running_edge(Sessions()) as (_, url), Client(url, path) as client:
            await client.until_heard()
            await client.until_said(rtvi.BotReady)
            return client.answer

    answer = asyncio.run(scenario())
    assert ("pc_id" in answer) == (path == "start")


def test_barge_in_stops_the_agent_at_once():
    async def scenario():
        sessions = Sessions(greeting_s=30.0)
        async with running_edge(sessions) as (_, url), Client(url) as client:
            await client.until_heard(10)
            (session,) = sessions.made
            played_s = session.sink.flush()
            await client.until_said(rtvi.BotStoppedSpeaking)
            # What was in flight or in the client's jitter buffer drains; then 10 silent frames in a row.
            await client.until(
                lambda: len(client.levels) > 10 and max(client.levels[-10:]) < 50.0, "silent after the flush"
            )
            assert 0.1 < played_s < 20.0
            assert session.playout == [("started", 0)]
            # The next turn plays as if nothing had been queued.
            client.speak(0.3)
            await client.until_heard()
            assert ("started", 1) in session.playout

    asyncio.run(scenario())


def _open_sockets():
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        # The listing's own descriptor is gone by now.
        with contextlib.suppress(FileNotFoundError):
            count += str(link.readlink()).startswith("socket:")
    return count


def _decoder_threads():
    # The default executor's own threads stay, by design of asyncio.
    return [t.name for t in threading.enumerate() if "decoder" in t.name]


def test_twenty_calls_leave_nothing_behind():
    async def one_call(url):
        async with Client(url) as client:
            await client.until_heard(1)

    async def scenario():
        sessions = Sessions()
        async with running_edge(sessions) as (edge, url):
            await one_call(url)
            await until(lambda: edge.counts.active_calls == 0, "released")
            tasks, sockets = len(asyncio.all_tasks()), _open_sockets()
            for _ in range(5):
                await asyncio.gather(*(one_call(url) for _ in range(4)))
            await until(lambda: edge.counts.active_calls == 0, "released")
            await until(lambda: len(asyncio.all_tasks()) <= tasks, f"back to {tasks} tasks: {asyncio.all_tasks()}")
            await until(lambda: _open_sockets() <= sockets, f"back to {sockets} sockets")
            await until(lambda: not _decoder_threads(), "rid of decoder threads")
            assert edge.counts.calls_ended == {EndReason.PEER_LEFT: 21}
        assert [s.closes for s in sessions.made] == [1] * 21

    asyncio.run(scenario())


def test_the_server_can_hang_up():
    async def scenario():
        sessions = Sessions()
        async with running_edge(sessions) as (edge, url), Client(url, request_data={"call_id": "c"}) as client:
            await client.until_said(rtvi.BotReady)
            assert edge.calls.hang_up("c")
            await client.until_said(rtvi.PeerLeft)
            await client.until(lambda: client.pc.connectionState in {"closed", "failed"}, "closed")
            await until(lambda: edge.counts.calls_ended == {EndReason.HUNG_UP: 1}, "counted")
            assert not edge.calls.hang_up("c")

    asyncio.run(scenario())


def test_a_fatal_stage_failure_is_told_and_ends_the_call():
    async def scenario():
        sessions = Sessions()
        async with running_edge(sessions) as (edge, url), Client(url) as client:
            await client.until_said(rtvi.BotReady)
            sessions.made[0].fail()
            await client.until_said(rtvi.ErrorMessage)
            await until(lambda: edge.counts.calls_ended == {EndReason.STAGE_FAILED: 1}, "counted")
            return client.messages

    assert rtvi.ErrorMessage("stt: model lost", is_fatal=True) in asyncio.run(scenario())


def test_the_client_can_end_the_call_by_message():
    async def scenario():
        sessions = Sessions()
        async with running_edge(sessions) as (edge, url), Client(url) as client:
            await client.until_said(rtvi.BotReady)
            client.channel.send("{broken")
            client.channel.send(rtvi.build(rtvi.Ping(1)))
            client.channel.send(rtvi.build(rtvi.DisconnectBot()))
            await until(lambda: edge.counts.calls_ended == {EndReason.CLIENT_DISCONNECTED: 1}, "counted")
            await client.until_said(rtvi.ErrorMessage)

    asyncio.run(scenario())


def test_a_caller_who_sends_no_media_is_hung_up_on():
    async def scenario():
        sessions = Sessions()
        limits = CallLimits(media_silence_s=0.4)
        async with running_edge(sessions, limits=limits) as (edge, url), Client(url) as client:
            await client.until_said(rtvi.BotReady)
            client.sender.replaceTrack(None)
            await until(lambda: edge.counts.calls_ended == {EndReason.MEDIA_LOST: 1}, "counted")
            assert sessions.made[0].closes == 1

    asyncio.run(scenario())


def test_an_offer_that_is_never_followed_up_is_released():
    async def scenario():
        sessions = Sessions()
        async with running_edge(sessions, limits=CallLimits(connect_s=0.2)) as (edge, url):
            client = Client(url)
            # The answer is fetched but not applied: no ICE check ever comes.
            client.pc.setRemoteDescription = _nothing
            async with client:
                await until(lambda: edge.counts.calls_ended == {EndReason.CONNECT_TIMEOUT: 1}, "counted")
        assert sessions.made == []

    async def _nothing(description):
        pass

    asyncio.run(scenario())


def test_a_session_that_cannot_start_ends_its_call_only():
    async def scenario():
        sessions = Sessions(start_error=RuntimeError("no models"))
        async with running_edge(sessions) as (edge, url):
            async with Client(url):
                await until(lambda: edge.counts.calls_ended == {EndReason.EDGE_FAILED: 1}, "counted")
            assert sessions.made[0].closes == 1
            sessions.script = {}
            async with Client(url) as client:
                await client.until_heard()

    asyncio.run(scenario())


def test_closing_the_edge_ends_its_calls():
    async def scenario():
        sessions = Sessions()
        edge_context = running_edge(sessions)
        edge, url = await edge_context.__aenter__()
        async with Client(url) as client:
            await client.until_said(rtvi.BotReady)
            await edge_context.__aexit__(None, None, None)
            await client.until_said(rtvi.PeerLeft)
        assert edge.counts.calls_ended == {EndReason.SHUTDOWN: 1}
        assert sessions.made[0].closes == 1

    asyncio.run(scenario())


def test_a_restarted_client_replaces_its_call():
    async def scenario():
        sessions = Sessions()
        async with running_edge(sessions) as (edge, url), Client(url, request_data={"call_id": "c"}) as first:
            await first.until_said(rtvi.BotReady)
            second = Client(url, request_data={"call_id": "c"})
            offer = second.offer

            async def restarting_offer():
                return {**await offer(), "pc_id": first.answer["pc_id"], "restart_pc": True}

            second.offer = restarting_offer
            async with second:
                await second.until_heard()
                assert edge.counts.calls_ended == {EndReason.REPLACED: 1}
                assert edge.counts.active_calls == 1

    asyncio.run(scenario())


class _FakeClock:
    def __init__(self):
        self.now_ns = 5_000_000_000

    def monotonic_ns(self):
        return self.now_ns

    async def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)


def test_packets_keep_an_absolute_schedule_and_jump_after_a_stall(monkeypatch):
    clock = _FakeClock()
    monkeypatch.setattr(webrtc.time, "monotonic_ns", clock.monotonic_ns)
    monkeypatch.setattr(webrtc.asyncio, "sleep", clock.sleep)

    async def scenario():
        playout = Playout()
        track = SpeechTrack(playout, lambda *_: None, lambda *_: None)
        times, stamps = [], []
        for busy_ms in (0, 3, 35, 0, 0, 1000, 0):
            stamps.append((await track.recv()).pts)
            times.append((clock.now_ns - 5_000_000_000) // 1_000_000)
            clock.now_ns += busy_ms * 1_000_000
        track.stop()
        return times, stamps

    times, stamps = asyncio.run(scenario())
    # The third took 35 ms, so the fourth left late, and the fifth was on time again.
    assert times == [0, 20, 40, 75, 80, 100, 1100]
    assert stamps == [0, 960, 1920, 2880, 3840, 4800, 52_800]


def test_speech_is_encoded_in_packets_larger_than_silence():
    async def scenario():
        playout = Playout()
        track = SpeechTrack(playout, lambda *_: None, lambda *_: None)
        noise = np.random.default_rng(1).integers(-8000, 8000, 2400).astype(np.int16)
        silent = bytes(await track.recv())
        playout.play(SpeechOut(1, "x", noise, is_last=True))
        loud = [bytes(await track.recv()) for _ in range(5)]
        after = [bytes(await track.recv()) for _ in range(8)]
        track.stop()
        return silent, loud, after

    silent, loud, after = asyncio.run(scenario())
    assert len(silent) == 3
    assert min(len(p) for p in loud) > 30
    assert len(after[-1]) == 3
