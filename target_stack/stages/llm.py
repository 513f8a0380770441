"""The language model: an OpenAI-compatible streaming client. Which server answers is decided at start-up."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from harness.model.clock import monotonic_ns, ms_between
from harness.model.errors import CallquakeError
from target_stack.context.overflow import Overflow, overflow_of
from target_stack.retry_after import retry_after_s
from target_stack.stages.prompt import SYSTEM, Message, Style, chat_messages, completion_prompt

DATA = b"data:"
# Of a refusal's text; vLLM's about length has some 300 characters.
LONGEST_REFUSAL = 1000
# Answered with one token, to see that the model is there.
HELLO = (Message("user", "Hello."),)


class LlmError(CallquakeError):
    """The language model's server refused, broke its protocol or fell silent; says which and where.

    `status`: HTTP's, 0 for none; `retry_after_s`: when it asked to be asked again, None where it did not say.
    """

    def __init__(self, text: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after_s = retry_after_s


class ContextOverflowError(LlmError):
    """The prompt is longer than the server's context. `limit`, `asked`: in tokens, None where it did not tell."""

    def __init__(self, text: str, overflow: Overflow, *, status: int = 400) -> None:
        super().__init__(text, status=status)
        self.limit = overflow.limit
        self.asked = overflow.asked


class LanguageModel(Protocol):
    """Streams a reply to a conversation; shared by all calls."""

    description: str

    def stream(self, history: Sequence[Message]) -> AsyncGenerator[str]:
        """Yield the reply's text as it is written. Raises LlmError."""

    async def aclose(self) -> None:
        """Drop the connections."""


@dataclass(frozen=True, slots=True)
class LlmOptions:
    """How the server is asked. `timeout_s` bounds the silence between two pieces, not the whole reply."""

    url: str
    style: Style = "chat"
    model: str = "default"
    # For chat: what the model is told to be.
    system: str = SYSTEM
    max_tokens: int = 28
    temperature: float = 0.2
    timeout_s: float = 15.0
    api_key: str = ""
    # Requests at once; one more is refused, as a turn that waits behind them all is lost anyway.
    max_in_flight: int = 32
    # Off for servers that close idle connections without saying so: a request sent into that moment is lost.
    keep_alive: bool = False


class OpenAiClient:
    """Streams `/v1/chat/completions`, or `/v1/completions` with a few-shot prompt for base models."""

    def __init__(self, options: LlmOptions, description: str) -> None:
        self.description = description
        self._options = options
        self._http: aiohttp.ClientSession | None = None
        # Requests now.
        self.in_flight = 0
        # When a piece of a reply last came; 0: never.
        self.answered_ns = 0

    def stream(self, history: Sequence[Message]) -> AsyncGenerator[str]:
        """Yield text pieces. Leaving the loop early closes the request, which stops the server's generation."""
        return self._stream(history, self._options.max_tokens)

    async def one_token(self) -> float:
        """Have the model write one token; return how long that took in ms. Raises LlmError."""
        began_ns = monotonic_ns()
        async with aclosing(self._stream(HELLO, 1)) as pieces:
            if not [piece async for piece in pieces]:
                raise LlmError(f"{self._options.url}: answered without a token")
        return ms_between(began_ns, monotonic_ns())

    async def _stream(self, history: Sequence[Message], max_tokens: int) -> AsyncGenerator[str]:
        path, body = self._request(history, max_tokens)
        address = self._options.url + path
        if self.in_flight >= self._options.max_in_flight:
            # As a server says it that has too many.
            raise LlmError(f"{address}: {self.in_flight} requests are in flight already", status=429)
        self.in_flight += 1
        try:
            async with self._session().post(address, json=body) as response:
                if response.status != 200:
                    raise await _refusal(response, address)
                async with aclosing(_events(response)) as events:
                    async for event in events:
                        piece = _piece(event, address)
                        self.answered_ns = monotonic_ns()
                        yield piece
        except TimeoutError as error:
            raise LlmError(f"{address}: silent for {self._options.timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise LlmError(f"{address}: {error}") from error
        finally:
            self.in_flight -= 1

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=self._options.timeout_s)
            key = self._options.api_key
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=not self._options.keep_alive),
                timeout=timeout,
                headers={"Authorization": f"Bearer {key}"} if key else {},
            )
        return self._http

    def _request(self, history: Sequence[Message], max_tokens: int) -> tuple[str, dict[str, Any]]:
        options = self._options
        body: dict[str, Any] = {
            "model": options.model,
            "stream": True,
            "max_tokens": max_tokens,
            "temperature": options.temperature,
        }
        if options.style == "completion":
            return "/v1/completions", body | {"prompt": completion_prompt(history), "stop": ["\n"]}
        if options.style == "plain":
            return "/v1/completions", body | {"prompt": history[-1].text, "stop": ["\n\n"]}
        return "/v1/chat/completions", body | {"messages": chat_messages(history, options.system)}

    async def aclose(self) -> None:
        """Close the connection pool."""
        if self._http is not None:
            await self._http.close()


class ScriptedLlm:
    """Replies with the given texts in turn, word by word, the last one for ever; an Exception is raised instead."""

    description = "scripted"

    def __init__(self, replies: Sequence[str | Exception]) -> None:
        self._replies = list(replies)
        self.asked: list[Sequence[Message]] = []

    async def stream(self, history: Sequence[Message]) -> AsyncGenerator[str]:
        """Yield the next reply."""
        reply = self._replies[min(len(self.asked), len(self._replies) - 1)]
        self.asked.append(tuple(history))
        if isinstance(reply, Exception):
            raise reply
        for word in reply.split(" "):
            yield word + " "

    async def aclose(self) -> None:
        """Nothing to drop."""


async def _refusal(response: aiohttp.ClientResponse, address: str) -> LlmError:
    """Return what a status other than 200 means."""
    said = (await response.content.read(LONGEST_REFUSAL)).decode(errors="replace")
    text = f"{address}: HTTP {response.status}: {said[:300]}"
    if (overflow := overflow_of(response.status, said)) is not None:
        return ContextOverflowError(text, overflow, status=response.status)
    wait_s = retry_after_s(response.headers.get("Retry-After"))
    return LlmError(text, status=response.status, retry_after_s=wait_s)


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """Yield the payload of each server-sent event until [DONE]."""
    async for line in response.content:
        if not line.startswith(DATA):
            continue
        payload = line[len(DATA) :].strip()
        if payload == b"[DONE]":
            return
        yield payload


def _piece(event: bytes, address: str) -> str:
    """Return the text of one streamed chunk, "" for one that carries none."""
    try:
        chunk = json.loads(event)
        if "error" in chunk:
            raise _told_in_stream(chunk["error"], address)
        choices = chunk["choices"]
        choice = choices[0] if choices else {}
        return choice.get("text") or (choice.get("delta") or {}).get("content") or ""
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise LlmError(f"{address}: not a completion chunk: {event[:120]!r}") from error


def _told_in_stream(error: object, address: str) -> LlmError:
    """Return an error that came after the 200, in the stream."""
    text = f"{address}: {error}"
    overflow = overflow_of(400, str(error))
    return LlmError(text) if overflow is None else ContextOverflowError(text, overflow)
