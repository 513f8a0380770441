"""One call of the hot path in virtual time: no thread, no socket; each packet is taken out of the batch it waits in."""

from types import SimpleNamespace

import numpy as np

from harness.media.call_table import CallTable
from harness.media.clip_table import ClipTable
from harness.media.clips import Clip
from harness.media.codecs import PCMU
from harness.media.hot import batch, layout, rings
from harness.media.hot.layout import TICK_NS, Event
from harness.media.hot.outgoing import send_tick
from harness.media.hot.run import serve
from harness.media.payloads import Payloads
from harness.media.ring_reader import RingReader
from harness.media.spec import MediaSpec

SSRC = 0xAAAA
FIRST_SEQUENCE, FIRST_TIMESTAMP = 65_530, 2**32 - 160 * 3
START_NS = 1_000_000_000_000


def clip_of(utterance_id, packets, first_voiced=0, last_voiced=None, codec=PCMU):
    """Return a clip whose n-th payload is the octet n over and over."""
    payloads = Payloads(bytes([n]) * len(codec.silence) for n in range(packets))
    last = packets - 1 if last_voiced is None else last_voiced
    return Clip(utterance_id, payloads, first_voiced, last, lambda: np.zeros(160 * packets, np.int16), codec)


class HotBench:
    """Call 0 of one media table; `now_ns` is moved by `tick`."""

    def __init__(self, **said):
        self.media = layout.new_media(2, 2, 64, 4096, -1, -1)
        self.clips = ClipTable(self.media)
        self.posted = []
        self.calls = CallTable(self.media, self.clips, self._command)
        values = {
            "remote": ("127.0.0.1", 9),
            "ssrc": SSRC,
            "first_sequence": FIRST_SEQUENCE,
            "first_timestamp": FIRST_TIMESTAMP,
            "cname": "c",
            "quiet_ms": 300,
            "media_timeout_ms": 2000,
            "post": self.posted.append,
            "codec": PCMU,
            "payload_type": 0,
            **said,
        }
        self.now_ns = START_NS
        self.call = self.calls.add(SimpleNamespace(index=0, address=("127.0.0.1", 8)), MediaSpec(**values))
        self.media.ports[0].fd = -1
        self.row = self.media.calls[0]
        self._events = RingReader(self.media.events.rows, self.media.events.cells, rings.EVENT)

    def _command(self, kind, call, clip, at_ns):
        """Do at once what the loop's thread would do at its next wake-up."""
        serve(self.media, int(kind), call, clip, at_ns, self.now_ns)

    def tick(self):
        """Let the next 20 ms tick be due; return the packet that it would send, None for none."""
        send_tick(self.media, 0, self.now_ns, self.now_ns)
        self.now_ns += TICK_NS
        return self.take()

    def ticks(self, count):
        return [self.tick() for _ in range(count)]

    def take(self):
        """Take the one datagram that waits, as if the kernel had; its moments are told as at the end of its tick."""
        box = self.media.batch
        if box.fill[0] == 0:
            return None
        assert box.fill[0] == 1
        packet = box.data[0, : box.vectors[0, 1]].tobytes()
        batch.tell_moments(self.media, 0, int(box.marks[0]), int(box.clip[0]), self.now_ns)
        box.fill[0] = 0
        return packet

    def told(self):
        """Return the events so far as (kind, time, value)."""
        events = []
        for kind, call, generation, at_ns, value in self._events.take(self._events.waiting()):
            assert (call, generation) == (0, 1)
            events.append((Event(kind), at_ns, value))
        return events
