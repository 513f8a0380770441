"""Telephone and internet codecs: encode, decode, and take the delay out. int16 mono at the codec's own rate.

The encoders are FFmpeg's and those it carries (PyAV: G.711, G.722, AMR-NB by opencore-amr, Opus by libopus); GSM full
rate, which FFmpeg only decodes, is libsndfile's (soundfile).
"""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import av
import numpy as np

from harness.corpus.audio import Pcm
from harness.model.errors import ScenarioError

_FRAME_MS = 20


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec at one rate and bit rate."""

    # Samples a second that it takes and gives.
    rate: int
    # How many samples later a sound comes out than it went in.
    delay: int
    code: Callable[[Pcm, int], Pcm]
    # The rate whose half is the highest frequency that gets through; the same as `rate` but for Opus.
    band_rate: int

    def through(self, pcm: Pcm) -> Pcm:
        """`pcm` (at `rate`) encoded and decoded: the same length, nothing shifted."""
        frame = self.rate * _FRAME_MS // 1000
        # Silence behind it, so that what the delay pushes over the end is coded too.
        padded = np.pad(pcm, (0, self.delay + frame + (-len(pcm) - self.delay) % frame))
        return self.code(padded, self.rate)[self.delay :][: len(pcm)]


@dataclass(frozen=True, slots=True)
class _Ffmpeg:
    """An encoder and a decoder of FFmpeg's."""

    encoder: str
    decoder: str
    bit_rate: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, pcm: Pcm, rate: int) -> Pcm:
        decoder = _context(self.decoder, "r", rate)
        frames = [frame for packet in self._encoded(pcm, rate) for frame in decoder.decode(av.Packet(packet))]
        frames += decoder.decode(None)
        return np.concatenate([_int16(frame) for frame in frames])

    def _encoded(self, pcm: Pcm, rate: int) -> Iterator[bytes]:
        """Packets without what the encoder says about padding: delays are ours to take out."""
        encoder = _context(self.encoder, "w", rate)
        encoder.format = "s16"
        encoder.time_base = Fraction(1, rate)
        if self.bit_rate is not None:
            encoder.bit_rate = self.bit_rate
        encoder.options = dict(self.options)
        size = rate * _FRAME_MS // 1000
        for at in range(0, len(pcm), size):
            frame = av.AudioFrame.from_ndarray(pcm[None, at : at + size], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, at, encoder.time_base
            yield from map(bytes, encoder.encode(frame))
        yield from map(bytes, encoder.encode(None))


def _context(name: str, mode: Literal["r", "w"], rate: int) -> av.AudioCodecContext:
    context = av.CodecContext.create(name, mode)
    if not isinstance(context, av.AudioCodecContext):
        raise TypeError(f"PyAV's {name} is no audio codec")
    context.sample_rate = rate
    context.layout = "mono"
    return context


def _int16(frame: av.AudioFrame) -> Pcm:
    if frame.format.name not in ("s16", "s16p"):
        raise TypeError(f"a decoder gave {frame.format.name}; it should give 16-bit samples")
    return frame.to_ndarray().reshape(-1).astype(np.int16)


def _gsm(pcm: Pcm, rate: int) -> Pcm:
    try:
        import soundfile  # noqa: PLC0415  of the corpus extra
    except (ImportError, OSError) as error:
        raise ScenarioError(f"channel gsm needs `pip install -e '.[corpus]'` in the checkout: {error}") from error
    raw = io.BytesIO()
    soundfile.write(raw, pcm, rate, format="RAW", subtype="GSM610")
    decoded, _ = soundfile.read(
        io.BytesIO(raw.getvalue()), format="RAW", subtype="GSM610", samplerate=rate, channels=1, dtype="int16"
    )
    return np.asarray(decoded, np.int16)


def _opus(bit_rate: int, band_rate: int) -> Codec:
    # Complexity 5 of 10 is what WebRTC chooses on phones. The delay is what libopus calls its lookahead: 6.5 ms.
    options = {"application": "voip", "frame_duration": str(_FRAME_MS), "vbr": "on", "compression_level": "5"}
    return Codec(48000, 312, _Ffmpeg("libopus", "libopus", bit_rate, options), band_rate)


# Delays in samples: G.722's two filter banks 22, AMR's lookahead of 5 ms 40; tests measure every one.
CODECS: Mapping[str, Codec] = {
    "g711-ulaw": Codec(8000, 0, _Ffmpeg("pcm_mulaw", "pcm_mulaw"), 8000),
    "g711-alaw": Codec(8000, 0, _Ffmpeg("pcm_alaw", "pcm_alaw"), 8000),
    "g722": Codec(16000, 22, _Ffmpeg("g722", "g722"), 16000),
    "gsm": Codec(8000, 0, _gsm, 8000),
    "amr-12k2": Codec(8000, 40, _Ffmpeg("libopencore_amrnb", "libopencore_amrnb", 12200), 8000),
    "amr-4k75": Codec(8000, 40, _Ffmpeg("libopencore_amrnb", "libopencore_amrnb", 4750), 8000),
    "opus-6k": _opus(6000, 8000),
    "opus-12k": _opus(12000, 16000),
    "opus-24k": _opus(24000, 24000),
}
