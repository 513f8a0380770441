"""Calls without audio, whole, from plan to record: as plain ones and as the user agent's."""

import asyncio
import json
import re

import aiohttp
from sip_bench import plan

from harness.callers.call import Call, CallContext
from harness.callers.plain.calls import PlainCalls
from harness.callers.plain.row import Row
from harness.callers.setup_queue import SetupQueue
from harness.callers.sip_host import SipHost
from harness.callers.source_ports import SourcePorts
from harness.media.loop import MediaLoop
from harness.media.peer.host import PeerHost
from harness.model.codec import to_json
from harness.model.records import Cause, Outcome
from harness.protocols.sip.config import AgentConfig, TimerValues

PERSONA = ("n", "1", "r", "american", "normal")
STOPPED = (Outcome.INTERRUPTED.value, Cause.OPERATOR.value, "stopped")


class WholeCalls:
    """Places calls one way or the other; `records` by the call's name, `milestones` as they were told."""

    def __init__(self, *, is_plain, t1_ms=500, rows=64):
        self.is_plain = is_plain
        self._config = AgentConfig(invites=False, timers=TimerValues(t1_ms=t1_ms))
        self._rows = rows
        self.records, self.milestones, self.handed = {}, [], []
        self.changed = asyncio.Event()
        self._tasks = set()

    async def __aenter__(self):
        self._loop = MediaLoop(16)
        self.host = SipHost(self._config)
        self._peers = PeerHost(self._loop)
        self._http = aiohttp.ClientSession()
        self.plain = PlainCalls(self.host, self, calls=self._rows, under_way=self._rows, is_on=self.is_plain)
        self.context = CallContext(
            worker="w",
            run_dir=None,
            http=self._http,
            media_loop=self._loop,
            peers=self._peers,
            source_ports=SourcePorts(self._loop),
            setup_queue=SetupQueue(),
            timers=self._peers.timers,
            utterances={},
            clip=None,
            on_turn=None,
            on_milestone=lambda call_id, told: self.milestones.append((call_id, told.name)),
            sip=self.host,
        )
        self.calls = {}
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.plain.close()
        self._peers.close()
        await self.host.aclose()
        await self._http.close()
        self._loop.stop()

    async def place(self, url, *names, due_at_ns=None, **settings):
        """Place calls; return where plain ones went, None where they are not plain."""
        settings.setdefault("media", False)
        settings.setdefault("hold_ms", 0.0)
        like = plan(url, "", **settings)
        rows = [Row(name, i, None, due_at_ns, PERSONA, 0, None) for i, name in enumerate(names)]
        where = await self.plain.open(like, "w")
        left = rows if where is None else self.plain.place(where, rows)
        for row in left:
            self._run(row.call_id, Call(row.plan(like), due_at_ns, self.context))
        return where

    def _run(self, name, call):
        self.calls[name] = call
        task = asyncio.create_task(self._record(name, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _record(self, name, call):
        self._ended(name, to_json(await call.run()))
        del self.calls[name]

    def _ended(self, name, record):
        assert name not in self.records, "one record a call"
        self.records[name] = record
        self.changed.set()

    def interrupt(self, name):
        """End a call as the engine does for its operator."""
        if not self.plain.interrupt(name, STOPPED):
            self.calls[name].interrupt(Cause.OPERATOR, "stopped")

    async def record(self, name):
        async with asyncio.timeout(20):
            while name not in self.records:
                self.changed.clear()
                await self.changed.wait()
        return self.records[name]

    async def until_quiet(self):
        """Wait until nothing of any call is left."""
        async with asyncio.timeout(20):
            while self.host.agent.calls or self.host.agent.held or self.held:
                await asyncio.sleep(0.02)

    @property
    def held(self):
        return sum(line.desk.held for line in self.plain.lines)

    # What the engine does for plain calls.

    def on_plain_connected(self, call_id, at_ns, setup_ms):
        assert at_ns > 0
        assert setup_ms >= 0
        self.milestones.append((call_id, "connected"))

    def on_plain_ended(self, call_id, record):
        self._ended(call_id, json.loads(record))

    def on_plain_due(self, plan, due_at_ns):
        self._run(plan.call_id, Call(plan, due_at_ns, self.context))

    def on_plain_handed(self, plan, due_at_ns, begun):
        self.handed.append(plan.call_id)
        self._run(plan.call_id, Call(plan, due_at_ns, self.context, begun))


def shape(value, name=""):
    """Return a record with what no two calls share replaced by its kind: times, ports, and the SIP Call-ID."""
    if isinstance(value, dict):
        return {key: shape(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [shape(part, name) for part in value]
    if value is not None and (name.endswith(("_ms", "_ns")) or (name == "call_id" and "@" in str(value))):
        return type(value).__name__ if name == "call_id" else "number"
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", value) if isinstance(value, str) else value
