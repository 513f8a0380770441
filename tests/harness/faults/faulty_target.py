"""A target without calls: /healthz, the bundled agent's own admin API, and stages asked ten times a second for a call.

`python faulty_target.py [TOKEN]` prints its URL and serves until its stdin ends. GET /state asks each stage once, its
clock, disk, database and TLS, and tells what they said.
"""

import asyncio
import contextlib
import hashlib
import ssl
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web
from certificate_files import tls_listener

from target_stack.call_scope import CallScope, enter_scope
from target_stack.chaos.admin import Admin
from target_stack.chaos.chaos import Chaos
from target_stack.chaos.resource_kinds import MemoryGrowth
from target_stack.gate import Gate
from target_stack.stages.llm import ScriptedLlm
from target_stack.stages.prompt import Message
from target_stack.stages.stt import ScriptedStt
from target_stack.stages.tts import ScriptedTts

INTERVAL_S = 0.1
# Longer than any answer here takes, shorter than any fault of the tests holds one.
SLOW_S = 1.0


class Process:
    """A stage's process, scripted."""

    is_up = True

    async def kill(self):
        self.is_up = False

    async def start(self):
        self.is_up = True
        return "http://127.0.0.1:1"


class Agent:
    """The stages behind their faults, and what else faults can take hold of."""

    def __init__(self, folder):
        self.chaos = chaos = Chaos()
        self.stt, self.tts = chaos.stt(ScriptedStt(["hello"])), chaos.tts(ScriptedTts())
        self.llm = chaos.llm(ScriptedLlm(["hello there"]))
        self.processes = {stage: Process() for stage in ("stt", "llm", "tts")}
        for stage, process in self.processes.items():
            chaos.runs_in(stage, process)
        chaos.parts.disk, chaos.parts.database = Gate(), Gate()
        chaos.parts.tls = tls_listener(folder)
        self.number = 0

    async def ask(self, stage):
        """Return what a stage says to a new call."""
        self.number += 1
        enter_scope(CallScope(f"call-{self.number:06d}", 1, 0))
        match stage:
            case "stt":
                return (await self.stt.transcribe([])).text
            case "llm":
                return "".join([piece async for piece in self.llm.stream([])])
            case _:
                return len((await self.tts.synthesise("hello")).samples)

    async def told(self, stage):
        """Return the same in words, whatever becomes of it."""
        try:
            async with asyncio.timeout(SLOW_S):
                # A task of its own: the scope is a call's.
                return await asyncio.create_task(self.ask(stage))
        except TimeoutError:
            return "slow"
        except Exception as error:  # noqa: BLE001 - told, whatever it is
            return type(error).__name__

    async def state(self):
        parts = self.chaos.parts
        enter_scope(CallScope("state", 1, 0))
        return {
            "faults": [fault["kind"] for fault in self.chaos.states()],
            "stages": {stage: await self.told(stage) for stage in self.processes},
            "processes": {stage: process.is_up for stage, process in self.processes.items()},
            "is_clock_right": abs((parts.clock.now() - datetime.now(UTC)).total_seconds()) < 1,
            "disk": refusal(parts.disk),
            "database": refusal(parts.database),
            "certificate": await asyncio.to_thread(shown_certificate, parts.tls.context),
            "turns_of_history": len(self.chaos.history([Message("user", "hello")])),
            "held_mib": sum(len(fault._held) for fault in self.chaos.of_kind(MemoryGrowth)),
        }


def refusal(gate):
    try:
        gate.pass_through()
    except Exception as error:  # noqa: BLE001 - told, whatever it is
        return str(error).partition(",")[0]
    return ""


def shown_certificate(context):
    """Return the digest of what a client of this context is shown, by a handshake in memory."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return hashlib.sha256(client.getpeercert(binary_form=True)).hexdigest()


async def keep_asking(agent, calls):
    """Have a new call every INTERVAL_S ask each stage once."""

    async def call():
        for stage in agent.processes:
            with contextlib.suppress(Exception):
                await agent.ask(stage)

    while True:
        calls.add(task := asyncio.create_task(call()))
        task.add_done_callback(calls.discard)
        await asyncio.sleep(INTERVAL_S)


async def main(token, folder):
    agent, calls = Agent(folder), set()
    app = web.Application()
    app.add_routes(Admin(agent.chaos, token).routes())

    async def healthz(_request):
        return web.json_response({"name": "faulty target", "simulated": ["everything: a test"]})

    async def state(_request):
        return web.json_response(await agent.state())

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/state", state)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    asking = asyncio.create_task(keep_asking(agent, calls))
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    asking.cancel()
    for one in calls:
        one.cancel()
    await agent.chaos.aclose()
    await runner.cleanup()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "", Path(name)))
