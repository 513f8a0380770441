"""`--llm scripted`: an OpenAI-compatible streaming server with fixed replies, so that the same client code runs."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from target_stack.context.tokens import MESSAGE_TOKENS, PROMPT_TOKENS, estimate_tokens

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
    many run beside it. `first_token_s` and `token_s` set the pace. With `context_tokens` it has a context's limit and
    refuses what is longer in vLLM's words; then it also has `/tokenize` and tells its limit, as vLLM does.
    """

    description = "scripted replies"

    def __init__(
        self,
        replies: Sequence[str] = REPLIES,
        *,
        first_token_s: float = 0.08,
        token_s: float = 0.01,
        status: int = 200,
        context_tokens: int = 0,
        count: Callable[[str], int] = estimate_tokens,
    ) -> None:
        self._replies = replies
        self._first_token_s = first_token_s
        self._token_s = token_s
        self._context_tokens = context_tokens
        self._count = count
        self._runner: web.AppRunner | None = None
        self.url = ""
        # What to answer with; anything but 200 is a refusal, with `headers`.
        self.status = status
        self.headers: dict[str, str] = {}
        self.requests = 0
        # Requests refused because they were too long, and the longest prompt that was not.
        self.overflows = 0
        self.longest_prompt = 0

    async def start(self) -> str:
        """Listen on a free loopback port and return the base URL."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completion)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/tokenize", self._tokenize)
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

    async def _models(self, _request: web.Request) -> web.StreamResponse:
        limit = {"max_model_len": self._context_tokens} if self._context_tokens else {}
        return web.json_response({"object": "list", "data": [{"id": "default", "object": "model", **limit}]})

    async def _tokenize(self, request: web.Request) -> web.StreamResponse:
        if not self._context_tokens:
            return web.json_response({"detail": "Not Found"}, status=404)
        return web.json_response({"count": self._count((await request.json())["prompt"])})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        turn = sum(message["role"] == "user" for message in body["messages"])
        asked = sum(self._count(message["content"]) + MESSAGE_TOKENS for message in body["messages"])
        return await self._stream(request, body, asked, turn, lambda text: {"delta": {"content": text}})

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        turn = body["prompt"].count("Customer:")
        return await self._stream(request, body, self._count(body["prompt"]), turn, lambda text: {"text": text})

    async def _stream(
        self, request: web.Request, body: Mapping[str, Any], asked: int, turn: int, choice: Any
    ) -> web.StreamResponse:
        self.requests += 1
        if self.status != 200:
            refusal = {"error": {"message": "scripted failure"}}
            return web.json_response(refusal, status=self.status, headers=self.headers)
        asked += PROMPT_TOKENS
        if self._context_tokens and asked + body["max_tokens"] > self._context_tokens:
            return self._too_long(asked, body["max_tokens"])
        self.longest_prompt = max(self.longest_prompt, asked)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        # Who asked goes in the middle at a barge-in, and when a draft is superseded.
        with contextlib.suppress(ConnectionResetError):
            async for word in self._words(self._replies[(turn - 1) % len(self._replies)]):
                chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, **choice(word)}]}
                await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            await response.write(b"data: [DONE]\n\n")
        return response

    def _too_long(self, asked: int, reply: int) -> web.Response:
        self.overflows += 1
        message = (
            f"This model's maximum context length is {self._context_tokens} tokens. However, you requested "
            f"{asked + reply} tokens ({asked} in the messages, {reply} in the completion). Please reduce the length of "
            "the messages or completion."
        )
        error = {"message": message, "type": "BadRequestError", "param": None, "code": 400}
        return web.json_response({"error": error}, status=400)

    async def _words(self, reply: str) -> AsyncIterator[str]:
        await asyncio.sleep(self._first_token_s)
        for number, word in enumerate(reply.split(" ")):
            if number:
                await asyncio.sleep(self._token_s)
            yield f" {word}" if number else word
