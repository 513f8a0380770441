"""The two endpoints: words of a file, speech of a text; both may be streamed.

POST /v1/audio/transcriptions   multipart: file (WAV), model, language, response_format json | text, stream
                                -> {"text"}, text, or server-sent events transcript.text.delta, transcript.text.done
POST /v1/audio/speech           {input, model, voice, response_format pcm | wav, speed}
                                -> 16-bit mono at 24 kHz; pcm is sent sentence by sentence, each as it is spoken
"""

import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from harness.model.clock import monotonic_ns
from target_stack.call_scope import enter_scope
from target_stack.emulation.level_vad import LevelVad
from target_stack.frames import Pcm
from target_stack.pipeline.parts import OVERLAP_WORDS, PartRules, joined
from target_stack.scope_headers import QUEUE_MS, RETRY_AFTER_MS, WORK_MS, scope_of
from target_stack.serving.audio_files import MOST_BYTES, BadAudioError, parts_of, samples_of, wav_head
from target_stack.stages.sentences import SentenceSplitter, is_speakable
from target_stack.stages.stt import SpeechToText, Transcription
from target_stack.stages.tts import Speech, TextToSpeech
from target_stack.stages.worker import GivesWayError, QueueFullError

MOST_CHARACTERS = 4_096
# Of a queue that says no time: about a sentence.
_RETRY_MS = 500.0
_PATHS = {"stt": "/v1/audio/transcriptions", "tts": "/v1/audio/speech"}
_Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadRequestError(ValueError):
    """A request that no retry makes right; says what is legal."""


class HalfwayError(Exception):
    """A streamed answer failed behind its first bytes, for the reason it was raised from: no other can be given."""

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__("an answer failed halfway")
        self.response = response

    def cut(self, request: web.Request) -> web.StreamResponse:
        """End the connection, so that nobody takes what was sent for the whole; return what was sent."""
        if request.transport is not None:
            request.transport.abort()
        return self.response


def route_of(stage: str) -> str:
    """Return the path of a stage's endpoint."""
    return _PATHS[stage]


def error_answer(status: int, message: str, kind: str, retry_ms: float | None = None) -> web.Response:
    """Return an error as OpenAI words it."""
    headers = {}
    if retry_ms is not None:
        headers = {"Retry-After": str(max(1, math.ceil(retry_ms / 1000))), RETRY_AFTER_MS: f"{retry_ms:.0f}"}
    return web.json_response({"error": {"message": message, "type": kind}}, status=status, headers=headers)


def in_scope(serve: _Serve) -> _Serve:
    """Take the request's call for the queue's order."""

    async def route(request: web.Request) -> web.StreamResponse:
        if (scope := scope_of(request.headers, monotonic_ns())) is not None:
            enter_scope(scope)
        return await serve(request)

    return route


def answer_to(error: Exception) -> web.Response | None:
    """Return what a client is told of an error that is no fault of the server's, None for one that is."""
    match error:
        case BadRequestError() | BadAudioError():
            return error_answer(400, str(error), "invalid_request_error")
        case web.HTTPException():
            return error_answer(error.status, error.text or error.reason, "invalid_request_error")
        case GivesWayError():
            return error_answer(429, str(error), "rate_limit_exceeded", _RETRY_MS)
        case QueueFullError():
            return error_answer(429, str(error), "rate_limit_exceeded", getattr(error, "retry_after_ms", _RETRY_MS))
    return None


@asynccontextmanager
async def _streamed(
    request: web.Request, content_type: str, headers: Mapping[str, str]
) -> AsyncGenerator[web.StreamResponse, None]:
    """Send an answer piece by piece, its status at once. Raises HalfwayError for what fails then."""
    response = web.StreamResponse(headers={"Content-Type": content_type, **headers})
    await response.prepare(request)
    try:
        yield response
    except ConnectionResetError:
        # Its client is gone.
        raise
    except Exception as error:
        raise HalfwayError(response) from error
    await response.write_eof()


def _shares(done: Transcription | Speech) -> dict[str, str]:
    return {QUEUE_MS: f"{done.queue_ms:.1f}", WORK_MS: f"{done.work_ms:.1f}"}


# --- words ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    samples: Pcm
    is_text: bool
    is_streamed: bool


@dataclass(frozen=True, slots=True)
class _Words:
    """The words so far, what of them no later part changes (those that two parts share may), the last part's times."""

    text: str
    settled: str
    headers: dict[str, str]


class Transcriptions:
    """POST /v1/audio/transcriptions."""

    def __init__(self, stt: SpeechToText) -> None:
        self._stt = stt
        self._rules = PartRules()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request. Raises BadRequestError, BadAudioError, QueueFullError."""
        asked = await self._asked(request)
        async with aclosing(self._texts(asked.samples)) as texts:
            first = await anext(texts)
            if asked.is_streamed:
                return await _events(request, first, texts)
            last = first
            async for last in texts:  # noqa: B007 - the last one has all of it
                pass
        if asked.is_text:
            return web.Response(text=last.text, headers=first.headers)
        return web.json_response({"text": last.text}, headers=first.headers)

    async def _asked(self, request: web.Request) -> _Asked:
        if request.content_type != "multipart/form-data":
            raise BadRequestError(f"got {request.content_type}; legal: multipart/form-data with a file")
        try:
            form = await request.post()
        except (ValueError, HttpProcessingError) as error:
            raise BadRequestError(f"the body is no multipart form ({type(error).__name__})") from error
        file = form.get("file")
        if not isinstance(file, web.FileField):
            raise BadRequestError("file: missing; legal: a WAV file")
        language, shape = str(form.get("language", "en")), str(form.get("response_format", "json"))
        if language != "en":
            raise BadRequestError(f"language: got {language}; legal: en")
        if shape not in ("json", "text"):
            raise BadRequestError(f"response_format: got {shape}; legal: json, text")
        is_streamed = str(form.get("stream", "false")).lower() == "true"
        return _Asked(samples_of(file.file.read(MOST_BYTES + 1)), shape == "text", is_streamed)

    async def _texts(self, samples: Pcm) -> AsyncGenerator[_Words, None]:
        """Yield the words so far after each part."""
        parts = list(parts_of(samples, LevelVad(), self._rules))
        text = ""
        for number, (part, is_overlapping) in enumerate(parts, 1):
            heard = await self._stt.transcribe(part)
            text = joined(text, heard.text, is_overlapping=is_overlapping)
            may_change = number < len(parts) and parts[number][1]
            settled = " ".join(text.split()[:-OVERLAP_WORDS]) if may_change else text
            yield _Words(text, settled, _shares(heard))


async def _events(request: web.Request, first: _Words, others: AsyncIterator[_Words]) -> web.StreamResponse:
    """Send the words as they come."""
    async with _streamed(request, "text/event-stream", first.headers) as response:
        words, told = first, await _delta(response, "", first)
        async for words in others:
            told = await _delta(response, told, words)
        await _send(response, {"type": "transcript.text.done", "text": words.text})
    return response


async def _delta(response: web.StreamResponse, told: str, words: _Words) -> str:
    """Send what is settled and was not told; return all that was told by then."""
    if len(words.settled) <= len(told):
        return told
    await _send(response, {"type": "transcript.text.delta", "delta": words.settled[len(told) :]})
    return words.settled


async def _send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")


# --- speech --------------------------------------------------------------------------------------------------------


class Speeches:
    """POST /v1/audio/speech."""

    def __init__(self, tts: TextToSpeech, voice: str) -> None:
        self._tts = tts
        self._voices = ("default", voice)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request. Raises BadRequestError, QueueFullError."""
        sentences, is_wav = await self._asked(request)
        first = await self._tts.synthesise(sentences[0])
        headers = _shares(first)
        if is_wav:
            rest = [(await self._tts.synthesise(sentence)).samples for sentence in sentences[1:]]
            pieces = [first.samples, *rest]
            body = wav_head(sum(map(len, pieces))) + b"".join(map(_bytes, pieces))
            return web.Response(body=body, content_type="audio/wav", headers=headers)
        async with _streamed(request, "audio/pcm", headers) as response:
            await response.write(_bytes(first.samples))
            for sentence in sentences[1:]:
                await response.write(_bytes((await self._tts.synthesise(sentence)).samples))
        return response

    async def _asked(self, request: web.Request) -> tuple[list[str], bool]:
        try:
            body = await request.json()
        except ValueError as error:
            raise BadRequestError(f"the body is no JSON: {error}") from error
        if not isinstance(body, dict):
            raise BadRequestError("the body is no JSON object")
        text, shape = body.get("input"), body.get("response_format", "wav")
        if not isinstance(text, str) or not is_speakable(text) or len(text) > MOST_CHARACTERS:
            raise BadRequestError(f"input: legal: words to speak, at most {MOST_CHARACTERS} characters")
        if shape not in ("pcm", "wav"):
            raise BadRequestError(f"response_format: got {shape}; legal: pcm, wav")
        if body.get("voice", "default") not in self._voices:
            raise BadRequestError(f"voice: got {body['voice']}; legal: {', '.join(self._voices)}")
        if body.get("speed", 1) != 1:
            raise BadRequestError(f"speed: got {body['speed']}; legal: 1")
        return _sentences(text), shape == "wav"


def _sentences(text: str) -> list[str]:
    splitter = SentenceSplitter()
    found = [*splitter.feed(text), splitter.flush()]
    return [sentence for sentence in found if is_speakable(sentence)] or [text]


def _bytes(samples: Pcm) -> bytes:
    return samples.astype("<i2").tobytes()
