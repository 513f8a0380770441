"""Payloads to samples at INPUT_RATE, one decoder an incoming stream.

What most of a call is made of is made cheap: Opus goes through libopus at our rate, G.711 through a table, and packets
that are silence, whatever was before them, are silence without a decoder once what is left of speech has faded.
"""

from typing import Protocol

import av
import numpy as np
import numpy.typing as npt

from harness.media.codecs import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, Codec
from harness.media.hot.g711 import ALAW, ULAW
from target_stack.edge.libopus import OpusDecoder
from target_stack.frames import INPUT_RATE, Pcm

_NAMES = {G722: "g722", L16_8K: "pcm_s16le", L16_16K: "pcm_s16le"}
_TABLES = {PCMU: ULAW, PCMA: ALAW}
# Packets of coded silence that are decoded; decoders have faded out by then.
_FADING_PACKETS = 3
# Of the windowed sinc (Kaiser) that gives the samples between: 0.1 dB flat to 3.4 kHz, whose image is 61 dB down.
_HALF, _BETA = 12, 5.0


def _between() -> npt.NDArray[np.float32]:
    """Return the taps that give the sample half way between the middle two of 2 * _HALF samples."""
    places = np.arange(-_HALF, _HALF) + 0.5
    taps = np.sinc(places) * np.kaiser(2 * _HALF, _BETA)
    halves: npt.NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return halves


_BETWEEN = _between()


class Decoder(Protocol):
    """Decodes a stream's packets in order."""

    def decode(self, payload: bytes) -> Pcm | None:
        """Return the samples, None where the payload cannot be decoded."""


class G711Decoder:
    """A table, and twice as many samples: 8 kHz to 16 kHz, half of the filter's length (1.5 ms) late."""

    def __init__(self, codec: Codec) -> None:
        self._table = _TABLES[codec].astype(np.float32)
        self._before = np.zeros(2 * _HALF - 1, np.float32)

    def decode(self, payload: bytes) -> Pcm | None:
        """Return twice as many samples as the payload has bytes."""
        line = np.concatenate((self._before, self._table[np.frombuffer(payload, np.uint8)]))
        self._before = line[1 - 2 * _HALF :]
        count = len(payload)
        samples = np.empty(2 * count, np.float32)
        samples[0::2] = line[_HALF - 1 : _HALF - 1 + count]
        samples[1::2] = np.convolve(line, _BETWEEN, "valid")
        return np.clip(samples, -32768, 32767).astype(np.int16)


class LibraryDecoder:
    """Any codec that PyAV knows."""

    def __init__(self, codec: Codec) -> None:
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=INPUT_RATE)
        decoder = av.CodecContext.create(_NAMES[codec], "r")
        if not isinstance(decoder, av.AudioCodecContext):
            raise TypeError(f"PyAV's {_NAMES[codec]} is not an audio decoder")
        decoder.sample_rate = codec.sample_rate
        decoder.layout = "mono"
        self._decoder = decoder

    def decode(self, payload: bytes) -> Pcm | None:
        """Return the samples that come out for the payload; the first ones are held back by the resampler's filter."""
        try:
            frames = self._decoder.decode(av.Packet(payload))
        except av.FFmpegError:
            return None
        parts = [part.to_ndarray().reshape(-1) for frame in frames for part in self._resampler.resample(frame)]
        return np.concatenate([np.zeros(0, np.int16), *parts])


class Silences:
    """A decoder that is not asked about silence that lasts."""

    def __init__(self, codec: Codec, decoder: Decoder) -> None:
        self._decoder = decoder
        self._payload = codec.silence
        self._left = _FADING_PACKETS
        self._samples: Pcm = np.zeros(codec.packet_samples * INPUT_RATE // codec.sample_rate, np.int16)
        self._samples.setflags(write=False)

    def decode(self, payload: bytes) -> Pcm | None:
        """Return the samples; those of silence are shared and not to be written to."""
        if payload != self._payload:
            self._left = _FADING_PACKETS
        elif self._left:
            self._left -= 1
        else:
            return self._samples
        return self._decoder.decode(payload)


def new_decoder(codec: Codec) -> Decoder:
    """Return a decoder of the codec."""
    if codec is OPUS:
        return Silences(codec, OpusDecoder())
    return Silences(codec, G711Decoder(codec) if codec in _TABLES else LibraryDecoder(codec))


def clock_ticks(codec: Codec, payload: bytes, samples: Pcm | None) -> int:
    """Return a packet's length in the RTP clock: from what it decoded to, or from its size where that says it."""
    if codec is OPUS:
        return codec.ticks_per_packet if samples is None else len(samples) * codec.clock_rate // INPUT_RATE
    if codec in (L16_8K, L16_16K):
        return len(payload) // 2
    # A byte is a tick of the clock: a sample of G.711, two of G.722, whose clock runs at half its rate.
    return len(payload)
