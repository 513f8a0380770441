"""A whole voice agent on Pipecat's own parts, nothing outside this host: SmallWebRTC, Silero, Whisper, an LLM, Kokoro.

Runs in an environment of its own (pipecat_local.py makes it and starts this), as any Pipecat bot does:
`python pipecat_local_bot.py -t webrtc --host 127.0.0.1 --port 7860`. Callquake asks two things of a bot: RTVI, which
Pipecat has on, and metrics, which it has off.

Environment: BOT_WHISPER = a faster-whisper folder, BOT_KOKORO and BOT_VOICES = kokoro-onnx's model and voices,
BOT_LLM = base URL of an OpenAI-style server. BOT_RTVI=0 and BOT_METRICS=0 switch those off.
"""

import functools
import os

import aioice.ice
import onnxruntime
import pipecat.services.kokoro.tts
import pipecat.services.whisper.stt
from kokoro_onnx import Kokoro
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.runner.utils import create_transport
from pipecat.services.kokoro.tts import KokoroTTSService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.whisper.stt import WhisperSTTService
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

HAS_RTVI = os.environ.get("BOT_RTVI") != "0"
HAS_METRICS = os.environ.get("BOT_METRICS") != "0"
VOICE = "af_heart"
# How long Whisper may take; Pipecat's second is too short for two slow cores, and the turn would end without its text.
TRANSCRIPT_S = 2.0
# How long Kokoro may be silent over a sentence; after Pipecat's three seconds, thrice, it would be called out of order.
SYNTHESIS_S = 8.0

SYSTEM = "You are a friendly phone agent. Answer the customer in one short sentence of plain spoken English."
# A base model of 270 M parameters answers in the manner of these.
EXAMPLES = (
    ("What time do you open on Saturday?", "We are open from nine until two on Saturday."),
    ("I need to change my delivery address.", "Of course, what is the new address?"),
)

# aioice leaves loopback out, and nothing here may leave this host. A bot on a network does without this line.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


# Pipecat's services read their weights anew for each call, which stops the others for seconds; these are read once.
pipecat.services.whisper.stt.WhisperModel = functools.cache(pipecat.services.whisper.stt.WhisperModel)


@functools.cache
def kokoro(model, voices):
    """Return the synthesiser; its threads sleep between sentences instead of spinning."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Kokoro.from_session(session, voices)


pipecat.services.kokoro.tts.Kokoro = kokoro


def conversation():
    """Return a context in which a caller has just picked up."""
    said = []
    for question, answer in EXAMPLES:
        said += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return LLMContext([*said, {"role": "user", "content": "Hello?"}])


def speech_to_text():
    """Return Pipecat's Whisper on a folder of this host."""
    settings = WhisperSTTService.Settings(model=os.environ["BOT_WHISPER"])
    return WhisperSTTService(device="cpu", compute_type="int8", ttfs_p99_latency=TRANSCRIPT_S, settings=settings)


def language_model():
    """Return Pipecat's OpenAI client on a server of this host; a line is a reply."""
    settings = OpenAILLMService.Settings(
        model="local",
        system_instruction=SYSTEM,
        max_tokens=28,
        temperature=0.2,
        extra={"stop": ["\n", "<|im_end|>"]},
    )
    return OpenAILLMService(api_key="none", base_url=os.environ["BOT_LLM"], settings=settings)


def text_to_speech():
    """Return Pipecat's Kokoro on files of this host: with both paths given it downloads nothing."""
    return KokoroTTSService(
        model_path=os.environ["BOT_KOKORO"],
        voices_path=os.environ["BOT_VOICES"],
        stop_frame_timeout_s=SYNTHESIS_S,
        settings=KokoroTTSService.Settings(voice=VOICE),
    )


async def bot(arguments):
    """One call; Pipecat's runner starts it for every offer."""
    rtc = {"webrtc": lambda: TransportParams(audio_in_enabled=True, audio_out_enabled=True)}
    transport = await create_transport(arguments, rtc)
    aggregators = LLMContextAggregatorPair(
        conversation(), user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    )
    stages = [speech_to_text(), aggregators.user(), language_model(), text_to_speech()]
    worker = PipelineWorker(
        Pipeline([transport.input(), *stages, transport.output(), aggregators.assistant()]),
        params=PipelineParams(enable_metrics=HAS_METRICS),
        enable_rtvi=HAS_RTVI,
    )

    async def greet(*_):
        await worker.queue_frames([LLMRunFrame()])

    async def hang_up(*_):
        await worker.cancel()

    # A client that speaks RTVI says when it can take messages; without it, to be connected has to do.
    if HAS_RTVI:
        worker.rtvi.event_handler("on_client_ready")(greet)
    else:
        transport.event_handler("on_client_connected")(greet)
    transport.event_handler("on_client_disconnected")(hang_up)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    from pipecat.runner.run import main

    # The first caller shall not wait for the weights.
    speech_to_text()
    text_to_speech()
    main()
