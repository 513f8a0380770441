"""Fuzz target of RTP, RTCP and SRTP: datagrams from a plain socket into a running media loop, real calls on it."""

import asyncio
import contextlib
import socket
import struct
import time
from collections import Counter

from fuzz_mutation import Mutator
from fuzz_runner import Found, Told

from harness.media import sdes_srtp
from harness.media.codecs import G722, OPUS, PCMA, PCMU
from harness.media.loop import MediaLoop
from harness.media.spec import MediaSpec
from harness.protocols import sdes

NAME = "rtp and rtcp"
SSRC = 0xBBBB
# Few enough for any socket's buffer: what the kernel drops is not tried.
_CHUNK = 40
_MOST_BYTES = 1400
_GIVE_UP_S = 60


def _rtp(payload_type, sequence, payload, *, first=0x80, middle=b""):
    return struct.pack("!BBHII", first, payload_type, sequence, 160 * sequence, SSRC) + middle + payload


def _seeds():
    report = struct.pack("!BBHIQIIIIIIIII", 0x81, 200, 12, SSRC, 1 << 40, 1, 2, 3, 0xAAAA, 1, 2, 3, 4, 5)
    names = struct.pack("!BBHI", 0x81, 202, 3, SSRC) + b"\x01\x04peer\x00\x00"
    for sequence in (1, 2, 65_535):
        yield from (_rtp(kind, sequence, b"\xd5" * 160) for kind in (0, 8, 9))
        yield from (
            _rtp(111, sequence, payload) for payload in (b"\xf8\xff\xfe", b"\x78" + bytes(60), b"\x0b" + bytes(9))
        )
    yield _rtp(0, 5, bytes(160), first=0xB2, middle=b"c" * 8 + b"\xbe\xde\x00\x01abcd")
    yield _rtp(0, 6, bytes(157) + b"\0\0\3", first=0xA0)
    yield _rtp(13, 7, b"\x40")
    yield _rtp(101, 8, b"\x01\x80\x03\x20")
    yield report + names
    yield struct.pack("!BBHI", 0x80, 201, 1, SSRC) + names
    yield report + names + struct.pack("!BBHI", 0x81, 203, 1, SSRC)
    yield struct.pack("!BBHI", 0x80, 204, 2, SSRC) + b"name"
    yield struct.pack("!BBHI", 0x80, 207, 3, SSRC) + bytes(8)
    yield b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"i" * 12
    yield b"\x16\xfe\xfd" + bytes(30)
    yield b"\x40\x00\x00\x04abcd"


WORDS = [
    b"\x80",
    b"\x90\x00",
    b"\xb0",
    b"\xa0",
    b"\xbe\xde",
    b"\x10\x00",
    b"\x81\xc8",
    b"\x80\xc9",
    b"\x81\xcb",
    b"\xff\xff",
]
CODECS = {PCMU: 0, PCMA: 8, G722: 9, OPUS: 111}


def feed_media_loop(inputs, seed):
    """Feed calls of each codec, plain and protected, `inputs` datagrams in all; raises Found."""
    return asyncio.run(_feed(inputs, seed))


async def _feed(inputs, seed):
    mutator, told = Mutator(list(_seeds()), WORDS, f"{NAME}{seed}"), Told()
    events = Counter()
    loop = MediaLoop(16)
    loop.start()
    try:
        with contextlib.ExitStack() as stack:
            sockets, calls, port = _calls(loop, stack, events)
            taken = 0
            for first in range(0, inputs, _CHUNK):
                numbers = range(first, min(inputs, first + _CHUNK))
                for number in numbers:
                    sockets[number % len(sockets)].sendto(mutator.make(number)[:_MOST_BYTES], port.address)
                told.inputs += len(numbers)
                taken = await _heard(loop, taken, told, seed)
            for call in calls:
                counts = await call.close()
                told.refused += counts.packets_discarded
                events["packets received"] += counts.packets_received
    finally:
        loop.stop()
    if loop.failure is not None:
        raise Found(f"{NAME}, seed {seed}: the loop died of {loop.failure!r}")
    told.notes = dict(events)
    return told


def _calls(loop, stack, events):
    port = loop.open_port("127.0.0.1", lambda *_: events.update({"handed up": 1}))
    sockets, calls = [], []
    for codec, number in CODECS.items():
        for is_secure in (False, True):
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.bind(("127.0.0.1", 0))
            keys = {}
            if is_secure:
                suite = sdes.SUITES[number % len(sdes.SUITES)]
                ours, theirs = (sdes.Crypto(1, suite, bytes([n]) * suite.material_bytes) for n in (1, 2))
                keys = {"outgoing": sdes_srtp.outgoing_session(ours), "incoming": sdes_srtp.incoming_session(theirs)}
            calls.append(
                loop.add_call(
                    port,
                    MediaSpec(
                        remote=sock.getsockname(), ssrc=len(calls) + 1, first_sequence=0, first_timestamp=0, cname="c",
                        quiet_ms=300, media_timeout_ms=600_000, codec=codec, payload_type=number,
                        post=lambda event: events.update({type(event).__name__: 1}), **keys,
                    ),
                )
            )  # fmt: skip
            sockets.append(sock)
    return sockets, calls, port


async def _heard(loop, taken, told, seed):
    """Return when the loop has taken all that was sent; what it does not take within a minute, it hangs on."""
    end = time.monotonic() + _GIVE_UP_S
    while True:
        stats = loop.take_stats()
        taken += stats.datagrams_received + stats.socket_drops
        if taken >= told.inputs:
            return taken
        if loop.failure is not None or time.monotonic() > end:
            raise Found(f"{NAME}, seed {seed}, up to input {told.inputs}: the loop took {taken}: {loop.failure!r}")
        await asyncio.sleep(0.002)
