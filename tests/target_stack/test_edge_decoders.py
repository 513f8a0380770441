"""Decoders of callers' audio: G.711 at twice the rate, and silence that costs nothing and changes nothing."""

import numpy as np
import pytest

from harness.media.clips import encode_clip
from harness.media.codecs import OPUS, PCMA, PCMU
from target_stack.edge.decoders import new_decoder

pytestmark = pytest.mark.unit


def payloads(codec, hz, seconds=1.0, level=8000):
    times = np.arange(int(seconds * codec.sample_rate)) / codec.sample_rate
    samples = (level * np.sin(2 * np.pi * hz * times)).astype(np.int16)
    return encode_clip("tone", samples, 0, seconds * 1000, codec).payloads


@pytest.mark.parametrize("codec", [PCMU, PCMA], ids=lambda c: c.name)
@pytest.mark.parametrize("hz", [200, 1000, 3000, 3400])
def test_g711_keeps_what_a_telephone_carries_and_adds_no_mirror_image(codec, hz):
    decoder = new_decoder(codec)
    whole = np.concatenate([decoder.decode(p) for p in payloads(codec, hz)])[1600:].astype(float)
    spectrum = np.abs(np.fft.rfft(whole * np.hanning(len(whole)))) / len(whole) * 4
    bins = np.fft.rfftfreq(len(whole), 1 / 16_000)

    def at(frequency):
        return spectrum[np.abs(bins - frequency) < 20].max()

    # Within a quarter of a decibel.
    assert at(hz) == pytest.approx(8000, rel=0.03)
    # What interpolation leaves of the image: 40 dB down, below G.711's own noise.
    assert at(8000 - hz) < 80


@pytest.mark.parametrize("codec", [OPUS, PCMU], ids=lambda c: c.name)
def test_silence_is_silence_at_once_and_speech_after_it_is_whole(codec):
    decoder = new_decoder(codec)
    tone = payloads(codec, 440, 0.2)
    for payload in tone:
        decoder.decode(payload)
    quiet = [decoder.decode(codec.silence) for _ in range(10)]
    assert {len(part) for part in quiet} == {320}
    assert np.abs(quiet[-1]).max() == 0
    assert quiet[-1] is quiet[-2]
    again = np.concatenate([decoder.decode(payload) for payload in tone])
    assert len(again) == 320 * len(tone)
    assert 7000 < np.abs(again[1000:-1000]).max() < 10_000


def test_a_payload_of_any_length_is_as_long_as_it_says():
    decoder = new_decoder(PCMU)
    assert [len(decoder.decode(b"\x80" * n)) for n in (80, 240, 160, 1)] == [160, 480, 320, 2]
