"""The agent's side: recogniser and voice on servers of their own (`up --stt-url`, `--tts-url`)."""

import asyncio
import time

import aiohttp

from harness.model.clock import monotonic_ns
from harness.model.errors import CallquakeError
from target_stack.call_scope import call_scope
from target_stack.frames import Pcm
from target_stack.remote_config import KEY_VARIABLE
from target_stack.routing.failures import ProviderError
from target_stack.routing.http_speech import HttpClient, HttpStt, HttpTts, SpeechEndpoint
from target_stack.scope_headers import headers_of
from target_stack.stages.stt import Transcription
from target_stack.stages.worker import GivesWayError

_OK, _TOO_MANY = 200, 429
_NOT_LET_IN = (401, 403)
_ASK_EVERY_S = 5.0
_ASK_TIMEOUT_S = 2.0
_FIRST_RETRY_S = 0.2


class SpeechServerError(CallquakeError):
    """A speech server did not become ready in time, or does not let this agent in."""


class ServerWatch:
    """Asks a server whether it is ready and lets us in: until it does, then every few seconds."""

    def __init__(self, url: str, api_key: str = "") -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._fault = "was not asked yet"
        self._task: asyncio.Task[None] | None = None

    def fault(self) -> str:
        """Return what is wrong with it, "" for nothing."""
        return self._fault

    async def start(self, limit_s: float) -> None:
        """Return once it is ready, and watch it from then on, in one task however often. Raises SpeechServerError."""
        deadline, wait_s = time.monotonic() + limit_s, _FIRST_RETRY_S
        async with self._session() as http:
            while fault := await self._ask(http):
                if time.monotonic() + wait_s > deadline:
                    raise SpeechServerError(f"{self._url} was not ready within {limit_s:g} s: {fault}")
                await asyncio.sleep(wait_s)
                wait_s = min(_ASK_EVERY_S, wait_s * 2)
            # No waiting makes it right.
            if refused := await self._ask_key(http):
                raise SpeechServerError(refused)
        self._fault = ""
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name=f"watch {self._url}")

    async def _watch(self) -> None:
        async with self._session() as http:
            while True:
                await asyncio.sleep(_ASK_EVERY_S)
                self._fault = await self._ask(http) or await self._ask_key(http)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASK_TIMEOUT_S), headers=self._headers)

    async def _ask(self, http: aiohttp.ClientSession) -> str:
        """Return why it is not ready. Whoever asks is answered: probes have no key."""
        status, said = await self._get(http, "/readyz")
        return "" if status == _OK else f"{self._url}: {f'HTTP {status}: ' if status else ''}{said}"

    async def _ask_key(self, http: aiohttp.ClientSession) -> str:
        """Return why we are not let in; a server that has no list of models is taken to let us."""
        status, _said = await self._get(http, "/v1/models")
        if status not in _NOT_LET_IN:
            return ""
        why = f"the key in {KEY_VARIABLE} is not its own" if self._headers else f"it asks for a key ({KEY_VARIABLE})"
        return f"{self._url}: HTTP {status}: {why}"

    async def _get(self, http: aiohttp.ClientSession, path: str) -> tuple[int, str]:
        """Return the status and the first words of the answer; (0, why) where there was none."""
        try:
            async with http.get(self._url + path) as response:
                said = await response.content.read(200)
                return response.status, said.decode(errors="replace")
        except TimeoutError:
            return 0, f"no answer in {_ASK_TIMEOUT_S:g} s"
        except aiohttp.ClientError as error:
            return 0, str(error)

    async def aclose(self) -> None:
        """Ask no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})


class _OnItsServer(HttpClient):
    """What both have of being elsewhere: readiness, and each request's place in the queue."""

    # Its model is loaded and thrown away by others.
    is_remote = True

    def __init__(self, endpoint: SpeechEndpoint, *, start_s: float = 300.0) -> None:
        super().__init__(endpoint, f"at {endpoint.url}")
        self._watch = ServerWatch(endpoint.url, endpoint.api_key)
        self._start_s = start_s
        self.fault = self._watch.fault

    async def load(self) -> None:
        """Wait for the server. Raises SpeechServerError."""
        await self._watch.start(self._start_s)

    def _headers(self) -> dict[str, str]:
        return headers_of(call_scope(), monotonic_ns())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._watch.aclose()
        await super().aclose()


class RemoteStt(_OnItsServer, HttpStt):
    """`SpeechToText` on a server of its own."""

    async def transcribe(self, samples: Pcm) -> Transcription:
        """Return the words. Raises ProviderError, or GivesWayError for a partial that the server has no time for."""
        try:
            return await super().transcribe(samples)
        except ProviderError as error:
            scope = call_scope()
            if error.status == _TOO_MANY and scope is not None and scope.work == "partial":
                raise GivesWayError(str(error)) from error
            raise


class RemoteTts(_OnItsServer, HttpTts):
    """`TextToSpeech` on a server of its own, whose batch queue has the sentences of every agent that asks it."""
