"""A speech stage as a server of its own: `callquake serve stt | tts`.

    agents ─► POST /v1/audio/... ─► the stage's own queue (threads or batches) ─► model
              GET /healthz  /readyz  /metrics  /v1/models

The queue is the agent's, with the sentences of every agent that asks: order by who has been waiting longest, deadline,
shedding, batches. Full: 429 with Retry-After. A request whose client has gone is withdrawn. Told to end, it is not
ready any more, and answers what is under way first.
"""

import asyncio
import contextlib
import hmac
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web

from target_stack.config import StackConfig
from target_stack.loading import Loading
from target_stack.own_models import OwnModels, stt_description, tts_description
from target_stack.remote_config import TIMEOUT_S
from target_stack.serving.audio_files import MOST_BYTES
from target_stack.serving.routes import (
    HalfwayError,
    Speeches,
    Transcriptions,
    answer_to,
    error_answer,
    in_scope,
    route_of,
)
from target_stack.stages.stt import SpeechToText
from target_stack.stages.tts import TextToSpeech
from target_stack.telemetry.batch_stats import BatchStats, render_batches
from target_stack.telemetry.exposition import by, counter, gauge
from target_stack.telemetry.gpu import GpuWatch
from target_stack.telemetry.stats import Stats

_log = logging.getLogger(__name__)
# An agent gives a request up after so long.
DRAIN_S = TIMEOUT_S
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SpeechServer:
    """One stage, "stt" or "tts", over HTTP. `start` listens, `load` ends when requests are taken."""

    def __init__(self, stage: str, config: StackConfig, key: str = "") -> None:
        """`key`: what a request's bearer token must be; "": none is asked for."""
        self._stage = stage
        self._config = config
        self._key = key
        self.stats = Stats()
        self.batches: dict[str, BatchStats] = {}
        self._own = OwnModels(config, self.stats, self.batches)
        described = stt_description(config) if stage == "stt" else tts_description(config)
        self._description = described
        self._loading = Loading({stage: described}, (), config.profile)
        self._model: SpeechToText | TextToSpeech | None = None
        self._serve: _Serve | None = None
        self._gpus = GpuWatch()
        self._runner: web.AppRunner | None = None
        self.answers: Counter[str] = Counter()
        self.active = 0
        self._is_ending = False
        self._is_idle = asyncio.Event()

    async def start(self) -> int:
        """Listen; return the bound port. OSError when the address cannot be bound."""
        await self._gpus.start()
        app = web.Application(client_max_size=MOST_BYTES + 65_536)
        app.add_routes(
            [
                web.post(route_of(self._stage), self._post),
                web.get("/healthz", self._get_health),
                web.get("/readyz", self._get_ready),
                web.get("/metrics", self._get_metrics),
                web.get("/v1/models", self._get_models),
            ]
        )
        # A client that goes, as an agent whose caller speaks on, withdraws what it had asked for.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._config.host, self._config.port).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        port: int = self._runner.addresses[0][1]
        return port

    async def load(self) -> None:
        """Find or fetch the weights, load and warm the model. Raises what that raises."""
        await self._loading.load(self._stage, self._load())

    async def _load(self) -> None:
        if self._stage == "stt":
            self.use(stt := await self._own.stt(), Transcriptions(stt).serve)
        else:
            self.use(tts := await self._own.tts(), Speeches(tts, self._config.voice).serve)

    def use(self, model: SpeechToText | TextToSpeech, serve: _Serve) -> None:
        """Serve requests with this model from now on."""
        self._model, self._serve = model, in_scope(serve)

    async def drain(self, limit_s: float = DRAIN_S) -> None:
        """Say that it is not ready any more, and wait until what is under way is answered, or for `limit_s`."""
        self._is_ending = True
        if self.active:
            self._is_idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_idle.wait(), limit_s)

    async def aclose(self) -> None:
        """Stop listening and free the model."""
        self._own.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._model is not None:
            await self._model.aclose()
        await self._gpus.aclose()

    # --- routes ----------------------------------------------------------------------------------------------------

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self.active += 1
        ending = "cancelled"
        try:
            response, ending = await self._answer(request)
            return response
        finally:
            self.active -= 1
            self.answers[ending] += 1
            if not self.active:
                self._is_idle.set()

    async def _answer(self, request: web.Request) -> tuple[web.StreamResponse, str]:
        """Return the answer, and what it is counted as."""
        try:
            response = await self._serve_if_loaded(request)
        except ConnectionResetError:
            # Its client is gone.
            raise
        except HalfwayError as halfway:
            _log.error("%s failed halfway", self._stage, exc_info=halfway.__cause__)
            return halfway.cut(request), "cut"
        except Exception as error:  # noqa: BLE001 - this request's answer; the server goes on
            response = self._failure(error)
        return response, str(response.status)

    async def _serve_if_loaded(self, request: web.Request) -> web.StreamResponse:
        if not self._is_let_in(request):
            return _not_let_in()
        if self._serve is None:
            return error_answer(503, f"{self._stage} is loading", "server_error", 5_000.0)
        return await self._serve(request)

    def _failure(self, error: Exception) -> web.Response:
        told = answer_to(error)
        if told is None:
            _log.error("%s failed", self._stage, exc_info=error)
            told = error_answer(500, f"{self._stage} failed: {type(error).__name__}", "server_error")
        return told

    def _is_let_in(self, request: web.Request) -> bool:
        if not self._key:
            return True
        return hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {self._key}".encode())

    async def _get_health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive", "stage": self._stage, "model": self._description})

    async def _get_ready(self, _request: web.Request) -> web.Response:
        readiness = self._loading.snapshot()
        is_ready = readiness.ready and not self._is_ending
        body = {"ready": is_ready, "stages": {self._stage: "ending"} if self._is_ending else readiness.stages}
        if is_ready:
            return web.json_response(body)
        return web.json_response(body, status=503, headers={"Retry-After": "5"})

    async def _get_models(self, request: web.Request) -> web.Response:
        # Where the key is told right from wrong, without work: an agent's readiness asks here.
        if not self._is_let_in(request):
            return _not_let_in()
        model = {"id": "default", "object": "model", "created": 0, "owned_by": "callquake"}
        return web.json_response({"object": "list", "data": [model]})

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        stage = {"stage": self._stage}
        answers = [({**stage, **labels}, n) for labels, n in by("answer", self.answers)]
        queues = {**self.stats.queue_depths, **{name: one.depth for name, one in self.batches.items()}}
        text = (
            counter("speech_requests", "Requests of a speech server by their answer.", answers)
            + gauge("speech_requests_active", "Requests at work now.", [(stage, self.active)])
            + gauge("queue_depth", "Waiting now.", by("queue", queues))
            + counter("refused", "Work refused because a queue was full.", by("queue", self.stats.refused))
            + render_batches(self.batches)
            + self._gpus.metrics()
        )
        return web.Response(body=text.encode(), headers={"Content-Type": _METRICS_TYPE})


def _not_let_in() -> web.Response:
    return error_answer(401, "the bearer token is missing or wrong", "invalid_request_error")
