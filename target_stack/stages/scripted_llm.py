"""`--llm scripted`: an OpenAI-compatible streaming server with fixed replies, so that the same client code runs."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import web

# About two seconds of speech each: speaking costs 0.7 s of a core per second, more than all else in a turn.
REPLIES = (
    "Of course, what is your account number?",
    "Thank you, I have found it, all is in order.",
    "I have changed that for you, anything else?",
    "The next appointment is on Thursday at three.",
    "I have sent you all the details.",
    "Thank you for calling, have a lovely day.",
)


class ScriptedLlmServer:
    """Serves `/v1/chat/completions` and `/v1/completions`, streamed word by word.

    The reply follows from the request's own number of user turns, so a call always hears the same sequence, however
    many run beside it. `first_token_s` and `token_s` set the pace.
    """

    description = "scripted replies"

    def __init__(
        self, replies: Sequence[str] = REPLIES, *, first_token_s: float = 0.08, token_s: float = 0.01, status: int = 200
    ) -> None:
        self._replies = replies
        self._first_token_s = first_token_s
        self._token_s = token_s
        self._status = status
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.requests = 0

    async def start(self) -> str:
        """Listen on a free loopback port and return the base URL."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completion)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self.url

    async def aclose(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        turn = sum(message["role"] == "user" for message in body["messages"])
        return await self._stream(request, turn, lambda text: {"delta": {"content": text}})

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        turn = body["prompt"].count("Customer:")
        return await self._stream(request, turn, lambda text: {"text": text})

    async def _stream(self, request: web.Request, turn: int, choice: Any) -> web.StreamResponse:
        self.requests += 1
        if self._status != 200:
            return web.json_response({"error": {"message": "scripted failure"}}, status=self._status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for word in self._words(self._replies[(turn - 1) % len(self._replies)]):
            chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, **choice(word)}]}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _words(self, reply: str) -> AsyncIterator[str]:
        await asyncio.sleep(self._first_token_s)
        for number, word in enumerate(reply.split(" ")):
            if number:
                await asyncio.sleep(self._token_s)
            yield f" {word}" if number else word
