"""The seam into aiortc and aioice: every private name is used here, so a release that moves one fails loudly."""

import asyncio
import threading
from importlib.metadata import version

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from harness.media import takeover
from harness.model.errors import GeneratorError, TargetError
from harness.protocols import rtp

pytestmark = pytest.mark.loopback


async def connected_pair(answer_direction="sendrecv"):
    takeover.use_host_addresses(["127.0.0.1"])
    a, b = RTCPeerConnection(RTCConfiguration(iceServers=[])), RTCPeerConnection(RTCConfiguration(iceServers=[]))
    a.addTransceiver("audio", direction="sendrecv")
    channel = a.createDataChannel("chat")
    heard = asyncio.get_running_loop().create_future()

    # Listened for before the connection is up: the channel may open at once with it.
    @b.on("datachannel")
    def on_channel(theirs):
        theirs.on("message", lambda text: heard.done() or heard.set_result(text))

    await a.setLocalDescription(await a.createOffer())
    await b.setRemoteDescription(RTCSessionDescription(a.localDescription.sdp, "offer"))
    for transceiver in b.getTransceivers():
        transceiver.direction = answer_direction
    await b.setLocalDescription(await b.createAnswer())
    await a.setRemoteDescription(RTCSessionDescription(b.localDescription.sdp, "answer"))
    for pc in (a, b):
        while pc.connectionState != "connected":
            await asyncio.sleep(0.005)
    return a, b, channel, heard


def test_audio_is_taken_and_the_rest_of_the_connection_goes_on():
    async def scenario():
        a, b, channel, heard = await connected_pair()
        taken_a, taken_b = await takeover.take_over(a), await takeover.take_over(b)
        assert taken_a.candidate_types == ("host", "host")
        assert taken_a.payload_type == taken_b.payload_type
        # Nobody reads a's and b's sockets now but us: STUN and DTLS must be fed back for the channel to open.
        loop = asyncio.get_running_loop()
        plain = []

        def read(taken):
            data, address = taken.sock.recvfrom(2048)
            if 128 <= data[0] <= 191:
                plain.append(taken.link.unprotect_rtp(data))
            else:
                taken.feed_back(data, address)

        for taken in (taken_a, taken_b):
            loop.add_reader(taken.sock.fileno(), read, taken)
        while channel.readyState != "open":
            await asyncio.sleep(0.01)
        channel.send("still here")
        assert await asyncio.wait_for(heard, 30) == "still here"
        packet = rtp.pack_header(taken_a.payload_type, False, 7, 960, taken_a.ssrc) + b"payload"
        taken_a.link.send_rtp(packet)
        while not plain:
            await asyncio.sleep(0.01)
        assert plain == [packet]
        assert taken_b.link.unprotect_rtp(b"\x80" + b"forged" * 8) is None
        # aiortc's decoder threads are gone with its media path.
        assert not [t for t in threading.enumerate() if t.name == "audio-decoder"]
        for taken in (taken_a, taken_b):
            loop.remove_reader(taken.sock.fileno())
            taken.sock.close()
        await asyncio.wait_for(asyncio.gather(a.close(), b.close()), 10)

    asyncio.run(scenario())


def test_an_agent_that_takes_no_audio_is_told_apart():
    async def scenario():
        a, b, *_ = await connected_pair("sendonly")
        try:
            with pytest.raises(TargetError, match="does not accept our audio"):
                await takeover.take_over(a)
        finally:
            await asyncio.wait_for(asyncio.gather(a.close(), b.close()), 10)

    asyncio.run(scenario())


def test_unproven_versions_are_refused(monkeypatch):
    takeover.guard_versions()
    monkeypatch.setattr(takeover, "PROVEN", {"aiortc": "9.9"})
    with pytest.raises(
        GeneratorError, match=rf"aiortc {version('aiortc')} is installed.*pip install 'aiortc==9\.9\.\*'"
    ):
        takeover.guard_versions()
