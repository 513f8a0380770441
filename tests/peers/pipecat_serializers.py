"""Pipecat's own carrier serializers behind a pipe: a JSON request a line in, a JSON answer a line out.

Runs in an environment of its own (see test_pipecat_streams.py), offline.

    {"do": "detect", "messages": [...]}            -> {"kind", "call"} as Pipecat's runner tells them apart
    {"do": "open", "kind", "call", "rate"}         -> {}; the serializer that the next requests are for
    {"do": "hear", "text" | "base64"}              -> {"frame", "audio" (base64 PCM), "rate", "digit"}
    {"do": "say", "base64" (PCM)} | {"do": "interrupt"} | {"do": "send", "message"}   -> {"text" | "base64"}
"""

import asyncio
import base64
import json
import sys
from types import SimpleNamespace

from pipecat.frames.frames import InterruptionFrame, OutputAudioRawFrame, OutputTransportMessageUrgentFrame
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.exotel import ExotelFrameSerializer
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.serializers.vonage import VonageFrameSerializer


class Socket:
    """As much of a WebSocket as Pipecat's detection reads."""

    def __init__(self, messages):
        self._messages = messages

    async def iter_text(self):
        for message in self._messages:
            yield message


def opened(kind, call, rate):
    ids = (call.get("stream_id"), call.get("call_id"))
    match kind:
        case "twilio":
            return TwilioFrameSerializer(*ids, params=TwilioFrameSerializer.InputParams(auto_hang_up=False))
        case "telnyx":
            encoding = call["outbound_encoding"]
            params = TelnyxFrameSerializer.InputParams(auto_hang_up=False)
            return TelnyxFrameSerializer(ids[0], encoding, encoding, ids[1], params=params)
        case "plivo":
            return PlivoFrameSerializer(*ids, params=PlivoFrameSerializer.InputParams(auto_hang_up=False))
        case "exotel":
            return ExotelFrameSerializer(*ids, params=ExotelFrameSerializer.InputParams(exotel_sample_rate=rate))
        case "vonage":
            return VonageFrameSerializer(VonageFrameSerializer.InputParams(vonage_sample_rate=rate))
    raise ValueError(kind)


def wire(said):
    if said is None:
        return {}
    return {"text": said} if isinstance(said, str) else {"base64": base64.b64encode(said).decode()}


def frame(heard):
    if heard is None:
        return {"frame": None}
    answer = {"frame": type(heard).__name__}
    if hasattr(heard, "audio"):
        answer |= {"audio": base64.b64encode(heard.audio).decode(), "rate": heard.sample_rate}
    if hasattr(heard, "button"):
        answer["digit"] = heard.button.value
    return answer


async def answer(request, state):
    match request["do"]:
        case "detect":
            kind, call = await parse_telephony_websocket(Socket(request["messages"]))
            return {"kind": kind, "call": json.loads(call.model_dump_json(by_alias=True))}
        case "open":
            state.rate = request["rate"]
            state.serializer = opened(request["kind"], request["call"], state.rate)
            await state.serializer.setup(SimpleNamespace(audio_in_sample_rate=state.rate))
            return {}
        case "hear":
            data = request["text"] if "text" in request else base64.b64decode(request["base64"])
            return frame(await state.serializer.deserialize(data))
        case "say":
            audio = OutputAudioRawFrame(base64.b64decode(request["base64"]), state.rate, 1)
            return wire(await state.serializer.serialize(audio))
        case "interrupt":
            return wire(await state.serializer.serialize(InterruptionFrame()))
        case "send":
            return wire(await state.serializer.serialize(OutputTransportMessageUrgentFrame(request["message"])))
    raise ValueError(request["do"])


async def main():
    state = SimpleNamespace(serializer=None, rate=8000)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(await answer(json.loads(line), state)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
