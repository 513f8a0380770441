"""What the reference responder says: clips whose first voiced packet is beyond doubt, made once for each opening.

The voice is encoded from its own first sample on, and the silence before it is whole packets: so the packet in which
the answer begins is known without listening to it.
"""

import numpy as np

from harness.calibrate.behaviour import Behaviour
from harness.calibrate.voice import voiced
from harness.media.clips import Clip, encode_clip
from harness.media.codecs import Codec
from harness.media.payloads import Payloads

ANSWER, GREETING = "answer", "greeting"
# A moment of silence before a greeting, as an agent that picks up has.
_GREETING_LEADING_PACKETS = 15
_NOISE_SECONDS = 2
# -60 dBFS RMS: audible in a quiet room, 10 dB under the lowest gate of our callers.
_NOISE_AMPLITUDE = 32.7


class AnswerShelf:
    """Clips by codec and number of leading packets; made on first use, shared by all calls."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._voices: dict[tuple[str, Codec], Clip] = {}
        self._openings: dict[tuple[str, Codec, int], Clip] = {}
        self._noises: dict[Codec, Clip] = {}

    def answer(self, codec: Codec, leading_packets: int) -> Clip:
        """Return an answer that opens with so many packets of silence."""
        return self._opened(ANSWER, self._behaviour.answer_ms, codec, leading_packets)

    def greeting(self, codec: Codec) -> Clip | None:
        """Return the greeting, None where there is none."""
        if not self._behaviour.greeting_ms or self._behaviour.mute:
            return None
        return self._opened(GREETING, self._behaviour.greeting_ms, codec, _GREETING_LEADING_PACKETS)

    def background(self, codec: Codec) -> Clip | None:
        """Return what is sent between answers; None = silence packets, or nothing."""
        if self._behaviour.silence != "comfort-noise":
            return None
        if codec not in self._noises:
            draw = np.random.default_rng(self._behaviour.seed)
            samples = draw.normal(0.0, _NOISE_AMPLITUDE, _NOISE_SECONDS * codec.sample_rate).astype(np.int16)
            self._noises[codec] = encode_clip("comfort noise", samples, 0, _NOISE_SECONDS * 1000, codec)
        return self._noises[codec]

    def _opened(self, name: str, length_ms: float, codec: Codec, leading_packets: int) -> Clip:
        key = (name, codec, leading_packets)
        if key not in self._openings:
            voice = self._voice(name, length_ms, codec)
            quiet = self._quiet(codec, leading_packets)
            payloads = Payloads((*quiet, *voice.payloads))
            silent = np.zeros(leading_packets * codec.packet_samples, np.int16)
            samples = np.concatenate([silent, voice.read_samples()])
            self._openings[key] = Clip(name, payloads, leading_packets, len(payloads) - 1, lambda: samples, codec)
        return self._openings[key]

    def _voice(self, name: str, length_ms: float, codec: Codec) -> Clip:
        key = (name, codec)
        if key not in self._voices:
            self._voices[key] = encode_clip(name, voiced(length_ms, codec.sample_rate), 0, length_ms, codec)
        return self._voices[key]

    def _quiet(self, codec: Codec, packets: int) -> tuple[bytes, ...]:
        noise = self.background(codec)
        if noise is None:
            return (codec.silence,) * packets
        return tuple(noise.payloads[i % len(noise.payloads)] for i in range(packets))
