"""A running media loop and a plain socket at its other end; nothing of the loop's own code judges what arrives."""

import asyncio
import contextlib
import socket
import time

import numpy as np
import reference_rtp as rtp

from harness.media.clips import Clip
from harness.media.codecs import PCMU
from harness.media.loop import MediaLoop
from harness.media.payloads import Payloads
from harness.media.spec import MediaSpec

DEADLINE_S = 60
SSRC = 0xAAAA


async def until(condition, what="it"):
    """Wait for `condition`; its time-out is no measurement, only an end."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_loop(capacity=64):
    loop = MediaLoop(capacity)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()
    assert loop.failure is None


def spec(remote, ssrc=SSRC, **said):
    """Return a PCMU call's media; its events go into the list `post` when one is given."""
    said.setdefault("post", [])
    return MediaSpec(
        **{
            "remote": remote,
            "ssrc": ssrc,
            "first_sequence": 0,
            "first_timestamp": 0,
            "cname": f"c{ssrc}",
            "quiet_ms": 300,
            "media_timeout_ms": 60_000,
            "codec": PCMU,
            "payload_type": 0,
            **said,
            "post": said["post"].append,
        }
    )


def clip_of(utterance_id, packets, size=160):
    """Return a clip whose n-th payload is the octet n over and over, voiced from its second to its last but one."""
    payloads = Payloads(bytes([n]) * size for n in range(packets))
    return Clip(utterance_id, payloads, 1, packets - 2, lambda: np.zeros(160 * packets, np.int16), PCMU)


class PlainPeer:
    """A UDP socket that keeps what comes to it."""

    def __init__(self, host="127.0.0.1"):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind((host, 0))
        self.sock.setblocking(False)
        self.address = self.sock.getsockname()[:2]
        # Datagrams in order, each with who sent it.
        self.came = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data, port):
        self.sock.sendto(data, port.address)

    def read(self):
        """Take what waits; return all datagrams so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, source = self.sock.recvfrom(4096)
                self.came.append((data, source[:2]))
        return self.came

    def packets(self):
        """Return all RTP so far as (header, payload)."""
        told = []
        for data, _ in self.read():
            if not is_report(data):
                header = rtp.parse_header(data)
                told.append((header, data[header.payload_start : header.payload_end]))
        return told

    def reports(self):
        return [data for data, _ in self.read() if is_report(data)]


def is_report(data):
    return 192 <= data[1] <= 223


def rtp_packet(sequence, payload=PCMU.silence, *, payload_type=0, ssrc=0xBBBB, timestamp=None):
    stamp = 160 * sequence if timestamp is None else timestamp
    return rtp.pack_header(payload_type, False, sequence, stamp, ssrc) + payload
