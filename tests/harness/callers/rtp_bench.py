"""RTP callers on a media loop of their own, and what they say and hear."""

import asyncio

import aiohttp
import numpy as np

from harness.calibrate.voice import voiced
from harness.callers.rtp import RtpCaller
from harness.callers.setup_queue import SetupQueue
from harness.callers.source_ports import SourcePorts
from harness.media.clips import encode_clip
from harness.media.events import SpeechEnded, SpeechStarted
from harness.media.loop import MediaLoop
from harness.media.onset import AgentOnset
from harness.model.clock import ms_between
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, PlannedTurn, TargetSpec


def plan(url, call_id="call-1", record=False, **target):
    return CallPlan(
        call_id=call_id,
        index=0,
        due_ms=0.0,
        caller="c",
        persona=Persona("n", "1", "r", "american", "normal"),
        patience=Patience("normal", 1.0, 1.0, 1),
        turns=(PlannedTurn("u", 0.0),),
        target=TargetSpec(url, transport="rtp", **target),
        limits=CallLimits(),
        record=record,
    )


class Bench:
    """A media loop with callers on it."""

    async def __aenter__(self):
        self.loop = MediaLoop(64)
        self.loop.start()
        self.ports = SourcePorts(self.loop)
        self.http = aiohttp.ClientSession()
        self.queue = SetupQueue()
        self.callers = []
        return self

    async def __aexit__(self, *_):
        for caller, _events in self.callers:
            await caller.close()
        await self.http.close()
        self.loop.stop()

    def caller(self, call_plan):
        events = asyncio.Queue()
        caller = RtpCaller(call_plan, self.http, self.loop, self.ports, events.put_nowait)
        self.callers.append((caller, events))
        return caller, events

    async def connect(self, url, call_id="call-1", **settings):
        caller, events = self.caller(plan(url, call_id, **settings))
        async with self.queue.turn(None) as turn:
            await caller.connect(turn)
        return caller, events


def utterance(codec):
    silence = np.zeros(codec.sample_rate // 10, np.int16)
    samples = np.concatenate([silence, voiced(300, codec.sample_rate), silence])
    return encode_clip("u", samples, 100, 400, codec)


async def say_and_hear(caller, events, codec):
    """Speak once; return ms from the first voiced packet to the echo's onset, whatever the order of the events."""
    caller.media.play(utterance(codec))
    seen = {}
    while not {SpeechStarted, SpeechEnded, AgentOnset} <= seen.keys():
        try:
            event = await asyncio.wait_for(events.get(), 20)
        except TimeoutError as error:
            raise AssertionError(
                f"20 s without an event after {list(seen.values())}; {caller.media.stats()}"
            ) from error
        seen.setdefault(type(event), event)
    return ms_between(seen[SpeechStarted].at_ns, seen[AgentOnset].at_ns)


def is_echo(delay_ms):
    """An echo takes 100 ms; far more only where this machine is late, and never less."""
    return 95 <= delay_ms <= 1500
