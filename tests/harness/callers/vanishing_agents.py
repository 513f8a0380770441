"""Agents of every transport but WebRTC in one process, to be stopped or killed; prints their addresses as JSON.

`cut` on standard input resets every connection that it has.
"""

import asyncio
import json
import socket
import struct
import sys

from rtp_agent import RtpAgent
from sip_audio_agent import AudioAgent
from stream_agent import AudioSocketServer, StreamAgent

from harness.callers.audio_leg import format_of
from harness.media.codecs import PCMU
from harness.signalling.tls import server_context


def reset(transport):
    """Have the kernel send a RST."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def main(certificate, key):
    tls = server_context(certificate, key)
    async with (
        AudioAgent() as udp,
        AudioAgent(transport="tcp") as tcp,
        AudioAgent(transport="tls", tls=tls) as secure,
        RtpAgent((format_of(PCMU),)) as rtp,
        StreamAgent() as stream,
        AudioSocketServer() as audiosocket,
    ):
        named = {"sip udp": udp, "sip tcp": tcp, "sip tls": secure, "rtp": rtp, "media stream": stream}
        print(json.dumps({name: a.url for name, a in {**named, "audiosocket": audiosocket}.items()}), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            connections = [s._transport for agent in (tcp, secure) for s in agent.endpoint._streams.values()]
            connections += [talk.transport for talk in stream.talks]
            connections += [talk.writer.transport for talk in audiosocket.talks]
            for connection in connections:
                reset(connection)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
