"""A target without calls: /healthz, the bundled agent's own admin API, and stages asked ten times a second for a call.

`python faulty_target.py [TOKEN]` prints its URL and serves until its stdin ends.
"""

import asyncio
import contextlib
import sys

from aiohttp import web

from target_stack.call_scope import CallScope, enter_scope
from target_stack.chaos.admin import Admin
from target_stack.chaos.chaos import Chaos
from target_stack.stages.llm import ScriptedLlm
from target_stack.stages.stt import ScriptedStt
from target_stack.stages.tts import ScriptedTts

INTERVAL_S = 0.1


async def ask(chaos, calls):
    """Have a new call every INTERVAL_S ask each stage once."""
    stt, llm, tts = chaos.stt(ScriptedStt(["hello"])), chaos.llm(ScriptedLlm(["hello there"])), chaos.tts(ScriptedTts())

    async def call(number):
        enter_scope(CallScope(f"call-{number:06d}", 1, 0))
        with contextlib.suppress(Exception):
            await stt.transcribe([])
        with contextlib.suppress(Exception):
            [piece async for piece in llm.stream([])]
        with contextlib.suppress(Exception):
            await tts.synthesise("hello")

    number = 0
    while True:
        number += 1
        calls.add(task := asyncio.create_task(call(number)))
        task.add_done_callback(calls.discard)
        await asyncio.sleep(INTERVAL_S)


async def main(token):
    chaos, calls = Chaos(), set()
    app = web.Application()
    app.add_routes(Admin(chaos, token).routes())

    async def healthz(_request):
        return web.json_response({"name": "faulty target", "simulated": ["everything: a test"]})

    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    asking = asyncio.create_task(ask(chaos, calls))
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    asking.cancel()
    for one in calls:
        one.cancel()
    await chaos.aclose()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))
