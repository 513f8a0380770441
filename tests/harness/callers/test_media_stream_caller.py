"""Media-stream calls over loopback, in every dialect: what the agent hears, and what the caller hears of it."""

import asyncio

import av
import numpy as np
import pytest
from stream_agent import AudioSocketServer, Bench, StreamAgent, next_of, utterance, voice

from harness.callers.media_stream import stream_codec
from harness.media.codecs import PCMU
from harness.media.events import SpeechEnded, SpeechStarted
from harness.media.onset import AgentOnset, AgentStopped
from harness.model.plan import StreamSpec
from harness.protocols.media_streams.dialects import DIALECTS
from harness.protocols.media_streams.messages import Cleared, Dtmf, MarkPlayed, Stopped

pytestmark = pytest.mark.loopback

EVERY = [
    ("twilio", "PCMU", None),
    ("telnyx", "PCMU", None),
    ("telnyx", "PCMA", None),
    ("plivo", "PCMU", None),
    ("plivo", "L16", 16_000),
    ("exotel", "L16", None),
    ("vonage", "L16", None),
    ("jambonz", "L16", None),
    ("jambonz", "L16", 16_000),
    ("audiosocket", "L16", None),
    ("audiosocket", "L16", 16_000),
]


def run_all(calls):
    """Run them at the same time; a failure names its call."""

    async def main():
        results = await asyncio.gather(*calls.values(), return_exceptions=True)
        failed = {name: result for name, result in zip(calls, results, strict=True) if result is not None}
        if failed:
            raise ExceptionGroup(f"failed: {', '.join(failed)}", list(failed.values()))

    asyncio.run(main())


def test_a_call_in_every_dialect():
    run_all({f"{d} {c} {r or ''}": a_call(d, c, r) for d, c, r in EVERY})


async def a_call(dialect, codec, rate):
    said = []

    async def script(talk):
        # An AudioSocket server learns the rate from the caller's first frame.
        await talk.speaks.wait()
        said.append(await talk.say(voice(talk.codec, 400)))
        if dialect != "audiosocket" and (mark := talk.end.mark("greeted")):
            await talk.send(mark)

    protocols = ("audio.jambonz.org",) if dialect == "jambonz" else ()
    server = AudioSocketServer(script) if dialect == "audiosocket" else StreamAgent(script, subprotocols=protocols)
    spec = StreamSpec({"campaign": "c-7"}, sample_rate=rate)
    async with Bench() as bench, server as agent:
        caller, events = await bench.connect(agent.url, dialect=dialect, codec=codec, stream=spec)
        onset = await next_of(events, AgentOnset)
        assert 0 <= onset.heard_at_ns - onset.at_ns <= 20_000_000
        # It had come when the agent's write returned, or soon after.
        assert abs(onset.at_ns - said[0]) < 5_000_000_000
        clip = utterance(stream_codec(caller._plan.target))
        caller.media.play(clip)
        started, ended = await next_of(events, SpeechStarted), await next_of(events, SpeechEnded)
        assert ended.at_ns > started.at_ns
        stopped = await next_of(events, AgentStopped)
        assert stopped.at_ns - onset.heard_at_ns >= 300_000_000
        caller.media.press("5#")
        talk = agent.talks[0]
        await caller.close()
        await asyncio.wait_for(talk.closed.wait(), 5)
        assert b"".join(clip.payloads) in talk.audio()
        assert [key.digit for key in talk.of(Dtmf)] == ["5", "#"]
        if dialect != "audiosocket":
            assert talk.end.dialect is DIALECTS[dialect]
            assert talk.end.started.parameters == {"call_id": "call-1", "campaign": "c-7"}
            assert [m.name for m in talk.of(MarkPlayed)] == ["greeted"]
        facts = caller.stream
        assert (facts.dialect, facts.bad_messages, facts.digits_sent) == (dialect, 0, 2)
        assert facts.arrival_clock == "kernel"
        assert facts.audio_ms == facts.heard_ms >= 400
        assert not [m for m in talk.heard if isinstance(m[1], Exception)]


def test_speech_that_comes_in_a_burst_is_heard_at_its_own_pace():
    """Two seconds of speech behind 300 ms of silence come at once: arrival and hearing are told apart."""

    async def script(talk):
        await talk.say(voice(talk.codec, 2000, lead_ms=300), message_bytes=1600)
        await talk.send(talk.end.mark("said"))

    async def main():
        async with Bench() as bench, StreamAgent(script) as agent:
            caller, events = await bench.connect(agent.url, dialect="twilio")
            onset, stopped = await next_of(events, AgentOnset), await next_of(events, AgentStopped)
            assert 290 <= (onset.heard_at_ns - onset.at_ns) / 1e6 <= 305
            assert 1970 <= (stopped.at_ns - onset.heard_at_ns) / 1e6 <= 2000
            talk = agent.talks[0]
            (marked_at,) = [at for at, said in talk.heard if isinstance(said, MarkPlayed)]
            assert (marked_at - onset.at_ns) / 1e6 >= 2299
            facts = caller.stream
            assert 300 <= facts.longest_buffer_ms <= 2300
            assert (facts.marks, facts.marks_unreached, facts.underruns) == (1, 0, 0)

    asyncio.run(main())


def test_a_clear_flushes_what_was_not_heard():
    told = {"twilio": [("tail", False)], "plivo": [], "vonage": [], "jambonz": [("tail", True)]}
    run_all({dialect: a_clear(dialect, marks) for dialect, marks in told.items()})


async def a_clear(dialect, told):
    """The agent talks for 10 s and is interrupted: it clears, and its marks come back as the provider has it."""
    codec = "L16" if dialect in ("vonage", "jambonz") else "PCMU"

    async def script(talk):
        await talk.say(voice(talk.codec, 10_000), message_bytes=8000)
        await talk.send(talk.end.mark("tail"))
        await asyncio.sleep(0.5)
        await talk.send(talk.end.clear())

    async with Bench() as bench, StreamAgent(script) as agent:
        caller, events = await bench.connect(agent.url, dialect=dialect, codec=codec)
        onset, stopped = await next_of(events, AgentOnset), await next_of(events, AgentStopped)
        heard_ms = (stopped.at_ns - onset.heard_at_ns) / 1e6
        assert 400 <= heard_ms < 9900
        facts, talk = caller.stream, agent.talks[0]
        assert (facts.clears, facts.marks, facts.marks_unreached) == (1, 1, 1)
        assert facts.flushed_ms + facts.heard_ms == pytest.approx(10_000, abs=1)
        assert abs(facts.heard_ms - heard_ms) <= 45
        await caller.close()
        assert [(m.name, m.is_cleared) for m in talk.of(MarkPlayed)] == told
        assert bool(talk.of(Cleared)) == (dialect in ("plivo", "vonage"))


def test_an_agent_that_starves_the_buffer_is_counted():
    async def script(talk):
        speech = voice(talk.codec, 600)
        await talk.say(speech[:2400])
        await asyncio.sleep(0.5)
        await talk.say(speech[2400:])

    async def main():
        async with Bench() as bench, StreamAgent(script) as agent:
            caller, events = await bench.connect(agent.url, dialect="twilio")
            await next_of(events, AgentStopped)
            facts = caller.stream
            assert facts.underruns == 1
            assert 100 <= facts.underrun_ms < 900

    asyncio.run(main())


def test_an_agent_that_talks_on_over_its_caller_after_a_clear_is_counted():
    async def script(talk):
        for _ in range(3):
            await talk.say(voice(talk.codec, 200))
            await talk.send(talk.end.clear())
            await asyncio.sleep(0.1)
        await talk.say(voice(talk.codec, 600))

    async def main():
        async with Bench() as bench, StreamAgent(script) as agent:
            caller, events = await bench.connect(agent.url, dialect="twilio")
            caller.media.play(utterance(stream_codec(caller._plan.target), 3000))
            await next_of(events, SpeechEnded)
            assert 300 <= caller.stream.talk_over_after_clear_ms <= 800

    asyncio.run(main())


def test_messages_no_carrier_could_use_are_counted_and_the_call_goes_on():
    bad = ["{", "[]", '{"media": {}}', '{"event": "media", "media": {"payload": "%%%"}}', '{"event": "media"}', b"\0\0"]

    async def script(talk):
        for message in [*bad, '{"event": "something", "new": 1}']:
            await talk.send(message)
        await talk.say(voice(talk.codec, 300))

    async def main():
        async with Bench() as bench, StreamAgent(script) as agent:
            caller, events = await bench.connect(agent.url, dialect="twilio")
            await next_of(events, AgentOnset)
            facts = caller.stream
            assert (facts.bad_messages, facts.other_messages) == (len(bad), 1)
            assert facts.first_bad.startswith("message is not JSON")

    asyncio.run(main())


def test_the_caller_speaks_in_real_time_and_says_stop():
    async def main():
        async with Bench() as bench, StreamAgent() as agent:
            caller, _events = await bench.connect(agent.url, dialect="twilio")
            await asyncio.sleep(1)
            await caller.close()
            talk, stats = agent.talks[0], bench.host.take_stats()
            assert talk.of(Stopped)
            assert caller.media.stats().packets_sent >= 45
            assert stats.packets_sent == stats.lateness_ms.n == caller.media.stats().packets_sent
            assert not bench.host.ticker._phase_of

    asyncio.run(main())


def test_a_recording_has_what_was_said_and_what_was_heard(tmp_path):
    """The agent's second of speech stands where it was heard, and what a clear dropped is not in it."""

    async def script(talk):
        await talk.say(voice(talk.codec, 1000, lead_ms=500))
        await talk.say(voice(talk.codec, 5000))
        await asyncio.sleep(1.2)
        await talk.send(talk.end.clear())

    async def main():
        async with Bench() as bench, StreamAgent(script) as agent:
            caller, events = await bench.connect(agent.url, dialect="twilio", record=True)
            began_ns = caller.recorder.started_at_ns
            caller.media.play(utterance(PCMU))
            onset, stopped = await next_of(events, AgentOnset), await next_of(events, AgentStopped)
            await caller.close()
            caller.recorder.write(tmp_path / "call.flac")
            return (onset.heard_at_ns - began_ns) / 1e9, (stopped.at_ns - began_ns) / 1e9

    began_s, ended_s = asyncio.run(main())
    with av.open(str(tmp_path / "call.flac")) as container:
        frames = [frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)]
    left, right = np.concatenate(frames).T
    loud = np.flatnonzero(np.abs(right.astype(int)) > 2000) / 16_000
    assert loud[0] == pytest.approx(began_s, abs=0.02)
    assert loud[-1] == pytest.approx(ended_s, abs=0.05)
    assert np.max(np.abs(left.astype(int))) > 2000
