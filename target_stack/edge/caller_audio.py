"""The caller's RTP packets, as they arrive, to 16 kHz samples in order: what an agent's ear needs, and no more.

A player would buffer to sound smooth; an agent pays for that in answer time (aiortc's buffer costs 80 ms, and 280 ms
more after one lost packet). So a packet in order goes through at once, one out of order waits for at most
HELD_PACKETS others, and what is lost becomes silence of its length.
"""

import numpy as np

from harness.media.codecs import OPUS, Codec
from harness.protocols.rtp import sequence_delta, timestamp_delta
from target_stack.edge.decoders import clock_ticks, new_decoder
from target_stack.frames import INPUT_RATE, Pcm

HELD_PACKETS = 3
# A longer hole is no loss but a pause (DTX, a sleeping tab): time passes without samples.
MAX_CONCEALED_S = 0.2
# A jump of the sequence number beyond this is a new stream.
MAX_JUMP = 1000
_NOTHING = np.zeros(0, np.int16)


class CallerAudio:
    """One incoming stream. Counts `lost` and `late` packets."""

    def __init__(self, codec: Codec = OPUS) -> None:
        self._codec = codec
        self._decoder = new_decoder(codec)
        # Extended position: the sequence number due next, and the timestamp it should have.
        self._next: tuple[int, int] | None = None
        self._held: dict[int, tuple[int, bytes]] = {}
        self.lost = 0
        self.late = 0

    def take(self, sequence: int, timestamp: int, payload: bytes) -> Pcm:
        """Return the samples that this packet makes ready: int16 mono at INPUT_RATE, empty while one is waited for.

        An empty payload stands for a packet of the stream that holds no audio (a telephone event, comfort noise).
        """
        if self._next is None or abs(sequence_delta(sequence, self._next[0])) > MAX_JUMP:
            self._next = (sequence, timestamp)
            self._held.clear()
        if sequence_delta(sequence, self._next[0]) < 0:
            self.late += 1
            return _NOTHING
        self._held[sequence] = (timestamp, payload)
        parts = self._release()
        if len(self._held) > HELD_PACKETS:
            parts += self._give_up()
        return np.concatenate(parts) if parts else _NOTHING

    def _release(self) -> list[Pcm]:
        """Decode what is in order."""
        parts: list[Pcm] = []
        while self._next is not None and self._next[0] in self._held:
            sequence = self._next[0]
            timestamp, payload = self._held.pop(sequence)
            samples, length = self._decode(payload)
            parts.append(samples)
            self._next = ((sequence + 1) & 0xFFFF, (timestamp + length) & 0xFFFFFFFF)
        return parts

    def _give_up(self) -> list[Pcm]:
        """Skip the packets that did not come; silence stands for them."""
        assert self._next is not None
        due, due_timestamp = self._next
        first = min(self._held, key=lambda sequence: sequence_delta(sequence, due))
        self.lost += sequence_delta(first, due)
        hole = timestamp_delta(self._held[first][0], due_timestamp)
        self._next = (first, self._held[first][0])
        silence: list[Pcm] = []
        if 0 < hole <= MAX_CONCEALED_S * self._codec.clock_rate:
            silence = [np.zeros(hole * INPUT_RATE // self._codec.clock_rate, np.int16)]
        return silence + self._release()

    def _decode(self, payload: bytes) -> tuple[Pcm, int]:
        """Return 16 kHz samples and the packet's length in the RTP clock; an undecodable packet is 20 ms of silence."""
        codec = self._codec
        if not payload:
            return _NOTHING, 0
        samples = self._decoder.decode(payload)
        if samples is None:
            return np.zeros(codec.packet_samples * INPUT_RATE // codec.sample_rate, np.int16), codec.ticks_per_packet
        return samples, clock_ticks(codec, payload, samples)
