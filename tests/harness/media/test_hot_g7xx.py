"""The hot path's G.711 and G.722 decoders give FFmpeg's samples, bit for bit, compiled and interpreted."""

import os
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.media.hot import levels
from harness.media.hot.g711 import ALAW, ALAW_SQUARES, ULAW, ULAW_SQUARES
from harness.media.hot.g722 import G722_STATE, g722_decode
from harness.media.hot.jit import INTERPRETED, make_table
from harness.media.hot.levels import LINEAR, window_levels

pytestmark = pytest.mark.unit

PACKET = 160
FFMPEG_RATES = {"pcm_mulaw": 8000, "pcm_alaw": 8000, "g722": 16_000}


def ffmpeg_encode(name, pcm):
    encoder = av.CodecContext.create(name, "w")
    encoder.sample_rate = FFMPEG_RATES[name]
    encoder.layout, encoder.format, encoder.time_base = "mono", "s16", Fraction(1, FFMPEG_RATES[name])
    frame = av.AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = FFMPEG_RATES[name], 0, encoder.time_base
    return b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)])


def ffmpeg_decode(name, payload):
    decoder = av.CodecContext.create(name, "r")
    decoder.sample_rate, decoder.layout = FFMPEG_RATES[name], "mono"
    return np.concatenate([f.to_ndarray().reshape(-1) for f in decoder.decode(av.Packet(payload))])


def clip_16k(seconds):
    spoken = next(iter(load_corpus(None).utterances.values()))
    return read_pcm(spoken, 16_000)[: int(seconds * 16_000)]


def noise_16k():
    return np.random.default_rng(7).integers(-32768, 32767, 8000).astype(np.int16)


def in_packets(decode, payload, samples_per_byte):
    data = np.frombuffer(payload, np.uint8)
    out = np.zeros(len(data) * samples_per_byte, np.int16)
    done = 0
    for at in range(0, len(data), PACKET):
        done += decode(data, at, min(PACKET, len(data) - at), out[done:])
    assert done == len(out)
    return out


@pytest.mark.parametrize(
    ("name", "values", "squares"), [("pcm_mulaw", ULAW, ULAW_SQUARES), ("pcm_alaw", ALAW, ALAW_SQUARES)]
)
def test_g711_has_ffmpegs_value_for_every_code(name, values, squares):
    expected = ffmpeg_decode(name, bytes(range(256))).tolist()
    assert values.tolist() == expected
    assert squares.tolist() == [value * value for value in expected]


@pytest.mark.parametrize("start", [0, 12])
def test_levels_of_codes_are_those_of_their_samples(start):
    codes = np.random.default_rng(3).integers(0, 256, start + 4 * 60, dtype=np.uint8)
    codes[start : start + 40] = 0xFF
    of_codes, of_samples = np.zeros(8), np.zeros(8)
    rows = make_table(np.dtype(levels.FIELDS), 2)
    for at in range(start, len(codes), 60):
        # Packets that are no whole number of windows: what is left waits for the next.
        windows = window_levels(rows[0], codes, at, 60, 8, ULAW_SQUARES, of_codes)
        assert windows == window_levels(rows[1], ULAW[codes], at, 60, 8, LINEAR, of_samples)
        assert of_codes[:windows].tolist() == of_samples[:windows].tolist()
    assert rows[0].part_samples == rows[1].part_samples == 0


@pytest.mark.parametrize(
    "pcm", [clip_16k(0.3 if INTERPRETED else 3.0), noise_16k()], ids=["speech", "full-scale noise"]
)
def test_g722_is_bit_exact(pcm):
    payload = ffmpeg_encode("g722", pcm)
    state = make_table(G722_STATE, 1)[0]
    decoded = in_packets(lambda *args: g722_decode(state, *args), payload, 2)
    assert np.array_equal(decoded, ffmpeg_decode("g722", payload))


def test_g722_keeps_two_streams_apart_and_starts_at_zeros():
    payload = ffmpeg_encode("g722", noise_16k()[:1600])
    data = np.frombuffer(payload, np.uint8)
    first, second = make_table(G722_STATE, 2)
    once, again = np.zeros(640, np.int16), np.zeros(640, np.int16)
    g722_decode(first, data, 0, 160, once)
    g722_decode(first, data, 160, 160, once[320:])
    g722_decode(second, data, 0, 320, again)
    assert np.array_equal(once, again)


def test_decoders_never_write_past_the_room_they_are_given():
    data = np.full(160, 0x55, np.uint8)
    out = np.zeros(101, np.int16)
    state = make_table(G722_STATE, 1)[0]
    assert g722_decode(state, data, 0, 160, out) == 100


@pytest.mark.skipif(INTERPRETED, reason="this run is the interpreted one")
def test_the_same_holds_interpreted():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env={**os.environ, "CALLQUAKE_MEDIA": "python"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
