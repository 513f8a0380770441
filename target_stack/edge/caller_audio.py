"""The caller's Opus packets, as they arrive, to 16 kHz samples in order: what an agent's ear needs, and no more.

A player would buffer to sound smooth; an agent pays for that in answer time (aiortc's buffer costs 80 ms, and 280 ms
more after one lost packet). So a packet in order goes through at once, one out of order waits for at most
HELD_PACKETS others, and what is lost becomes silence of its length.
"""

from typing import cast

import av
import numpy as np

from harness.media.opus import PACKET_SAMPLES, RATE
from harness.protocols.rtp import sequence_delta, timestamp_delta
from target_stack.frames import INPUT_RATE, Pcm

HELD_PACKETS = 3
# A longer hole is no loss but a pause (DTX, a sleeping tab): time passes without samples.
MAX_CONCEALED_SAMPLES = RATE // 5
# A jump of the sequence number beyond this is a new stream.
MAX_JUMP = 1000
_NOTHING = np.zeros(0, np.int16)


class CallerAudio:
    """One incoming stream. Counts `lost` and `late` packets."""

    def __init__(self) -> None:
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=INPUT_RATE)
        self._decoder = _decoder()
        # Extended position: the sequence number due next, and the timestamp it should have.
        self._next: tuple[int, int] | None = None
        self._held: dict[int, tuple[int, bytes]] = {}
        self.lost = 0
        self.late = 0

    def take(self, sequence: int, timestamp: int, payload: bytes) -> Pcm:
        """Return the samples that this packet makes ready: int16 mono at INPUT_RATE, empty while one is waited for."""
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
        if 0 < hole <= MAX_CONCEALED_SAMPLES:
            silence = [np.zeros(hole * INPUT_RATE // RATE, np.int16)]
        return silence + self._release()

    def _decode(self, payload: bytes) -> tuple[Pcm, int]:
        """Return 16 kHz samples and the packet's length at 48 kHz; an undecodable packet is 20 ms of silence."""
        try:
            frames = self._decoder.decode(av.Packet(payload)) if payload else []
        except av.FFmpegError:
            return np.zeros(PACKET_SAMPLES * INPUT_RATE // RATE, np.int16), PACKET_SAMPLES
        parts = [part.to_ndarray().reshape(-1) for frame in frames for part in self._resampler.resample(frame)]
        length = sum(frame.samples for frame in frames)
        return cast("Pcm", np.concatenate(parts)) if parts else _NOTHING, length


def _decoder() -> av.AudioCodecContext:
    decoder = av.CodecContext.create("libopus", "r")
    if not isinstance(decoder, av.AudioCodecContext):
        raise TypeError("PyAV's libopus is not an audio decoder")
    decoder.sample_rate = RATE
    decoder.layout = "mono"
    decoder.format = "s16"
    return decoder
