"""A call that is over is gone with its last reference: a media server's collector comes by after hundreds of calls."""

import asyncio
import gc

import aiohttp
import numpy as np
import pytest
from edge_peer import Client, tone, until
from sip_peer import SipClient

from harness.media.codecs import G722
from harness.media.event_loop import ClosingLoop
from harness.media.peer.link import PeerLink
from harness.protocols import rtvi
from harness.protocols.audio_sdp import Format
from target_stack.edge.agent_call import AgentCall
from target_stack.edge.rtp.line import RtpLine
from target_stack.edge.speech_encoder import SpeechEncoder
from target_stack.pipeline.reply import Reply
from target_stack.pipeline.session import Session

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(120)]

OF_A_CALL = (AgentCall, Session, Reply, RtpLine, PeerLink)
FRAME = 480


def parts_of_calls():
    return [one for one in gc.get_objects() if isinstance(one, OF_A_CALL)]


async def over_webrtc(stack, port):
    """Pause in the middle of a turn, so that an answer is begun and called off; hear the answer; leave."""
    async with Client(f"http://127.0.0.1:{port}") as client:
        await client.until_said(rtvi.BotStoppedSpeaking)
        client.speak(0.4)
        await until(lambda: client.voice.tone_frames < -18, "a pause")
        client.speak(0.4)
        await client.until_said(rtvi.BotStoppedSpeaking, 2)


async def over_sip(stack, _port):
    """As over WebRTC; what the agent tells is read from the call's WebSocket."""
    host, _, port = (await stack.start_sip()).udp.removeprefix("sip:").rpartition(":")
    encoder = SpeechEncoder(G722)
    voice = np.concatenate((tone(0.4), tone(0.4) * 0, tone(0.4)))

    async def speak(call):
        loop = asyncio.get_running_loop()
        due = loop.time()
        for at in range(0, 2000 * FRAME, FRAME):
            frame = voice[at : at + FRAME]
            call.media.send(call.remote, 9, encoder.encode(frame if len(frame) == FRAME else None))
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))

    async with (
        SipClient((host, int(port)), formats=[Format(9, "G722", 8000)]) as client,
        aiohttp.ClientSession() as http,
    ):
        call = await client.call()
        async with http.ws_connect(call.answered.response.get("X-Callquake-Events")) as socket:
            speaking = asyncio.create_task(speak(call))
            told = 0
            while told < 2:
                told += isinstance(rtvi.parse((await socket.receive(20)).data), rtvi.BotStoppedSpeaking)
            speaking.cancel()
            await asyncio.wait({speaking})
        call.hang_up()


@pytest.mark.parametrize("place", [over_webrtc, over_sip])
def test_nothing_of_a_call_of_the_agent_is_left_to_the_collector(place):
    from target_stack.__main__ import parser
    from target_stack.app import Stack
    from target_stack.config import config_from

    options = ["up", "--profile", "emulated", "--port", "0", "--sip-port", "0", "--greeting", "Hello."]

    async def scenario():
        stack = Stack(config_from(parser({}).parse_args(options), {}))
        port = await stack.start()
        try:
            await stack.load()
            await place(stack, port)
            drafts = dict(stack.stats.drafts)
            await until(lambda: stack.stats.active_sessions == 0, "released")
            # What still waits for the event loop's next rounds holds a call for that long.
            await asyncio.sleep(0.2)
            return drafts, [type(one).__name__ for one in parts_of_calls() if not any(one is other for other in others)]
        finally:
            await stack.aclose()

    gc.collect()
    # Other tests' calls, if any were left.
    others = parts_of_calls()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=ClosingLoop) as runner:
            drafts, left = runner.run(scenario())
    finally:
        gc.enable()
    assert drafts["cancelled"] >= 1, "the pause was to begin a draft that is called off"
    assert left == []
