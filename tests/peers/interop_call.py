"""One call of our WebRTC caller, on the real media loop, to an agent that answers with sound."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import aiohttp
import numpy as np

from harness.callers.setup_queue import SetupQueue
from harness.callers.webrtc import WebRtcCaller
from harness.media.clips import encode_clip
from harness.media.codecs import OPUS
from harness.media.events import RemoteBye, SpeechEnded
from harness.media.loop import MediaLoop
from harness.media.onset import AgentOnset
from harness.media.peer.host import PeerHost
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, TargetSpec
from harness.model.records import MediaStats

PROFILES = ["SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM", "SRTP_AES128_CM_SHA1_80"]
LIMIT_S = 40.0
RATE = 48_000


def spoken_clip(milliseconds=1000):
    """Return a clip of a loud tone."""
    times = np.arange(RATE * milliseconds // 1000) / RATE
    return encode_clip("tone", (9000 * np.sin(2 * np.pi * 330 * times)).astype(np.int16), 0.0, milliseconds, OPUS)


def call_plan(url, name="interop", *, dialect="json", **target):
    return CallPlan(
        call_id=name,
        index=0,
        due_ms=None,
        caller="interop",
        persona=Persona("n", "p", "r", "a", "unlimited"),
        patience=Patience("unlimited", 0.0, 1.0, 0),
        turns=(),
        target=TargetSpec(url, dialect=dialect, **target),
        limits=CallLimits(connect_timeout_ms=LIMIT_S * 1000),
    )


@dataclass
class Callers:
    """What calls to one agent share."""

    http: aiohttp.ClientSession
    peers: PeerHost
    media_loop: MediaLoop
    queue: SetupQueue = field(default_factory=SetupQueue)

    def caller(self, url, name="interop", **target):
        events = []
        caller = WebRtcCaller(call_plan(url, name, **target), self.http, self.peers, self.media_loop, events.append)
        caller.events = events
        return caller

    async def connect(self, caller):
        async with self.queue.turn(None) as turn:
            return await caller.connect(turn)


@contextlib.asynccontextmanager
async def callers(profile=None):
    """Yield Callers whose DTLS agrees to `profile` only."""
    media_loop = MediaLoop(capacity=64)
    media_loop.start()
    peers = PeerHost(media_loop, srtp_profiles=[profile] if profile else None)
    try:
        async with aiohttp.ClientSession() as http:
            yield Callers(http, peers, media_loop)
    finally:
        peers.close()
        media_loop.stop()


async def until(condition, what):
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"never {what()}"
        await asyncio.sleep(0.05)


@dataclass
class Talk:
    """What one call saw."""

    stats: MediaStats
    heard: bool
    spoken: bool
    setup: object
    candidate_types: tuple


async def talk(caller):
    """Speak on a connected call until the agent was heard and RTCP has gone both ways; hang up."""
    caller.media.play(spoken_clip())
    events, media = caller.events, caller.media

    def done():
        kinds = {type(e) for e in events}
        return {AgentOnset, SpeechEnded} <= kinds and media.stats().round_trip_ms is not None

    try:
        await until(done, lambda: f"heard: {events}, {media.stats()}")
        assert not any(isinstance(e, RemoteBye) for e in events)
    finally:
        await caller.close()
    kinds = {type(e) for e in events}
    return Talk(media.stats(), AgentOnset in kinds, SpeechEnded in kinds, caller.setup, caller.candidate_types)


def one_call(url, profile=None, **target):
    """Call `url` once; returns what the call saw."""

    async def scenario():
        async with callers(profile) as ours:
            caller = ours.caller(url, **target)
            try:
                await ours.connect(caller)
                return await talk(caller)
            finally:
                await caller.close()

    return asyncio.run(scenario())


def assert_good(seen):
    """Media went both ways, nothing of it was unreadable, RTCP came back."""
    assert seen.heard
    assert seen.spoken
    assert seen.stats.packets_received > 20
    assert seen.stats.packets_discarded == 0
    assert seen.stats.send_errors == 0
    assert seen.stats.round_trip_ms is not None
    assert seen.setup.total_ms >= seen.setup.signalling_ms
    assert seen.candidate_types == ("host", "host")
