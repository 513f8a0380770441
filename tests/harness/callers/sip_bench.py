"""SIP callers on a host of their own, and what they heard."""

import asyncio

import aiohttp

from harness.callers.setup_queue import SetupQueue
from harness.callers.sip import SipCaller
from harness.callers.sip_host import SipHost
from harness.callers.source_ports import SourcePorts
from harness.media.loop import MediaLoop
from harness.media.timers import Timers
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, PlannedTurn, SipSpec, TargetSpec
from harness.protocols.sip.config import AgentConfig, TimerValues


def plan(url, call_id="call-1", *, codec="PCMU", limits=None, srtp="off", source_ports="auto", headers=None, **sip):
    transport = next((t for t in ("tcp", "tls") if f"transport={t}" in url), "udp")
    return CallPlan(
        call_id=call_id,
        index=0,
        due_ms=0.0,
        caller="c",
        persona=Persona("n", "1", "r", "american", "normal"),
        patience=Patience("normal", 1.0, 1.0, 1),
        turns=(PlannedTurn("u", 0.0),),
        target=TargetSpec(
            url,
            transport="sip",
            dialect="",
            codec=codec,
            srtp=srtp,
            source_ports=source_ports,
            headers=headers or {},
            sip=SipSpec(**{"transport": transport, **sip}),
        ),
        limits=limits or CallLimits(connect_timeout_ms=8_000),
    )


class SipBench:
    """A host with callers on it; with `audio` a media loop, too."""

    def __init__(self, *, audio=False, t1_ms=500, **config):
        self._audio = audio
        self._config = AgentConfig(invites=False, timers=TimerValues(t1_ms=t1_ms), **config)

    async def __aenter__(self):
        self.loop = MediaLoop(64)
        if self._audio:
            self.loop.start()
        self.ports = SourcePorts(self.loop)
        self.http = aiohttp.ClientSession()
        self.queue = SetupQueue()
        self.timers = Timers()
        self.host = SipHost(self._config)
        self.callers = []
        return self

    async def __aexit__(self, *_):
        for caller in self.callers:
            await caller.close()
        await self.host.aclose()
        self.timers.close()
        await self.http.close()
        self.loop.stop()

    def caller(self, call_plan):
        heard = asyncio.Queue()
        caller = SipCaller(call_plan, self.host, self.timers, self.loop, self.ports, self.http, heard.put_nowait)
        self.callers.append(caller)
        return caller, heard

    async def connect(self, url, call_id="call-1", **settings):
        """Place a call without audio unless told otherwise; return the caller and what it posts."""
        if not self._audio:
            settings.setdefault("media", False)
        caller, heard = self.caller(plan(url, call_id, **settings))
        async with self.queue.turn(None) as turn:
            await caller.connect(turn)
        return caller, heard

    async def until_quiet(self):
        """Wait until nothing of any call is left in the user agent."""
        async with asyncio.timeout(20):
            while self.host.agent.calls or self.host.agent.held:
                await asyncio.sleep(0.02)
