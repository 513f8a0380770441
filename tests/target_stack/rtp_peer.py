"""A caller's RTP socket, for the edges that speak plain RTP."""

import asyncio

from edge_peer import tone

from target_stack.edge.rtp import packet as rtp
from target_stack.edge.speech_encoder import SpeechEncoder


class Peer(asyncio.DatagramProtocol):
    """The caller's socket."""

    def __init__(self):
        self.got = []
        self.sequence = 100

    async def open(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.address = self.transport.get_extra_info("sockname")
        return self

    def datagram_received(self, data, addr):
        self.got.append((data, addr))

    def send(self, to, payload_type, payload, timestamp=None, protect=lambda data: data):
        self.sequence += 1
        timestamp = self.sequence * 160 if timestamp is None else timestamp
        data = rtp.build(rtp.Packet(payload_type, False, self.sequence, timestamp, 77, payload))
        self.transport.sendto(protect(data), to)

    def packets(self, opened=lambda data: data):
        return [rtp.parse(opened(data)) for data, _ in self.got if data and not rtp.is_rtcp(data)]


def in_packets(codec, seconds=0.4):
    encoder = SpeechEncoder(codec)
    return [encoder.encode(frame) for frame in tone(seconds).reshape(-1, 480)]
