"""A stand-in for API providers: OpenAI's three endpoints on loopback, with a latency and a rate limit of their own.

It neither understands nor speaks: transcripts and replies are scripted, speech is a tone. `failing` makes it answer
with that status, as a provider that is down. Where the stack uses it, /healthz says so.

`python -m target_stack.routing.standin --port 8091 --per-minute 60` runs one by itself.
"""

import argparse
import asyncio
import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from aiohttp import web

from harness.model.clock import NS_PER_S, monotonic_ns
from target_stack.frames import SPEECH_RATE
from target_stack.routing.token_bucket import TokenBucket
from target_stack.stages.scripted_llm import REPLIES

# As fast as people read aloud.
MS_A_CHARACTER = 60
LARGEST_REQUEST = 64 * 1024 * 1024

_Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class StandInRules:
    """How this provider behaves. Limits hold for each of its three endpoints by itself; 0: none."""

    latency_ms: float = 80.0
    per_minute: float = 0.0
    burst: int = 10
    at_once: int = 0
    word_ms: float = 10.0


class StandIn:
    """One provider's server."""

    def __init__(
        self,
        rules: StandInRules | None = None,
        *,
        replies: Sequence[str] = REPLIES,
        transcript: str = "could you say that again please",
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.rules = rules or StandInRules()
        self._replies = replies
        self._transcript = transcript
        self._now = now
        self._buckets = {stage: TokenBucket(self.rules.per_minute, self.rules.burst) for stage in ("stt", "llm", "tts")}
        self._at_once: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None
        self.url = ""
        # A status to answer everything with; 0: none.
        self.failing = 0
        # By stage: requests, and those refused with 429.
        self.requests: Counter[str] = Counter()
        self.limited: Counter[str] = Counter()

    async def start(self, port: int = 0) -> str:
        """Listen on loopback and return the base URL."""
        app = web.Application(client_max_size=LARGEST_REQUEST)
        app.router.add_post("/v1/audio/transcriptions", self._guarded("stt", self._transcribe))
        app.router.add_post("/v1/chat/completions", self._guarded("llm", self._chat))
        app.router.add_post("/v1/audio/speech", self._guarded("tts", self._speak))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        host, bound = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{bound}"
        return self.url

    async def aclose(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _guarded(self, stage: str, serve: _Serve) -> _Serve:
        async def guarded(request: web.Request) -> web.StreamResponse:
            self.requests[stage] += 1
            if self.failing:
                return web.json_response({"error": {"message": "stand-in is failing"}}, status=self.failing)
            if not self._admits(stage):
                self.limited[stage] += 1
                return self._too_many(stage)
            self._at_once[stage] += 1
            try:
                await asyncio.sleep(self.rules.latency_ms / 1000)
                return await serve(request)
            except ConnectionResetError:
                # Who asked has gone, as at a barge-in or when a draft is superseded.
                return web.Response()
            finally:
                self._at_once[stage] -= 1

        return guarded

    def _admits(self, stage: str) -> bool:
        if self.rules.at_once and self._at_once[stage] >= self.rules.at_once:
            return False
        return self._buckets[stage].take(self._now())

    def _too_many(self, stage: str) -> web.Response:
        wait_s = math.ceil(self._buckets[stage].wait_ns(self._now()) / NS_PER_S)
        error = {"error": {"message": "rate limit reached", "type": "rate_limit_exceeded"}}
        return web.json_response(error, status=429, headers={"Retry-After": str(max(1, wait_s))})

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        if not isinstance(form.get("file"), web.FileField):
            return web.json_response({"error": {"message": "no file"}}, status=400)
        return web.json_response({"text": self._transcript})

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        text = (await request.json()).get("input", "")
        if not text:
            return web.json_response({"error": {"message": "no input"}}, status=400)
        times = np.arange(len(text) * SPEECH_RATE * MS_A_CHARACTER // 1000) / SPEECH_RATE
        samples = (np.sin(2 * np.pi * 440 * times) * 12_000).astype("<i2")
        return web.Response(body=samples.tobytes(), content_type="audio/pcm")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        messages = (await request.json())["messages"]
        turn = sum(message["role"] == "user" for message in messages)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in self._replies[(turn - 1) % len(self._replies)].split():
            chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": word + " "}}]}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            await asyncio.sleep(self.rules.word_ms / 1000)
        await response.write(b"data: [DONE]\n\n")
        return response


async def _serve(port: int, rules: StandInRules) -> None:
    server = StandIn(rules)
    print(f"stand-in provider: {await server.start(port)}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await server.aclose()


def main() -> None:
    """Run one until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m target_stack.routing.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=8091, help="%(default)s")
    parser.add_argument("--latency-ms", type=float, default=80.0, help="%(default)g")
    parser.add_argument("--per-minute", type=float, default=0.0, help="requests a stage; 0 for no limit (%(default)g)")
    parser.add_argument("--burst", type=int, default=10, help="%(default)s")
    options = parser.parse_args()
    rules = StandInRules(options.latency_ms, options.per_minute, options.burst)
    try:
        asyncio.run(_serve(options.port, rules))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
