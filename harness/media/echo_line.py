"""A call's echo: what the agent says sent back to it, later and louder or quieter, wherever the caller is silent.

tap (media_call.py) ─► decode ─► gain ─► encode ─► background_line.py, at the packet that leaves `delay_ms` later

What a telephone on its loudspeaker does without echo cancellation. While the caller speaks it sends its own words
alone. Counted is what the loop has really sent, packet by packet.
"""

import asyncio
import math
from dataclasses import dataclass

import numpy as np

from harness.media.background_line import NOT_BEFORE, PACKETS, BackgroundLine
from harness.media.clips import Pcm
from harness.media.codecs import PACKET_MS, Codec
from harness.media.media_call import MediaCall
from harness.media.payload_decoder import PayloadDecoder
from harness.media.payload_encoder import PayloadEncoder
from harness.model.clock import NS_PER_MS, monotonic_ns

# The ring has room for so much of delay, and what is sent while nobody looks.
MOST_DELAY_MS = 2_000
# How often is looked at what was sent, where the agent sends nothing that makes us look.
_LOOK_S = 0.4
# RMS of what nobody hears: -60 dBFS.
_AUDIBLE = 33.0
# Packets go on behind the last one unless that is so far from where they belong.
_UNEVEN = 4
_PACKET_NS = PACKET_MS * NS_PER_MS


@dataclass(slots=True)
class EchoCounts:
    """Packets with the agent's own sound: that left, and that were left out because the caller spoke itself."""

    sent: int = 0
    masked: int = 0


class EchoLine:
    """One call's echo from `start` to `stop`, on the event loop's thread; `give_back` when the call is over."""

    def __init__(self, call: MediaCall, delay_ms: float, gain_db: float) -> None:
        self.counts = EchoCounts()
        self._call = call
        self._delay_ns = int(delay_ms * NS_PER_MS)
        self._gain = 10.0 ** (gain_db / 20)
        self._line: BackgroundLine | None = None
        self._codec: Codec = call.spec.codec
        self._decoder = PayloadDecoder(self._codec)
        self._encoder = PayloadEncoder(self._codec)
        self._left: Pcm = np.zeros(0, np.int16)
        # Places count on and on; `_now` is the one that the loop sends next.
        self._now = 0
        self._place: int | None = None
        # Where the next packet of the agent's belongs.
        self._next: int | None = None
        self._waiting: dict[int, bytes] = {}
        # A place and when it left: what follows it without a pause left a packet's time later each.
        self._anchor: tuple[int, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_on = False

    def start(self) -> None:
        """Begin to echo what comes from now on. Raises GeneratorError where the loop has no room."""
        self._line = self._call.open_line()
        self._call.tap(self._heard)
        self._is_on = True
        self._look_again()

    def stop(self) -> None:
        """Send the caller's own silence again; what has not left yet is not sent. Again is harmless."""
        if not self._is_on:
            return
        self._is_on = False
        if self._timer is not None:
            self._timer.cancel()
        self._look()
        self._forget_waiting(is_masked=False)
        self._call.tap(None)
        self._call.close_line()

    def give_back(self) -> None:
        """Let another call have the ring, this one being out of the loop."""
        self.stop()
        if self._line is not None:
            self._call.give_back_line(self._line)
            self._line = None

    # --- what was sent ---------------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        self._look()
        self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look_again)

    def _look(self) -> None:
        """Count what the loop has sent since, and put silence in its place."""
        at = self._call.background_place
        if self._line is None or at is None:
            return
        last, self._place = self._place, at
        if last is None:
            self._now = at
            return
        passed = (at - last) % PACKETS
        self._steady(monotonic_ns() - passed * _PACKET_NS)
        for place in range(self._now, self._now + passed):
            payload = self._waiting.pop(place, None)
            if payload is not None:
                self.counts.sent += 1
                self._line.silence(place, self._codec)
                self._call.echoed(payload, self._codec, self._left_at_ns(place))
        self._now += passed
        if self._call.is_speaking:
            self._forget_waiting(is_masked=True)

    def _steady(self, at_ns: int) -> None:
        """Take `at_ns` for when the place that is next left, where what is known of it is far from that."""
        if self._anchor is None or abs(self._left_at_ns(self._now) - at_ns) > _UNEVEN * _PACKET_NS:
            self._anchor = self._now, at_ns

    def _left_at_ns(self, place: int) -> int:
        first, at_ns = self._anchor or (place, 0)
        return at_ns + (place - first) * _PACKET_NS

    def _forget_waiting(self, *, is_masked: bool) -> None:
        for place in self._waiting:
            if self._line is not None:
                self._line.silence(place, self._codec)
        if is_masked:
            self.counts.masked += len(self._waiting)
        self._waiting.clear()
        self._next = None

    # --- what is heard ---------------------------------------------------------------------------------------------

    def _heard(self, payload: bytes, _timestamp: int, at_ns: int) -> None:
        """Take one packet of the agent's."""
        self._look()
        if self._call.spec.codec is not self._codec:
            self._change_codec()
        samples = np.concatenate([self._left, self._decoder.decode(payload)])
        size = self._codec.packet_samples
        whole = len(samples) // size * size
        self._left = samples[whole:]
        if self._call.is_speaking:
            self.counts.masked += sum(_is_audible(samples[at : at + size]) for at in range(0, whole, size))
            return
        for at in range(0, whole, size):
            self._send(samples[at : at + size], at_ns + self._delay_ns)

    def _change_codec(self) -> None:
        """Begin anew in the codec that the call has come to speak."""
        self._forget_waiting(is_masked=False)
        self._codec = self._call.spec.codec
        self._decoder, self._encoder = PayloadDecoder(self._codec), PayloadEncoder(self._codec)
        self._left = np.zeros(0, np.int16)
        if self._line is not None:
            self._line.clear(self._codec)

    def _send(self, samples: Pcm, leaves_at_ns: int) -> None:
        """Put one packet's samples where they belong, or leave silence there."""
        ahead = round((leaves_at_ns - monotonic_ns()) / _PACKET_NS)
        wanted, earliest = self._now + max(ahead, NOT_BEFORE), self._now + NOT_BEFORE
        place = self._next
        if place is None or place < earliest or abs(place - wanted) > _UNEVEN:
            place = wanted
        self._next = place + 1
        echo = _louder(samples, self._gain)
        payload = self._encoder.encode(echo)
        if self._line is None or payload is None or not _is_audible(echo) or place - self._now >= PACKETS - NOT_BEFORE:
            return
        if self._line.put(place, payload):
            self._waiting[place] = payload


def _louder(samples: Pcm, gain: float) -> Pcm:
    louder: Pcm = np.clip(np.round(samples * gain), -32768, 32767).astype(np.int16)
    return louder


def _is_audible(samples: Pcm) -> bool:
    return len(samples) > 0 and math.sqrt(float(np.mean(samples.astype(np.float64) ** 2))) > _AUDIBLE
