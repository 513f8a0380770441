"""The language model: an OpenAI-compatible streaming client. Which server answers is decided at start-up."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import aiohttp

from harness.model.errors import CallquakeError
from target_stack.retry_after import retry_after_s
from target_stack.stages.prompt import Message, chat_messages, completion_prompt

Style = Literal["chat", "completion"]
DATA = b"data:"


class LlmError(CallquakeError):
    """The language model's server refused, broke its protocol or fell silent; says which and where.

    `status`: HTTP's, 0 for none; `retry_after_s`: when it asked to be asked again, None where it did not say.
    """

    def __init__(self, text: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after_s = retry_after_s


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
        self._in_flight = 0
        self._http: aiohttp.ClientSession | None = None

    async def stream(self, history: Sequence[Message]) -> AsyncGenerator[str]:
        """Yield text pieces. Leaving the loop early closes the request, which stops the server's generation."""
        path, body = self._request(history)
        address = self._options.url + path
        if self._in_flight >= self._options.max_in_flight:
            # As a server says it that has too many.
            raise LlmError(f"{address}: {self._in_flight} requests are in flight already", status=429)
        self._in_flight += 1
        try:
            async with self._session().post(address, json=body) as response:
                if response.status != 200:
                    said = (await response.text())[:200]
                    raise LlmError(
                        f"{address}: HTTP {response.status}: {said}",
                        status=response.status,
                        retry_after_s=retry_after_s(response.headers.get("Retry-After")),
                    )
                async with aclosing(_events(response)) as events:
                    async for event in events:
                        yield _piece(event, address)
        except TimeoutError as error:
            raise LlmError(f"{address}: silent for {self._options.timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise LlmError(f"{address}: {error}") from error
        finally:
            self._in_flight -= 1

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

    def _request(self, history: Sequence[Message]) -> tuple[str, dict[str, Any]]:
        options = self._options
        body: dict[str, Any] = {
            "model": options.model,
            "stream": True,
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
        }
        if options.style == "completion":
            return "/v1/completions", body | {"prompt": completion_prompt(history), "stop": ["\n"]}
        return "/v1/chat/completions", body | {"messages": chat_messages(history)}

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
            raise LlmError(f"{address}: {chunk['error']}")
        choices = chunk["choices"]
        choice = choices[0] if choices else {}
        return choice.get("text") or (choice.get("delta") or {}).get("content") or ""
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise LlmError(f"{address}: not a completion chunk: {event[:120]!r}") from error
