"""Clips of every codec: the packets that are said to hold the speech's edges hold them, and nothing is lost."""

import numpy as np
import pytest

from harness.calibrate.voice import voiced
from harness.media.clips import encode_clip
from harness.media.codecs import CODECS, G722, OPUS, PCMA, PCMU
from harness.media.hot.g711 import ALAW, ULAW
from harness.media.hot.g722 import G722_STATE, g722_decode
from harness.media.hot.jit import make_table
from harness.media.payload_decoder import PayloadDecoder

pytestmark = pytest.mark.unit

each_codec = pytest.mark.parametrize("codec", CODECS, ids=[c.name for c in CODECS])


def new_decoder(codec):
    """Return payload -> int16 samples, with the codec's memory from packet to packet."""
    if codec is OPUS:
        return PayloadDecoder(OPUS).decode
    if codec is not G722:
        values = ULAW if codec is PCMU else ALAW
        return lambda payload: values[np.frombuffer(payload, np.uint8)]
    state = make_table(G722_STATE, 1)[0]

    def in_array(payload):
        out = np.zeros(codec.packet_samples, np.int16)
        assert g722_decode(state, np.frombuffer(payload, np.uint8), 0, len(payload), out) == len(out)
        return out

    return in_array


def is_loud(samples):
    """Tell whether any 5 ms of the packet are above -36 dBFS; Opus rings on below that."""
    windows = samples.astype(float).reshape(4, -1)
    return float(np.sqrt(np.mean(windows**2, axis=1)).max()) > 520


@each_codec
@pytest.mark.parametrize("lead_ms", [40, 47, 53.3, 60])
@pytest.mark.parametrize("voice_ms", [200, 211.5])
def test_edges_name_the_packets_that_carry_them(codec, lead_ms, voice_ms):
    rate = codec.sample_rate
    silence = np.zeros(int(lead_ms * rate / 1000), np.int16)
    samples = np.concatenate([silence, voiced(voice_ms, rate), np.zeros(rate // 10, np.int16)])
    clip = encode_clip("u", samples, lead_ms, lead_ms + voice_ms, codec)
    decode = new_decoder(codec)
    loud = [is_loud(decode(p)) for p in clip.payloads]
    assert loud.index(True) == clip.first_voiced_packet
    # The last sample may be one of a few, too quiet to hear by itself; never is speech heard behind it.
    assert clip.last_voiced_packet - 1 <= len(loud) - 1 - loud[::-1].index(True) <= clip.last_voiced_packet


@each_codec
def test_no_sample_is_lost_at_the_end(codec):
    samples = voiced(105, codec.sample_rate)
    clip = encode_clip("u", samples, 0, 105, codec)
    assert (clip.duration_ms, clip.codec, len(clip.read_samples())) == (120, codec, len(samples))
    decode = new_decoder(codec)
    decoded = np.concatenate([decode(p) for p in clip.payloads])[codec.delay :][: len(samples)]
    tail = slice(len(samples) * 4 // 5, None)
    # Opus does not keep the shape of the wave as the others do.
    assert np.corrcoef(decoded[tail], samples[tail])[0, 1] > (0.7 if codec is OPUS else 0.99)


@each_codec
def test_silence_is_silent_whatever_was_sent_before(codec):
    decode = new_decoder(codec)
    assert np.max(np.abs(decode(codec.silence))) <= 8
    for payload in encode_clip("u", voiced(105, codec.sample_rate), 0, 105, codec).payloads:
        decode(payload)
    decode(codec.silence)
    # -60 dBFS
    assert np.max(np.abs(decode(codec.silence))) <= 32


@pytest.mark.parametrize(("codec", "values"), [(PCMU, ULAW), (PCMA, ALAW)], ids=["PCMU", "PCMA"])
def test_g711_gives_every_sample_the_nearest_code(codec, values):
    samples = np.arange(-32_768, 32_768).astype(np.int16)
    payloads = encode_clip("u", samples, 0, 1, codec).payloads
    decoded = values[np.frombuffer(b"".join(payloads), np.uint8)][: len(samples)].astype(int)
    nearest = np.abs(samples[:, None].astype(int) - np.unique(values)[None, :].astype(int)).min(axis=1)
    assert np.array_equal(np.abs(decoded - samples), nearest)
    # Our own idea of a quiet line is what silence encodes to.
    assert list(encode_clip("u", np.zeros(160, np.int16), 0, 1, codec).payloads) == [codec.silence]


def test_a_packet_is_20_ms_of_every_clock():
    assert [(c.ticks_per_packet, c.packet_samples) for c in CODECS] == [(960, 960), (160, 160), (160, 160), (160, 320)]
    assert [c.index for c in CODECS] == list(range(len(CODECS)))
