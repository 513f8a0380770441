"""What is encoded packet by packet is what a decoder of the codec hears."""

import numpy as np
import pytest

from harness.media.codecs import G722, OPUS, PCMA, PCMU
from harness.media.payload_decoder import PayloadDecoder
from harness.media.payload_encoder import PayloadEncoder

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("codec", [OPUS, PCMU, PCMA, G722], ids=lambda codec: codec.name)
def test_a_tone_goes_through_encoder_and_decoder_packet_by_packet(codec):
    size, count = codec.packet_samples, 20
    at = np.arange(size * count) / codec.sample_rate
    tone = (6_000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)
    encoder, decoder = PayloadEncoder(codec), PayloadDecoder(codec)
    payloads = [encoder.encode(tone[n * size : (n + 1) * size]) for n in range(count)]
    assert all(payloads)
    heard = np.concatenate([decoder.decode(payload) for payload in payloads])
    # The codecs are some samples late.
    spectrum = np.abs(np.fft.rfft(heard[4 * size : 14 * size].astype(float)))
    assert np.argmax(spectrum) * codec.sample_rate / (10 * size) == pytest.approx(440, abs=6)
    assert np.sqrt(np.mean(heard[4 * size : 14 * size].astype(float) ** 2)) == pytest.approx(6_000 / 2**0.5, rel=0.1)
