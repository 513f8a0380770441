"""The agent's first words, wherever they fall: before the answer, with it, with a call's very first packet."""

import asyncio
import struct
from dataclasses import replace

import pytest
from sip_agent import SipAgent
from sip_bench import plan
from whole_calls import hold

from harness.calibrate.voice import voiced
from harness.callers.sip_ear import SipEar
from harness.callers.sip_log import SipLog
from harness.media.clips import encode_clip
from harness.media.codecs import PCMU
from harness.media.onset import AgentOnset, AgentStopped
from harness.model.plan import CallLimits
from harness.protocols import audio_sdp
from harness.protocols.sip import events

pytestmark = pytest.mark.loopback

LIMITS = CallLimits(connect_timeout_ms=8_000, greeting_timeout_ms=2_500, quiet_ms=200)
WORDS = tuple(encode_clip("words", voiced(400, 8000), 0, 400, PCMU).payloads)
# As steady as a chime.
TONE = (WORDS[0],) * 20
PAUSE = (PCMU.silence,) * 10


class Mouth(asyncio.DatagramProtocol):
    """A UDP port that says packets, one each 20 ms, and takes none."""

    @classmethod
    async def open(cls, ssrc=7):
        mouth = cls()
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: mouth, local_addr=("127.0.0.1", 0))
        mouth.ssrc, mouth.sequence = ssrc, 0
        return mouth

    def connection_made(self, transport):
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def say(self, payloads, to):
        self._task = asyncio.create_task(self._say(payloads, to))
        return self._task

    async def _say(self, payloads, to):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for i, payload in enumerate(payloads):
            await asyncio.sleep(max(0.0, begun + 0.02 * i - loop.time()))
            self.sequence += 1
            head = struct.pack("!BBHII", 0x80, 0, self.sequence, 160 * self.sequence, self.ssrc)
            self.transport.sendto(head + payload, to)


def sdp(mouth, announced=True):
    port, ssrc = mouth.port, mouth.ssrc if announced else None
    said = audio_sdp.AudioSdp("127.0.0.1", port, (audio_sdp.Format(0, "PCMU", 8000, 1),), ssrc=ssrc, cname="a")
    return audio_sdp.build(said).encode()


class Greeter(SipAgent):
    """`greet(greeter, call, caller's RTP address)` is all that is done with a call."""

    def __init__(self, greet):
        super().__init__(self._take)
        self._greet, self._task = greet, None

    def _take(self, _agent, event):
        if isinstance(event, events.Incoming):
            offer = audio_sdp.parse(event.body.decode())
            self._task = asyncio.create_task(self._greet(self, event.call, (offer.host, offer.port)))

    def ring(self, call, body):
        call.ring(self.now(), 183, body=body)
        self.endpoint.flush()

    def accept(self, call, body):
        call.accept(body, self.now())
        self.endpoint.flush()


async def with_the_answer(agent, call, caller):
    """Speech is ahead of the answer by a packet, and nothing said where it would come from."""
    mouth = await Mouth.open()
    mouth.say(WORDS, caller)
    await asyncio.sleep(0)
    agent.accept(call, sdp(mouth))


async def long_before_the_answer(agent, call, caller):
    """By 100 ms: what came by then is lost, the rest is heard."""
    mouth = await Mouth.open()
    mouth.say(WORDS, caller)
    await asyncio.sleep(0.1)
    agent.accept(call, sdp(mouth))


async def at_once_behind_the_answer(agent, call, caller):
    mouth = await Mouth.open()
    agent.accept(call, sdp(mouth))
    mouth.say(WORDS, caller)


async def a_steady_sound(agent, call, caller):
    mouth = await Mouth.open()
    agent.accept(call, sdp(mouth))
    mouth.say(TONE, caller)


async def across_the_answer(agent, call, caller):
    """Speech begins while it rings, and goes on."""
    mouth = await Mouth.open()
    agent.ring(call, sdp(mouth))
    mouth.say(PAUSE + WORDS, caller)
    await asyncio.sleep(0.3)
    agent.accept(call, sdp(mouth))


async def behind_a_pause_while_it_rang(agent, call, caller):
    mouth = await Mouth.open()
    agent.ring(call, sdp(mouth))
    await mouth.say(PAUSE, caller)
    agent.accept(call, sdp(mouth))
    mouth.say(WORDS, caller)


async def behind_a_ringing_tone(agent, call, caller):
    """The tone is no greeting, and hides none."""
    mouth = await Mouth.open()
    agent.ring(call, sdp(mouth))
    await mouth.say(PAUSE + TONE + PAUSE, caller)
    agent.accept(call, sdp(mouth))
    mouth.say(WORDS, caller)


async def from_elsewhere_than_rang(agent, call, caller):
    """A 183 of an announcement, a 200 of the agent: other SDP, another source."""
    announcer, mouth = await Mouth.open(), await Mouth.open(ssrc=8)
    agent.ring(call, sdp(announcer))
    announcer.say(TONE * 10, caller)
    await asyncio.sleep(0.2)
    agent.accept(call, sdp(mouth))
    mouth.say(WORDS, caller)


async def without_a_body_in_the_answer(agent, call, caller):
    """A 200 may leave out what a 183 said."""
    mouth = await Mouth.open()
    agent.ring(call, sdp(mouth))
    await mouth.say(PAUSE, caller)
    agent.accept(call, b"")
    mouth.say(WORDS, caller)


async def from_another_port_than_said(agent, call, caller):
    """As behind NAT; the source is announced."""
    mouth, other = await Mouth.open(), await Mouth.open()
    agent.accept(call, sdp(mouth))
    other.say(WORDS, caller)


GREETINGS = [
    with_the_answer, long_before_the_answer, at_once_behind_the_answer, a_steady_sound, across_the_answer,
    behind_a_pause_while_it_rang, behind_a_ringing_tone, from_elsewhere_than_rang, without_a_body_in_the_answer,
    from_another_port_than_said,
]  # fmt: skip


def greeted(tmp_path, greet, **settings):
    async def main():
        async with Greeter(greet) as agent:
            call = replace(plan(agent.url, **settings), turns=(), limits=LIMITS)
            records, _turns, _left = await hold(tmp_path, [call])
            return records[0]

    return asyncio.run(main())


@pytest.mark.parametrize("greet", GREETINGS, ids=lambda greet: greet.__name__)
def test_a_greeting_is_heard(tmp_path, greet):
    record = greeted(tmp_path, greet)
    assert (record.outcome, record.cause) == ("completed", "none")
    # Not the end of the wait for one, and never ahead of the answer.
    assert record.greeting_ms is not None
    assert 0 <= record.greeting_ms < 2_000
    assert record.sip.early_media == (greet in GREETINGS[4:9])


def test_a_source_nobody_announced_is_heard_at_a_port_of_the_calls_own(tmp_path):
    async def greet(agent, call, caller):
        mouth, other = await Mouth.open(), await Mouth.open(ssrc=9)
        agent.accept(call, sdp(mouth, announced=False))
        other.say(WORDS, caller)

    record = greeted(tmp_path, greet, source_ports="per_call")
    assert record.greeting_ms is not None


def test_words_that_end_before_the_answer_are_no_greeting(tmp_path):
    async def greet(agent, call, caller):
        mouth = await Mouth.open()
        agent.ring(call, sdp(mouth))
        await mouth.say(PAUSE + WORDS + PAUSE, caller)
        agent.accept(call, sdp(mouth))
        mouth.say(PAUSE * 20, caller)

    record = greeted(tmp_path, greet)
    assert record.greeting_ms is None
    assert record.sip.early_onset_ms > 0


def test_early_words_that_are_told_behind_the_answer_are_early_and_asked_for_again():
    """What the media loop decides before the answer may be on its way up when the answer comes."""
    told, again = [], []
    ear = SipEar(SipLog("udp", media=True), told.append)
    ear.answered(1_000, lambda: again.append("again"))
    ear.hear(AgentOnset(800, 900))
    assert (told, again) == ([], ["again"])
    onset, stopped = AgentOnset(990, 1_050), AgentStopped(2_000)
    ear.hear(onset)
    ear.hear(stopped)
    assert (told, again) == ([onset, stopped], ["again"])
