import numpy as np
import pytest

from harness.calibrate.voice import voiced
from harness.media.clips import encode_clip, packet_of_sample
from harness.media.onset import window_levels_dbfs
from harness.media.opus import RATE, SILENCE_PAYLOAD, Decoder

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("lead_ms", [40, 47, 53.3, 60])
@pytest.mark.parametrize("voice_ms", [200, 211.5])
def test_edges_name_the_packets_that_carry_them(lead_ms, voice_ms):
    samples = np.concatenate(
        [np.zeros(int(lead_ms * 48), np.int16), voiced(voice_ms, RATE), np.zeros(RATE // 10, np.int16)]
    )
    clip = encode_clip("u", samples, lead_ms, lead_ms + voice_ms)
    decoder = Decoder()
    loud = [max(window_levels_dbfs(decoder.decode(p), RATE)) > -36 for p in clip.payloads]
    assert loud.index(True) == clip.first_voiced_packet
    assert len(loud) - 1 - loud[::-1].index(True) == clip.last_voiced_packet


def test_no_sample_is_lost_at_the_end():
    samples = voiced(105, RATE)
    clip = encode_clip("u", samples, 0, 105)
    decoder = Decoder()
    decoded = np.concatenate([decoder.decode(p) for p in clip.payloads])
    assert len(decoded) >= len(samples) + 312
    assert clip.duration_ms == 120


def test_packet_of_sample_counts_the_encoders_look_ahead():
    assert packet_of_sample(0) == 0
    assert packet_of_sample(647) == 0
    assert packet_of_sample(648) == 1


def test_undecodable_payload_gives_no_audio():
    assert len(Decoder().decode(b"\xff\xff\xff\xff")) == 0


def test_silence_payload_is_silent():
    assert np.max(np.abs(Decoder().decode(SILENCE_PAYLOAD))) <= 2
