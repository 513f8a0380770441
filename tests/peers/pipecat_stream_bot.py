"""A voice agent on real Pipecat for phone carriers: FastAPIWebsocketTransport, Pipecat's own serializers, Silero VAD.

Runs in an environment of its own (see test_pipecat_streams.py), offline. It greets, and answers each thing the caller
says with a clip; the caller's speech interrupts it. Environment: PEER_REPLIES = a JSON list of clips, greeting first.
"""

import json
import os
from pathlib import Path

import av
import numpy as np
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import TTSAudioRawFrame, VADUserStartedSpeakingFrame, VADUserStoppedSpeakingFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.exotel import ExotelFrameSerializer
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

RATE = 8000


def decoded(path):
    """Return the clip as int16 mono bytes."""
    with av.open(path) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).tobytes()


CLIPS = [decoded(path) for path in json.loads(Path(os.environ["PEER_REPLIES"]).read_text())]


def serializer(kind, call):
    """Return Pipecat's own, without its REST hang-up."""
    ids = (call["stream_id"], call["call_id"])
    match kind:
        case "twilio":
            return TwilioFrameSerializer(*ids, params=TwilioFrameSerializer.InputParams(auto_hang_up=False))
        case "telnyx":
            params = TelnyxFrameSerializer.InputParams(auto_hang_up=False)
            return TelnyxFrameSerializer(ids[0], call["outbound_encoding"], "PCMU", ids[1], params=params)
        case "plivo":
            return PlivoFrameSerializer(*ids, params=PlivoFrameSerializer.InputParams(auto_hang_up=False))
        case "exotel":
            return ExotelFrameSerializer(*ids)
    raise ValueError(kind)


class Canned(FrameProcessor):
    """Says the next clip when the caller has finished, and falls silent when it begins."""

    def __init__(self):
        super().__init__()
        self.said = 0

    async def say(self):
        clip = CLIPS[self.said % len(CLIPS)]
        self.said += 1
        await self.push_frame(TTSAudioRawFrame(clip, RATE, 1))

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, VADUserStartedSpeakingFrame):
            await self.broadcast_interruption()
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            await self.say()


async def bot(arguments):
    """One call; Pipecat's runner starts it for every WebSocket."""
    kind, call = await parse_telephony_websocket(arguments.websocket)
    print(f"PEER call {json.dumps({'kind': kind, **call.model_dump(by_alias=True)}, default=str)}", flush=True)
    transport = FastAPIWebsocketTransport(
        websocket=arguments.websocket,
        params=FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer(kind, call)),
    )
    canned = Canned()
    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=0.5)))
    worker = PipelineWorker(
        Pipeline([transport.input(), vad, canned, transport.output()]),
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
    )

    @transport.event_handler("on_client_connected")
    async def greet(_transport, _client):
        await canned.say()

    @transport.event_handler("on_client_disconnected")
    async def hang_up(_transport, _client):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
