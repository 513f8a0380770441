"""The responder's SIP front with a scripted desk: when media begin, change and end."""

import asyncio
import contextlib
import secrets

import pytest

from harness.calibrate import sip_front
from harness.calibrate.sip_front import SipFront
from harness.media.codecs import PCMU
from harness.media.spec import MediaSpec
from harness.model.clock import monotonic_ns
from harness.model.errors import GeneratorError
from harness.protocols.audio_sdp import Format
from harness.protocols.audio_session import AudioSession, Ours
from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import SipEndpoint

pytestmark = pytest.mark.loopback


class Media:
    """A call of the media loop."""

    def __init__(self, line):
        self.spec = MediaSpec(line.remote, line.ssrc, 1, 1, "c", 1, 1, lambda _event: None, PCMU, line.payload_type)
        self.directions = []

    def redirect(self, spec):
        self.spec = spec

    def set_direction(self, *, sends, hears):
        self.directions.append((sends, hears))


class Desk:
    """Takes calls as the desk does, without media."""

    def __init__(self):
        self.lines, self.ended, self._media, self._release = {}, [], {}, {}

    def name(self, wanted):
        return wanted

    def take(self, call, line, release):
        self.lines[call], self._media[call], self._release[call] = line, Media(line), release

    def media(self, call):
        return self._media.get(call)

    def hang_up(self, call):
        self.ended.append(call)
        self._release[call]()


class Port:
    def __init__(self):
        self.address, self.is_closed = ("127.0.0.1", 4000), False

    def close(self):
        assert not self.is_closed
        self.is_closed = True


class Ports:
    """The ports of the responder's RTP calls."""

    shares_ports = False

    def __init__(self):
        self.taken = []
        self.is_out = False

    def take_port(self, _address, *, is_shared):
        assert not is_shared
        if self.is_out:
            raise GeneratorError("no port")
        self.taken.append(Port())
        return self.taken[-1]


class Caller:
    def __init__(self, address):
        self.address, self.events = address, []

    async def __aenter__(self):
        self.agent = UserAgent(AgentConfig(), seed=secrets.randbits(32))
        self.endpoint = SipEndpoint(self.agent, self.events.append)
        self.flow = await self.endpoint.open_flow("udp", self.address)
        return self

    async def __aexit__(self, *_):
        await self.endpoint.aclose()

    async def told(self, kind):
        """Wait for an event of `kind` and take it."""
        async with asyncio.timeout(20):
            while True:
                found = next((e for e in self.events if isinstance(e, kind)), None)
                if found is not None:
                    self.events.remove(found)
                    return found
                await asyncio.sleep(0.005)

    def dial(self, direction="sendrecv", codec=PCMU.name):
        self.audio = AudioSession(
            Ours(
                host="127.0.0.1",
                port=5000,
                formats=[Format(0, codec, 8000)],
                new_material=lambda suite: bytes(suite.material_bytes),
            )
        )
        self.leg = self.agent.invite(
            f"sip:agent@127.0.0.1:{self.address[1]}",
            self.flow,
            monotonic_ns(),
            body=self.audio.offer(direction).encode(),
            headers=(("X-Call-Id", "call-1"),),
        )
        self.endpoint.flush()

    def reinvite(self, direction):
        self.leg.reinvite(self.audio.offer(direction).encode(), monotonic_ns())
        self.endpoint.flush()

    async def hang_up(self):
        self.leg.hang_up(monotonic_ns())
        self.endpoint.flush()
        await self.told(events.Ended)


@contextlib.asynccontextmanager
async def running():
    """Yield (desk, ports, caller, front)."""
    desk, ports = Desk(), Ports()
    front = SipFront(desk, ports, {"name": "responder"})
    uri = await front.start("127.0.0.1", 0)
    async with Caller(("127.0.0.1", int(uri.rpartition(":")[2]))) as caller:
        try:
            yield desk, ports, caller, front
        finally:
            await front.aclose()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def test_media_begin_with_the_ack_follow_a_hold_and_end_with_the_bye():
    async def scenario():
        async with running() as (desk, ports, caller, _):
            caller.dial()
            answered = await caller.told(events.Answered)
            caller.audio.accept(answered.body.decode())
            assert answered.response.get("X-Call-Id") == "call-1"
            await until(lambda: desk.lines)
            line = desk.lines["call-1"]
            assert (line.remote, line.codec, line.payload_type) == (("127.0.0.1", 5000), PCMU, 0)
            assert line.any_source
            for direction in ("sendonly", "sendrecv"):
                caller.reinvite(direction)
                caller.audio.accept((await caller.told(events.OfferAnswered)).body.decode())
            assert desk.media("call-1").directions == [(False, True), (True, True)]
            await caller.hang_up()
            await until(lambda: ports.taken[0].is_closed)
            assert desk.ended == ["call-1"]

    asyncio.run(scenario())


def test_a_call_without_audio_takes_no_port():
    async def scenario():
        async with running() as (desk, ports, caller, _):
            caller.dial("inactive")
            assert b"a=inactive" in (await caller.told(events.Answered)).body
            await caller.hang_up()
            assert (desk.lines, desk.ended, ports.taken) == ({}, [], [])

    asyncio.run(scenario())


@pytest.mark.parametrize(("is_out", "codec", "status"), [(True, "PCMU", 503), (False, "GSM", 488)])
def test_what_cannot_be_taken_is_refused(is_out, codec, status):
    async def scenario():
        async with running() as (desk, ports, caller, _):
            ports.is_out = is_out
            caller.dial(codec=codec)
            failed = await caller.told(events.Failed)
            assert failed.status == status
            assert failed.retry_after_s == (5 if is_out else None)
            assert not desk.lines
            assert all(port.is_closed for port in ports.taken)

    asyncio.run(scenario())


def test_a_caller_whose_media_ended_gets_a_bye_when_its_own_does_not_come(monkeypatch):
    monkeypatch.setattr(sip_front, "_GRACE_S", 0.05)

    async def scenario():
        async with running() as (desk, _, caller, _):
            caller.dial()
            await caller.told(events.Answered)
            await until(lambda: desk.lines)
            desk.hang_up("call-1")
            assert (await caller.told(events.Ended)).cause == "remote"

    asyncio.run(scenario())


def test_the_end_of_the_responder_is_the_end_of_its_calls():
    async def scenario():
        async with running() as (desk, _, caller, front):
            caller.dial()
            await caller.told(events.Answered)
            await until(lambda: desk.lines)
            closing = asyncio.create_task(front.aclose())
            assert (await caller.told(events.Ended)).cause == "remote"
            await closing

    asyncio.run(scenario())


def test_options_say_who_is_there():
    async def scenario():
        async with running() as (_, _, caller, _):
            caller.agent.request("OPTIONS", f"sip:agent@127.0.0.1:{caller.address[1]}", caller.flow, monotonic_ns())
            caller.endpoint.flush()
            answered = await caller.told(events.RequestAnswered)
            assert (answered.status, answered.response.body) == (200, b'{"name": "responder"}')

    asyncio.run(scenario())
