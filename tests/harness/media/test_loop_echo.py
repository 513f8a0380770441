"""What an agent says comes back to it: later and quieter as asked, in its codec, and no more once it stops."""

import asyncio
import contextlib

import numpy as np
import pytest
from loop_lab import running_loop, spec, until

from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.media.background_line import PACKETS, BackgroundLine, memory_of_a_line
from harness.media.clips import Clip, encode_clip
from harness.media.codecs import OPUS, PCMU
from harness.media.echo_line import EchoLine
from harness.media.media_call import MediaCall
from harness.media.payloads import Payloads
from harness.media.recorder import Recorder
from harness.media.self_answers import self_answers
from harness.model.clock import monotonic_ns

pytestmark = pytest.mark.loopback


@contextlib.asynccontextmanager
async def talk(codec):
    """Yield a caller that records and an agent that speaks for a second and a half."""
    said = {"codec": codec, "payload_type": codec.payload_type, "quiet_ms": 500}
    one = next(u for u in load_corpus().utterances.values() if u.is_clean and u.duration_ms > 2_500)
    samples = read_pcm(one, codec.sample_rate)[: 3 * codec.sample_rate // 2]
    async with running_loop(8) as loop:
        ports = [loop.open_port("127.0.0.1", lambda *_: None) for _ in range(2)]
        recorder = Recorder(monotonic_ns(), codec)
        caller = loop.add_call(ports[0], spec(ports[1].address, 1, recorder=recorder, **said))
        agent = loop.add_call(ports[1], spec(ports[0].address, 2, **said))
        await until(lambda: caller.stats().packets_received > 3 and agent.stats().packets_received > 3)
        yield caller, agent, encode_clip("agent", samples, 0, 1_500, codec), recorder


@pytest.mark.parametrize("codec", [PCMU, OPUS], ids=lambda codec: codec.name)
def test_an_agents_words_come_back_to_it_as_late_and_as_quiet_as_asked(codec, tmp_path):
    heard = []

    async def run():
        async with talk(codec) as (caller, agent, clip, recorder):
            line = EchoLine(caller, 200, -6)
            line.start()
            agent.tap(lambda payload, _timestamp, _at_ns: heard.append(payload))
            agent.play(clip)
            await until(lambda: line.counts.sent >= 45)
            await asyncio.sleep(0.4)
            line.stop()
            line.stop()
            sent, count = line.counts.sent, len(heard)
            agent.play(clip)
            await until(lambda: len(heard) > count + 20)
            # What was on its way when it stopped has come by now.
            assert set(heard[-15:]) == {codec.silence}
            assert line.counts.sent == sent
            await caller.close()
            line.give_back()
            await agent.close()
            return recorder.write(tmp_path / "call.flac"), sent

    sides, sent = asyncio.run(run())
    assert sent >= 45
    assert sum(payload != codec.silence for payload in heard) >= sent - 5
    found = self_answers(sides.caller, sides.agent, sides.rate, [], None)
    assert found.copies >= 2
    assert found.delay_ms == pytest.approx(200, abs=60)
    assert found.gain_db == pytest.approx(-6, abs=1.5)


def test_while_the_caller_speaks_it_sends_its_own_words_alone():
    async def run():
        async with talk(PCMU) as (caller, agent, clip, _recorder):
            line = EchoLine(caller, 60, 0)
            line.start()
            caller.play(clip)
            agent.play(clip)
            await until(lambda: line.counts.masked > 25)
            assert line.counts.sent == 0
            await caller.close()
            line.give_back()
            await agent.close()

    asyncio.run(run())


def test_a_ring_is_the_next_calls_when_a_call_is_over():
    async def run():
        async with talk(PCMU) as (caller, agent, _clip, _recorder):
            line = EchoLine(agent, 100, 0)
            line.start()
            ring = line._line
            await agent.close()
            line.give_back()
            other = EchoLine(caller, 100, 0)
            other.start()
            assert other._line is ring
            assert np.all(ring.addresses[:, 1] == len(PCMU.silence))
            await caller.close()
            other.give_back()

    asyncio.run(run())


def test_the_loop_is_given_a_ring_of_silence():
    """It sends from it at once, whatever an earlier call has left there, or nobody yet has written."""
    sent_first = []

    class Row:
        def __init__(self):
            clip = Clip("", Payloads([b"\0"] * PACKETS), -1, -1)
            self.line = BackgroundLine(clip, np.ones((PACKETS, 2), np.int64), memory_of_a_line())

        def take_line(self):
            return self.line

        def redirect(self, becomes, _before):
            lengths = self.line.addresses[:, 1]
            if becomes.background is self.line.clip:
                sent_first.extend(bytes(self.line.memory[at, : lengths[at]]) for at in range(PACKETS))

    MediaCall(spec(("127.0.0.1", 9)), Row()).open_line()
    assert set(sent_first) == {PCMU.silence}
