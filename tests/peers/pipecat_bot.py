"""A voice agent on real Pipecat: its runner, SmallWebRTC transport, VAD, smart turn, Whisper, OpenAI client and RTVI.

Runs in an environment of its own (see test_pipecat_agent.py), offline. Two parts stand in for paid services, and keep
their interfaces: the language model is an OpenAI-style HTTP stream with fixed replies, and the voice plays the clip in
which that reply is said.

Environment: PEER_WHISPER = a faster-whisper folder, PEER_REPLIES = a JSON list of {"text": ..., "path": clip}.
"""

import contextlib
import json
import os
from pathlib import Path

import aioice.ice
import av
import numpy as np
from aiohttp import web
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import LLMRunFrame, TTSAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.runner.utils import create_transport
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.services.whisper.stt import WhisperSTTService
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

REPLIES = json.loads(Path(os.environ["PEER_REPLIES"]).read_text())

# aioice leaves loopback out, and nothing here may leave this host.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def decoded(path, rate):
    """Return the clip as int16 mono bytes at `rate` Hz."""
    with av.open(path) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).tobytes()


class ClipTTSService(TTSService):
    """Says a reply by playing the clip it was recorded in."""

    def __init__(self):
        settings = TTSSettings(model=None, voice=None, language=None)
        super().__init__(push_start_frame=True, push_stop_frames=True, settings=settings)

    def can_generate_metrics(self):
        return True

    async def run_tts(self, text, context_id):
        await self.start_tts_usage_metrics(text)
        paths = {reply["text"]: reply["path"] for reply in REPLIES}
        audio = decoded(paths[text.strip()], self.sample_rate)
        await self.stop_ttfb_metrics()
        yield TTSAudioRawFrame(audio, self.sample_rate, 1, context_id=context_id)


async def chat(request):
    """Stream the reply that follows from how often the user has spoken."""
    body = await request.json()
    said = sum(message["role"] == "user" for message in body["messages"])
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for word in REPLIES[said % len(REPLIES)]["text"].split(" "):
        await _event(response, {"delta": {"content": f"{word} "}, "finish_reason": None})
    await _event(response, {"delta": {}, "finish_reason": "stop"})
    await response.write(b"data: [DONE]\n\n")
    return response


async def _event(response, choice):
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
    await response.write(b"data: " + json.dumps({**chunk, "choices": [{"index": 0, **choice}]}).encode() + b"\n\n")


@contextlib.asynccontextmanager
async def language_model():
    """Serve `chat` on a free loopback port; yields its base URL."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def bot(arguments):
    """One call; Pipecat's runner starts it for every offer."""
    print(f"PEER request_data {json.dumps(arguments.body)}", flush=True)
    rtc = {"webrtc": lambda: TransportParams(audio_in_enabled=True, audio_out_enabled=True)}
    transport = await create_transport(arguments, rtc)
    async with language_model() as url:
        await _converse(transport, url)


async def _converse(transport, llm_url):
    whisper = WhisperSTTService.Settings(model=os.environ["PEER_WHISPER"])
    stt = WhisperSTTService(device="cpu", compute_type="int8", settings=whisper)
    llm = OpenAILLMService(api_key="none", base_url=llm_url, settings=OpenAILLMService.Settings(model="scripted"))
    context = LLMContext()
    aggregators = LLMContextAggregatorPair(
        context, user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    )
    pipeline = Pipeline(
        [
            transport.input(),
            stt,
            aggregators.user(),
            llm,
            ClipTTSService(),
            transport.output(),
            aggregators.assistant(),
        ]
    )
    worker = PipelineWorker(pipeline, params=PipelineParams(enable_metrics=True, enable_usage_metrics=True))

    @worker.rtvi.event_handler("on_client_ready")
    async def greet(_rtvi):
        await worker.queue_frames([LLMRunFrame()])

    @transport.event_handler("on_client_disconnected")
    async def hang_up(_transport, _client):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
