"""Speech over HTTP, as OpenAI's audio endpoints have it: `/v1/audio/speech` and `/v1/audio/transcriptions`."""

import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import numpy as np
from pydantic import BaseModel, ValidationError

from harness.model.clock import monotonic_ns, ms_between
from target_stack.frames import INPUT_RATE, Pcm
from target_stack.retry_after import retry_after_s
from target_stack.routing.failures import ProviderError
from target_stack.scope_headers import QUEUE_MS, RETRY_AFTER_MS, number
from target_stack.stages.stt import Transcription
from target_stack.stages.tts import Speech

SAMPLE_BYTES = 2
# Ten minutes of speech; a sentence takes seconds.
LARGEST_ANSWER = 10 * 60 * 24_000 * SAMPLE_BYTES


class _Answer(BaseModel):
    """What a transcription's answer must hold."""

    text: str


@dataclass(frozen=True, slots=True)
class SpeechEndpoint:
    """Where and as whom a provider is asked."""

    url: str
    model: str = "default"
    voice: str = "default"
    api_key: str = ""
    timeout_s: float = 5.0


class HttpClient:
    """A stage that POSTs to one endpoint; connections are kept."""

    def __init__(self, endpoint: SpeechEndpoint, description: str) -> None:
        self.endpoint = endpoint
        self.description = description
        self._http: aiohttp.ClientSession | None = None

    async def load(self) -> None:
        """Nothing to load."""

    def _headers(self) -> dict[str, str]:
        """Return what goes with each request besides the key."""
        return {}

    async def post(self, path: str, **body: object) -> tuple[bytes, Mapping[str, str]]:
        """Return the answer's body and headers. Raises ProviderError."""
        address = self.endpoint.url + path
        try:
            async with self._session().post(address, headers=self._headers(), **body) as response:  # type: ignore[arg-type] # json or data
                headers = response.headers
                if response.status != 200:
                    said = (await response.content.read(200)).decode(errors="replace")
                    raise ProviderError(
                        f"{address}: HTTP {response.status}: {said}",
                        status=response.status,
                        retry_after_s=asked_retry_s(headers),
                    )
                answer = await response.content.read(LARGEST_ANSWER + 1)
                while len(answer) <= LARGEST_ANSWER and (more := await response.content.read(LARGEST_ANSWER)):
                    answer += more
        except TimeoutError as error:
            raise ProviderError(f"{address}: no answer in {self.endpoint.timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise ProviderError(f"{address}: {error}") from error
        if len(answer) > LARGEST_ANSWER:
            raise ProviderError(f"{address}: an answer of more than {LARGEST_ANSWER} bytes")
        return answer, headers

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            key = self.endpoint.api_key
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=self.endpoint.timeout_s),
                headers={"Authorization": f"Bearer {key}"} if key else {},
            )
        return self._http

    async def aclose(self) -> None:
        """Close the connections; a request after that has new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()


class HttpTts(HttpClient):
    """`TextToSpeech`: JSON in, raw 16-bit mono PCM at 24 kHz out (`response_format: pcm`)."""

    async def synthesise(self, sentence: str) -> Speech:
        """Return the speech. Raises ProviderError."""
        began = monotonic_ns()
        endpoint = self.endpoint
        request = {"model": endpoint.model, "voice": endpoint.voice, "input": sentence, "response_format": "pcm"}
        body, headers = await self.post("/v1/audio/speech", json=request)
        if not body or len(body) % SAMPLE_BYTES:
            raise ProviderError(f"{endpoint.url}/v1/audio/speech: {len(body)} bytes are no 16-bit samples")
        return Speech(np.frombuffer(body, "<i2").astype(np.int16), *_shares(headers, ms_between(began, monotonic_ns())))


class HttpStt(HttpClient):
    """`SpeechToText`: a WAV file in, `{"text": ...}` out."""

    async def transcribe(self, samples: Pcm) -> Transcription:
        """Return the words. Raises ProviderError."""
        began = monotonic_ns()
        form = aiohttp.FormData()
        form.add_field("model", self.endpoint.model)
        form.add_field("response_format", "json")
        form.add_field("file", wav_of(samples), filename="utterance.wav", content_type="audio/wav")
        body, headers = await self.post("/v1/audio/transcriptions", data=form)
        return Transcription(self._text(body), *_shares(headers, ms_between(began, monotonic_ns())))

    def _text(self, body: bytes) -> str:
        try:
            answer = _Answer.model_validate_json(body)
        except ValidationError as error:
            raise ProviderError(
                f"{self.endpoint.url}/v1/audio/transcriptions: not a transcript: {body[:120]!r}"
            ) from error
        return answer.text


def asked_retry_s(headers: Mapping[str, str]) -> float | None:
    """Return how long a provider asks us to stay away, in seconds; the finer header first, where it has both."""
    ms = number(headers.get(RETRY_AFTER_MS))
    return retry_after_s(headers.get("Retry-After")) if ms is None else max(0.0, ms / 1000)


def _shares(headers: Mapping[str, str], took_ms: float) -> tuple[float, float]:
    """Return how much of `took_ms` was waiting, as far as the provider told, and how much was work."""
    queue_ms = min(took_ms, max(0.0, number(headers.get(QUEUE_MS)) or 0.0))
    return queue_ms, took_ms - queue_ms


def wav_of(samples: Pcm) -> bytes:
    """Return int16 mono at INPUT_RATE as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(SAMPLE_BYTES)
        writer.setframerate(INPUT_RATE)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()
