"""What an OpenAI-compatible server says of itself: its context's length, its tokenizer, its model's name.

vLLM tells `max_model_len` beside each model and has `/tokenize` with `prompt`; llama.cpp tells `n_ctx` of a slot under
`/props` and has `/tokenize` with `content`. Others tell nothing: then limits are assumed and tokens estimated.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from harness.model.prometheus_text import samples_of, total_of
from target_stack.telemetry.llm_stats import ServerLoad

Kind = Literal["vLLM", "llama.cpp", "unknown"]
# What a question about itself may take; an answer of theirs is a few kilobytes, vLLM's metrics some hundred.
QUESTION_S = 3.0
LONGEST_ANSWER = 2_000_000


@dataclass(frozen=True, slots=True)
class LlmServerFacts:
    """`limit`: tokens of prompt and reply, None: not told. `models`: names it serves."""

    kind: Kind = "unknown"
    limit: int | None = None
    has_tokenizer: bool = False
    models: tuple[str, ...] = ()

    def model_for(self, asked: str) -> str:
        """Return the name to ask with: who named none, and the server has one, means that."""
        return self.models[0] if asked == "default" and len(self.models) == 1 else asked


class LlmServerDesk:
    """Asks one server about itself."""

    def __init__(self, url: str, api_key: str = "") -> None:
        self._url = url
        self._key = api_key
        self._http: aiohttp.ClientSession | None = None

    async def facts(self, model: str) -> LlmServerFacts:
        """Return what it tells; never raises, since nothing of it must be there."""
        listed = await self._get("/v1/models")
        entries = [entry for entry in _list(_mapping(listed).get("data")) if isinstance(entry, Mapping)]
        names = tuple(str(entry["id"]) for entry in entries if "id" in entry)
        limits = [limit for entry in entries if isinstance(limit := entry.get("max_model_len"), int)]
        asked = LlmServerFacts(models=names).model_for(model)
        if limits:
            counts = await self.tokens("hello", "vLLM", asked) is not None
            return LlmServerFacts("vLLM", min(limits), has_tokenizer=counts, models=names)
        settings = _mapping(_mapping(await self._get("/props")).get("default_generation_settings"))
        slot = settings.get("n_ctx")
        if isinstance(slot, int):
            counts = await self.tokens("hello", "llama.cpp", asked) is not None
            return LlmServerFacts("llama.cpp", slot, has_tokenizer=counts, models=names)
        return LlmServerFacts(models=names)

    async def tokens(self, text: str, kind: Kind, model: str) -> int | None:
        """Return how many tokens a text has by the server's tokenizer, its begin mark not counted; None: it cannot."""
        if kind == "unknown":
            return None
        body = {"content": text} if kind == "llama.cpp" else {"model": model, "prompt": text}
        answer = _mapping(await self._post("/tokenize", body | {"add_special_tokens": False, "add_special": False}))
        count = answer.get("count")
        return count if isinstance(count, int) else (len(_list(answer["tokens"])) if "tokens" in answer else None)

    async def load(self) -> ServerLoad | None:
        """Return its queue by its own metrics; None: it has none, or does not answer."""
        text = await self._text("GET", "/metrics")
        return load_of(text) if text is not None else None

    async def is_healthy(self) -> bool:
        """Return whether /health answers 200."""
        return await self._text("GET", "/health") is not None

    async def _get(self, path: str) -> Any:
        return _parsed(await self._text("GET", path))

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return _parsed(await self._text("POST", path, body))

    async def _text(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str | None:
        with suppress(aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
            async with self._session().request(method, self._url + path, json=body) as response:
                if response.status == 200:
                    return await _bounded(response)
        return None

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            timeout = aiohttp.ClientTimeout(total=QUESTION_S)
            # A server that closes idle connections must not turn a question into a failure.
            connector = aiohttp.TCPConnector(limit=4, force_close=True)
            self._http = aiohttp.ClientSession(timeout=timeout, headers=headers, connector=connector)
        return self._http

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()


def load_of(text: str) -> ServerLoad | None:
    """Return the queue in vLLM's or llama.cpp's Prometheus text, summed over its engines; None: it is not there."""
    samples = samples_of(text)
    for running, waiting in (
        ("vllm:num_requests_running", "vllm:num_requests_waiting"),
        ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    ):
        now, queued = total_of(samples, running), total_of(samples, waiting)
        if now is not None and queued is not None:
            caches = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "llamacpp:kv_cache_usage_ratio")
            used = next((value for name in caches if (value := total_of(samples, name)) is not None), None)
            return ServerLoad(now, queued, used)
    return None


async def _bounded(response: aiohttp.ClientResponse) -> str:
    body = await response.content.read(LONGEST_ANSWER)
    while len(body) < LONGEST_ANSWER and (more := await response.content.read(LONGEST_ANSWER)):
        body += more
    return body[:LONGEST_ANSWER].decode()


def _parsed(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
