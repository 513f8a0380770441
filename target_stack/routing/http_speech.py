"""Speech over HTTP, as OpenAI's audio endpoints have it: `/v1/audio/speech` and `/v1/audio/transcriptions`."""

import io
import wave
from dataclasses import dataclass

import aiohttp
import numpy as np
from pydantic import BaseModel, ValidationError

from harness.model.clock import monotonic_ns, ms_between
from target_stack.frames import INPUT_RATE, Pcm
from target_stack.retry_after import retry_after_s
from target_stack.routing.failures import ProviderError
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


class _Client:
    """POSTs to one endpoint; connections are kept."""

    def __init__(self, endpoint: SpeechEndpoint) -> None:
        self.endpoint = endpoint
        self._http: aiohttp.ClientSession | None = None

    async def post(self, path: str, **body: object) -> bytes:
        """Return the answer's body. Raises ProviderError."""
        address = self.endpoint.url + path
        try:
            async with self._session().post(address, **body) as response:  # type: ignore[arg-type] # json or data
                if response.status != 200:
                    said = (await response.content.read(200)).decode(errors="replace")
                    raise ProviderError(
                        f"{address}: HTTP {response.status}: {said}",
                        status=response.status,
                        retry_after_s=retry_after_s(response.headers.get("Retry-After")),
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
        return answer

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
        """Close the connections."""
        if self._http is not None:
            await self._http.close()


class HttpTts(_Client):
    """`TextToSpeech`: JSON in, raw 16-bit mono PCM at 24 kHz out (`response_format: pcm`)."""

    def __init__(self, endpoint: SpeechEndpoint, description: str) -> None:
        super().__init__(endpoint)
        self.description = description

    async def load(self) -> None:
        """Nothing to load."""

    async def synthesise(self, sentence: str) -> Speech:
        """Return the speech. Raises ProviderError."""
        began = monotonic_ns()
        endpoint = self.endpoint
        request = {"model": endpoint.model, "voice": endpoint.voice, "input": sentence, "response_format": "pcm"}
        body = await self.post("/v1/audio/speech", json=request)
        if not body or len(body) % SAMPLE_BYTES:
            raise ProviderError(f"{endpoint.url}/v1/audio/speech: {len(body)} bytes are no 16-bit samples")
        return Speech(np.frombuffer(body, "<i2").astype(np.int16), 0.0, ms_between(began, monotonic_ns()))


class HttpStt(_Client):
    """`SpeechToText`: a WAV file in, `{"text": ...}` out."""

    def __init__(self, endpoint: SpeechEndpoint, description: str) -> None:
        super().__init__(endpoint)
        self.description = description

    async def load(self) -> None:
        """Nothing to load."""

    async def transcribe(self, samples: Pcm) -> Transcription:
        """Return the words. Raises ProviderError."""
        began = monotonic_ns()
        form = aiohttp.FormData()
        form.add_field("model", self.endpoint.model)
        form.add_field("response_format", "json")
        form.add_field("file", wav_of(samples), filename="utterance.wav", content_type="audio/wav")
        body = await self.post("/v1/audio/transcriptions", data=form)
        return Transcription(self._text(body), 0.0, ms_between(began, monotonic_ns()))

    def _text(self, body: bytes) -> str:
        try:
            answer = _Answer.model_validate_json(body)
        except ValidationError as error:
            raise ProviderError(
                f"{self.endpoint.url}/v1/audio/transcriptions: not a transcript: {body[:120]!r}"
            ) from error
        return answer.text


def wav_of(samples: Pcm) -> bytes:
    """Return int16 mono at INPUT_RATE as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(SAMPLE_BYTES)
        writer.setframerate(INPUT_RATE)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()
