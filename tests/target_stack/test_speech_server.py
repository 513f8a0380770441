"""Recogniser and voice as servers of their own, and the agent's side of them."""

import asyncio
import contextlib
import io
import json
import wave

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from harness.model.clock import monotonic_ns
from target_stack.__main__ import main, parser
from target_stack.call_scope import CallScope, call_scope, enter_scope
from target_stack.config import config_from
from target_stack.pipeline.batch_queue import BatchRules
from target_stack.pipeline.batched_tts import BatchedTts
from target_stack.remote_config import remote_from
from target_stack.routing.failures import ProviderError
from target_stack.routing.http_speech import SpeechEndpoint, asked_retry_s, wav_of
from target_stack.scope_headers import headers_of, scope_of
from target_stack.serving.remote import RemoteStt, RemoteTts, ServerWatch, SpeechServerError
from target_stack.serving.routes import Speeches, Transcriptions
from target_stack.serving.server import SpeechServer
from target_stack.stages.stt import ScriptedStt, Transcription
from target_stack.stages.tts import ScriptedTts
from target_stack.stages.worker import GivesWayError, QueueFullError
from target_stack.telemetry.batch_stats import BatchStats
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.loopback
RATE = 16_000


def tone(seconds, rate=RATE, hz=300.0):
    return (9_000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def wav(samples, rate=RATE, channels=1):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def config(stage, *options):
    return config_from(parser({}).parse_args(["serve", stage, "--port", "0", "--llm", "scripted", *options]), {})


@contextlib.asynccontextmanager
async def serving(stage, model, key=""):
    """Yield (server, base URL, HTTP session) of a server with this model."""
    server = SpeechServer(stage, config(stage), key)
    port = await server.start()
    try:
        routes = Transcriptions(model) if stage == "stt" else Speeches(model, "af_heart")

        async def loaded():
            server.use(model, routes.serve)

        server._load = loaded
        await server.load()
        async with aiohttp.ClientSession() as http:
            yield server, f"http://127.0.0.1:{port}", http
    finally:
        await server.aclose()


async def transcribed(http, url, file, headers=None, **fields):
    form = aiohttp.FormData(default_to_multipart=True)
    if file is not None:
        form.add_field("file", file, filename="a.wav", content_type="audio/wav")
    for name, value in fields.items():
        form.add_field(name, value)
    async with http.post(f"{url}/v1/audio/transcriptions", data=form, headers=headers) as response:
        return response.status, await response.text(), response.headers


async def spoken(http, url, **body):
    async with http.post(f"{url}/v1/audio/speech", json=body) as response:
        return response.status, await response.read(), response.headers


def run(stage, model, scenario, key=""):
    async def outer():
        async with serving(stage, model, key) as (server, url, http):
            await scenario(server, url, http)

    asyncio.run(outer())


# --- words ---------------------------------------------------------------------------------------------------------


def test_words_of_a_file_come_back_with_their_times():
    stt = ScriptedStt(["my order is late", "and so is my dinner"])

    async def scenario(_server, url, http):
        status, text, headers = await transcribed(http, url, wav_of(tone(1.5)), model="whisper-1", language="en")
        assert (status, json.loads(text)) == (200, {"text": "my order is late"})
        assert (headers["X-Callquake-Queue-Ms"], headers["X-Callquake-Work-Ms"]) == ("0.0", "0.0")
        np.testing.assert_array_equal(stt.heard[0], tone(1.5))
        # Two channels at another rate: the same second of the same tone.
        both = np.repeat(tone(1.0, 48_000), 2)
        status, text, _ = await transcribed(http, url, wav(both, 48_000, 2), response_format="text")
        assert (status, text) == (200, "and so is my dinner")
        assert len(stt.heard[1]) == pytest.approx(RATE, abs=32)
        spectrum = np.abs(np.fft.rfft(stt.heard[1][:RATE].astype(float)))
        assert int(np.argmax(spectrum)) * RATE / RATE == pytest.approx(300, abs=2)

    run("stt", stt, scenario)


@pytest.mark.parametrize(
    ("file", "fields", "words"),
    [
        (None, {}, "file: missing"),
        (b"RIFFxxxx", {}, "file: no WAV file"),
        (wav(tone(1.0), 96_000), {}, "at 96000 Hz; legal: WAV, 1 or 2 channels, 16-bit PCM, 8 to 48 kHz"),
        (wav(tone(0.0)), {}, "0.0 s of audio"),
        (wav(tone(1.0)), {"language": "fr"}, "language: got fr; legal: en"),
        (wav(tone(1.0)), {"response_format": "srt"}, "response_format: got srt; legal: json, text"),
    ],
)
def test_what_cannot_be_transcribed_is_refused_with_what_is_legal(file, fields, words):
    async def scenario(server, url, http):
        status, text, _ = await transcribed(http, url, file, x="1", **fields)
        assert status == 400
        assert words in json.loads(text)["error"]["message"]
        assert server.answers == {"400": 1}

    run("stt", ScriptedStt(["never"]), scenario)


def test_a_long_file_is_cut_in_its_pauses_and_told_as_it_is_recognised():
    gap = np.zeros(RATE, np.int16)
    # Louder and softer as syllables are: a steady tone would be noise to a level detector.
    talk = (tone(9.0) * (0.1 + 0.9 * np.abs(np.sin(8 * np.arange(9 * RATE) / RATE)))).astype(np.int16)
    speech = np.concatenate([part for _ in range(4) for part in (talk, gap)])
    texts = [
        "one two three",
        "four five six",
        "seven eight nine and ten eleven twelve thirteen fourteen fifteen sixteen",
    ]
    stt = ScriptedStt([*texts, *texts])

    async def scenario(_server, url, http):
        status, text, _ = await transcribed(http, url, wav_of(speech))
        assert (status, json.loads(text)["text"]) == (200, " ".join(texts))
        # In the middle of each gap, and what is left once a recogniser takes it whole.
        assert [len(part) / RATE for part in stt.heard] == pytest.approx([9.5, 10.0, 20.5], abs=0.5)
        status, text, headers = await transcribed(http, url, wav_of(speech), stream="true")
        assert headers["Content-Type"] == "text/event-stream"
        events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]
        assert events[-1] == {"type": "transcript.text.done", "text": " ".join(texts)}
        deltas = [event["delta"] for event in events[:-1]]
        assert len(deltas) > 1
        assert "".join(deltas) == " ".join(texts)

    run("stt", stt, scenario)


# --- speech --------------------------------------------------------------------------------------------------------


def test_speech_is_sent_sentence_by_sentence_or_as_a_file():
    tts = ScriptedTts()

    async def scenario(_server, url, http):
        text = "Your order is late. It comes at seven."
        status, pcm, headers = await spoken(http, url, input=text, response_format="pcm", voice="default")
        assert (status, headers["Content-Type"]) == (200, "audio/pcm")
        assert tts.spoken == ["Your order is late.", "It comes at seven."]
        assert len(pcm) == 2 * 24_000 * 60 * sum(map(len, tts.spoken)) // 1000
        status, file, _ = await spoken(http, url, input=text, voice="af_heart")
        with wave.open(io.BytesIO(file)) as read:
            assert (read.getframerate(), read.getnchannels(), read.getsampwidth()) == (24_000, 1, 2)
            assert read.readframes(read.getnframes()) == pcm

    run("tts", tts, scenario)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "input: legal"),
        ({"input": "..."}, "input: legal"),
        ({"input": "a" * 5_000}, "at most 4096 characters"),
        ({"input": "Hello.", "response_format": "mp3"}, "response_format: got mp3; legal: pcm, wav"),
        ({"input": "Hello.", "voice": "alloy"}, "voice: got alloy; legal: default, af_heart"),
        ({"input": "Hello.", "speed": 2}, "speed: got 2; legal: 1"),
    ],
)
def test_what_cannot_be_spoken_is_refused_with_what_is_legal(body, words):
    async def scenario(_server, url, http):
        status, text, _ = await spoken(http, url, **body)
        assert status == 400
        assert words in json.loads(text)["error"]["message"]

    run("tts", ScriptedTts(), scenario)


def test_a_model_that_fails_is_a_500_and_the_server_goes_on():
    async def scenario(server, url, http):
        assert (await spoken(http, url, input="Bad."))[0] == 500
        assert (await spoken(http, url, input="Good."))[0] == 200
        assert server.answers == {"500": 1, "200": 1}

    run("tts", ScriptedTts(frozenset({"Bad."})), scenario)


class FullInBetween(ScriptedTts):
    """A voice whose queue is full when the second sentence comes."""

    async def synthesise(self, sentence):
        if sentence == "It comes at seven.":
            raise QueueFullError("full")
        return await super().synthesise(sentence)


class FailsAfter(ScriptedStt):
    """A recogniser that knows one part."""

    async def transcribe(self, samples):
        if self.heard:
            raise RuntimeError("broken")
        return await super().transcribe(samples)


async def raw_answer(url, path, body, content_type):
    """Return all that the server sends for a request, to the end of the connection."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    told = b""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(20):
            while more := await reader.read(65_536):
                told += more
    writer.close()
    return told


@pytest.mark.parametrize("voice", [FullInBetween, lambda: ScriptedTts(frozenset({"It comes at seven."}))])
def test_speech_that_fails_behind_its_first_sentence_is_cut_and_not_followed_by_a_second_answer(voice):
    asked = {"input": "Your order is late. It comes at seven.", "response_format": "pcm"}

    async def scenario(server, url, http):
        told = await raw_answer(url, "/v1/audio/speech", json.dumps(asked).encode(), "application/json")
        # Nothing says that this was all, and nothing of another answer stands in the audio.
        assert told.count(b"HTTP/1.1") <= 1
        assert b"error" not in told
        assert not told.endswith(b"0\r\n\r\n")
        with pytest.raises(aiohttp.ClientError):
            await spoken(http, url, **asked)
        tts = RemoteTts(SpeechEndpoint(url))
        with pytest.raises(ProviderError):
            await tts.synthesise(asked["input"])
        await tts.aclose()
        assert server.answers == {"cut": 3}

    run("tts", voice(), scenario)


def test_words_that_fail_behind_the_first_part_are_cut():
    gap = np.zeros(RATE, np.int16)
    talk = (tone(9.0) * (0.1 + 0.9 * np.abs(np.sin(8 * np.arange(9 * RATE) / RATE)))).astype(np.int16)
    speech = np.concatenate([part for _ in range(4) for part in (talk, gap)])

    async def scenario(server, url, http):
        with pytest.raises(aiohttp.ClientError):
            await transcribed(http, url, wav_of(speech), stream="true")
        assert server.answers == {"cut": 1}
        # Not begun: there is an answer to give.
        status, text, _ = await transcribed(http, url, wav_of(speech))
        assert (status, "error" in json.loads(text)) == (500, True)

    run("stt", FailsAfter(["one two three"]), scenario)


def test_a_form_that_is_none_and_a_body_too_large_are_told_as_such():
    async def scenario(server, url, http):
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        long = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"\0\r\n" * 9_000_000
        for body, status in ((b"nothing of it", 400), (b"\0" * 600_000, 400), (long, 413)):
            async with http.post(f"{url}/v1/audio/transcriptions", data=body, headers=form) as response:
                assert response.status == status
                assert "message" in (await response.json())["error"]
        assert server.answers == {"400": 2, "413": 1}

    run("stt", ScriptedStt(["never"]), scenario)


class Voices:
    """A voice that speaks batches; notes who was in each."""

    description = "voices"

    def __init__(self):
        self.batches = []
        self.gate = asyncio.Event()

    def load(self):
        pass

    def speak(self, sentences):
        self.batches.append(list(sentences))
        return [np.full(240, len(sentence), np.int16) for sentence in sentences]


def test_sentences_of_several_agents_share_batches_the_longest_waiting_caller_first():
    voices = Voices()
    rules = BatchRules(size=2, wait_ms=100, deadline_ms=20_000, waiting=16)

    async def scenario(server, url, _http):
        agents = [RemoteTts(SpeechEndpoint(url)) for _ in range(2)]
        now = monotonic_ns()

        async def ask(number, waited_ms):
            enter_scope(CallScope(f"c{number}", 1, now - waited_ms * 1_000_000))
            return await agents[number % 2].synthesise(f"Sentence {'x' * number}.")

        asks = [asyncio.create_task(ask(number, waited)) for number, waited in enumerate((10, 20, 3_000, 4_000, 30))]
        spoken = await asyncio.gather(*asks)
        for number, speech in enumerate(spoken):
            # Each has its own speech.
            assert set(speech.samples) == {len(f"Sentence {'x' * number}.")}
        assert len(voices.batches) < 5
        async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as told:
            assert 'callquake_speech_requests_total{stage="tts",answer="200"} 5' in await told.text()
        assert server.active == 0
        for agent in agents:
            await agent.aclose()

    tts = BatchedTts([voices], rules, Stats(), BatchStats())
    run("tts", tts, scenario)


# --- the agent's side ----------------------------------------------------------------------------------------------


class FullStt(ScriptedStt):
    async def transcribe(self, samples):
        scope = call_scope()
        if scope is not None and scope.work == "partial":
            raise GivesWayError("busy")
        raise QueueFullError("full")


def test_a_full_server_is_a_429_with_its_time_and_a_partial_gives_way():
    async def scenario(server, url, _http):
        stt = RemoteStt(SpeechEndpoint(url))
        with pytest.raises(ProviderError) as caught:
            await stt.transcribe(tone(0.5))
        assert (caught.value.status, caught.value.retry_after_s) == (429, 0.5)
        enter_scope(CallScope("c1", 1, monotonic_ns(), work="partial"))
        with pytest.raises(GivesWayError):
            await stt.transcribe(tone(0.5))
        assert server.answers == {"429": 2}
        await stt.aclose()

    run("stt", FullStt([""]), scenario)


class SlowStt(ScriptedStt):
    withdrawn = 0

    async def transcribe(self, samples):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.withdrawn += 1
            raise
        return Transcription("", 0.0, 0.0)


def test_what_nobody_waits_for_any_more_is_withdrawn_from_the_server():
    model = SlowStt([""])

    async def scenario(server, url, _http):
        stt = RemoteStt(SpeechEndpoint(url))
        asking = asyncio.create_task(stt.transcribe(tone(0.5)))
        async with asyncio.timeout(10):
            while not server.active:
                await asyncio.sleep(0.01)
            asking.cancel()
            while server.active:
                await asyncio.sleep(0.01)
        assert model.withdrawn == 1
        assert server.answers == {"cancelled": 1}
        await stt.aclose()

    run("stt", model, scenario)


def test_a_key_is_asked_for_and_given():
    async def scenario(_server, url, _http):
        for key, is_right in (("", False), ("wrong", False), ("right", True)):
            tts = RemoteTts(SpeechEndpoint(url, api_key=key))
            if is_right:
                assert len((await tts.synthesise("Hello.")).samples)
            else:
                with pytest.raises(ProviderError, match="HTTP 401"):
                    await tts.synthesise("Hello.")
            await tts.aclose()

    run("tts", ScriptedTts(), scenario, "right")


@pytest.mark.parametrize(
    ("remote", "key", "words"),
    [
        (RemoteTts, "", r"HTTP 401: it asks for a key \(CALLQUAKE_SPEECH_KEY\)"),
        (RemoteTts, "wrong", "HTTP 401: the key in CALLQUAKE_SPEECH_KEY is not its own"),
        (RemoteStt, "wrong", "HTTP 401: the key in CALLQUAKE_SPEECH_KEY is not its own"),
    ],
)
def test_a_wrong_key_is_told_at_the_start_and_not_by_the_first_caller(remote, key, words):
    async def scenario(_server, url, _http):
        client = remote(SpeechEndpoint(url, api_key=key), start_s=300)
        async with asyncio.timeout(10):
            with pytest.raises(SpeechServerError, match=words):
                await client.load()
        assert client.fault()
        await client.aclose()

    run("tts", ScriptedTts(), scenario, "right")


def test_a_key_that_is_changed_makes_the_agent_unready(monkeypatch):
    monkeypatch.setattr("target_stack.serving.remote._ASK_EVERY_S", 0.01)

    async def scenario(server, url, _http):
        client = RemoteTts(SpeechEndpoint(url, api_key="right"))
        await client.load()
        assert client.fault() == ""
        server._key = "another"
        async with asyncio.timeout(10):
            while not client.fault():
                await asyncio.sleep(0.01)
        assert "is not its own" in client.fault()
        await client.aclose()

    run("tts", ScriptedTts(), scenario, "right")


def test_a_server_without_a_list_of_models_is_let_be():
    async def scenario():
        app = web.Application()

        async def ready(_request):
            return web.Response()

        app.router.add_get("/readyz", ready)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        watch = ServerWatch(f"http://127.0.0.1:{runner.addresses[0][1]}", "key")
        await watch.start(5)
        assert watch.fault() == ""
        await watch.aclose()
        await runner.cleanup()

    asyncio.run(scenario())


def test_loaded_twice_it_is_watched_once_and_speaks_again_after_its_end():
    async def scenario(_server, url, _http):
        tts = RemoteTts(SpeechEndpoint(url))

        def watching():
            return [task for task in asyncio.all_tasks() if task.get_name().startswith("watch ")]

        await tts.load()
        await tts.load()
        assert len(watching()) == 1
        assert len((await tts.synthesise("Hello.")).samples)
        await tts.aclose()
        assert watching() == []
        await tts.load()
        assert len((await tts.synthesise("Hello.")).samples)
        await tts.aclose()
        await tts.aclose()
        assert watching() == []

    run("tts", ScriptedTts(), scenario)


def test_an_agent_waits_for_its_server_and_notices_when_it_goes():
    async def scenario():
        server = SpeechServer("tts", config("tts"))
        url = f"http://127.0.0.1:{await server.start()}"
        watch = ServerWatch(url)
        with pytest.raises(SpeechServerError, match=r"was not ready within 0\.3 s: .*HTTP 503"):
            await watch.start(0.3)
        async with aiohttp.ClientSession() as http:
            status, _text, headers = await spoken(http, url, input="Hello.")
            assert (status, headers["Retry-After"]) == (503, "5")
        tts = ScriptedTts()

        async def loaded():
            server.use(tts, Speeches(tts, "af_heart").serve)

        server._load = loaded
        starting = asyncio.create_task(watch.start(20))
        await server.load()
        await starting
        assert watch.fault() == ""
        await server.aclose()
        async with watch._session() as http:
            assert url in await watch._ask(http)
        await watch.aclose()

    asyncio.run(scenario())


class SlowTts(ScriptedTts):
    """A voice that speaks when it is let."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()

    async def synthesise(self, sentence):
        await self.gate.wait()
        return await super().synthesise(sentence)


def test_told_to_end_it_is_not_ready_and_answers_what_is_under_way():
    tts = SlowTts()

    async def ready(http, url):
        async with http.get(f"{url}/readyz") as response:
            return response.status, (await response.json())["stages"]

    async def scenario(server, url, http):
        assert await ready(http, url) == (200, {"tts": "ready"})
        asking = asyncio.create_task(spoken(http, url, input="Hello."))
        async with asyncio.timeout(10):
            while not server.active:
                await asyncio.sleep(0.01)
            # Somebody who never ends holds nobody up for longer.
            await server.drain(0.05)
            ending = asyncio.create_task(server.drain())
            assert await ready(http, url) == (503, {"tts": "ending"})
            assert not ending.done()
            tts.gate.set()
            assert (await asking)[0] == 200
            await ending
        assert server.active == 0

    run("tts", tts, scenario)


# --- what goes between ---------------------------------------------------------------------------------------------


def test_a_calls_place_in_the_queue_crosses_the_wire():
    scope = CallScope("call-7", 3, 5_000_000_000, work="draft")
    headers = headers_of(scope, 5_250_000_000)
    found = scope_of(headers, 90_000_000_000)
    assert (found.call_id, found.waiting_since_ns, found.work) == ("call-7", 89_750_000_000, "draft")
    assert headers_of(None, 0) == {}
    assert scope_of({}, 0) is None


@pytest.mark.parametrize("said", ["", "soon", "nan", "inf", "-inf"])
def test_a_wait_that_is_none_counts_as_not_said(said):
    assert scope_of({"X-Callquake-Waiting-Ms": said}, 0) is None
    assert scope_of({"X-Callquake-Waiting-Ms": "1", "X-Callquake-Work": "homework"}, 0) is None
    assert asked_retry_s({"retry-after-ms": said, "Retry-After": "2"}) == 2.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "stt", "--profile", "emulated"], "--profile emulated: has no models to serve"),
        (["serve", "tts", "--stt-url", "http://h:1"], "the model is to be here"),
        (["up", "--stt-url", "h:1"], "--stt-url h:1: legal: http://HOST:PORT"),
        (["up", "--tts-url", "ftp://h"], "--tts-url ftp://h: legal"),
        (["up", "--speech-start-s", "0"], "--speech-start-s 0: must be 1 to 7200"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, words, capsys):
    assert main(arguments) == 104
    assert words in capsys.readouterr().err


def test_where_speech_is_elsewhere_no_weights_are_asked_for():
    options = parser({}).parse_args(["up", "--stt-url", "http://h:1/v1", "--tts-url", "https://h/"])
    remote = remote_from(options, {"CALLQUAKE_SPEECH_KEY": "k"})
    assert (remote.stt().url, remote.tts().url, remote.stt().api_key) == ("http://h:1", "https://h", "k")
    assert remote.patience_ms == {"stt": 1500.0, "tts": 1500.0}
    gpu = ["up", "--profile", "gpu", "--llm-url", "http://h:8000", "--stt-url", "http://h:1", "--tts-url", "http://h:2"]
    from target_stack.gpu_check import checks_of

    assert checks_of(config_from(parser({}).parse_args(gpu), {})) == {}
