"""Lines and codecs: bands, delays, distortion, each against something foreign where there is one."""

import io
import sys

import av
import numpy as np
import pytest
import soundfile
from condition_signals import RATE, burst, envelope, lag_ms, power_db, speech

from harness.corpus.audio import resample
from harness.corpus.conditions.channels import channel_of, phone_band
from harness.corpus.conditions.codecs import CODECS
from harness.corpus.conditions.names import CHANNELS
from harness.corpus.conditions.names import CODECS as CODEC_NAMES
from harness.media.hot.g711 import ALAW, ULAW
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit

WAVEFORM_CODECS = ("g711-ulaw", "g711-alaw", "g722", "gsm")


def noise(seconds=4, amplitude=2000):
    return np.round(np.random.default_rng(8).standard_normal(seconds * RATE) * amplitude).astype(np.int16)


def gain_db(hz):
    """What the phone band does to a tone, after its beginning."""
    tone = np.round(8000 * np.sin(2 * np.pi * hz * np.arange(RATE) / RATE)).astype(np.int16)
    heard = phone_band(tone, RATE)
    middle = slice(RATE // 4, 3 * RATE // 4)
    return 10 * np.log10(np.mean(heard[middle].astype(float) ** 2) / np.mean(tone[middle].astype(float) ** 2) + 1e-12)


@pytest.mark.parametrize(
    ("hz", "least_db", "most_db"),
    [
        (50, -99, -30),
        (60, -99, -30),
        (100, -99, -24),
        (300, -1.5, 0.5),
        (400, -0.5, 0.5),
        (1000, -0.1, 0.1),
        (3000, -0.5, 0.5),
        (3400, -1.5, 0.5),
        (4000, -99, -14),
        (4600, -99, -28),
        (8000, -200, -60),
    ],
)
def test_a_phone_line_carries_300_to_3400_hz(hz, least_db, most_db):
    assert least_db < gain_db(hz) < most_db


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_keeps_the_length_and_the_place_of_speech(name):
    channel = channel_of(name)
    heard = channel.carry(speech())
    assert heard.dtype == np.int16
    assert len(heard) == len(speech())
    assert abs(lag_ms(envelope(heard), envelope(speech()))) < 2
    if name.removeprefix("phone-") in WAVEFORM_CODECS:
        assert abs(lag_ms(heard, speech(), reach_ms=3)) < 0.1
    assert np.array_equal(heard, channel.carry(speech()))


# The vocoders among them (AMR, Opus at low rates) model speech and do to a tone what they like.
@pytest.mark.parametrize("name", [name for name in CHANNELS if not name.endswith(("2k", "6k", "k2", "k75"))])
def test_a_tone_begins_and_ends_where_it_did(name):
    heard = np.abs(channel_of(name).carry(burst(500, 1500, 2000)).astype(int))
    loud = np.flatnonzero(heard > 0.2 * np.max(heard)) * 1000 / RATE
    assert loud[0] == pytest.approx(500, abs=2)
    assert loud[-1] == pytest.approx(1500, abs=2)


@pytest.mark.parametrize("length", [97, 48_001])
@pytest.mark.parametrize("name", ["phone", "g711-ulaw", "g722", "gsm", "amr-12k2", "opus-12k"])
def test_no_length_loses_a_sample(name, length):
    assert len(channel_of(name).carry(noise()[:length])) == length


@pytest.mark.parametrize(
    ("name", "least_db", "most_db"),
    [
        # G.711: 38 dB over its range of levels; G.722: 15 dB on hissing speech, 30 on a deep voice; GSM: a vocoder.
        ("g711-ulaw", 33, 40),
        ("g711-alaw", 33, 40),
        ("g722", 15, 32),
        ("gsm", 5, 16),
    ],
)
def test_a_waveform_codec_has_the_error_it_should(name, least_db, most_db):
    codec = CODECS[name]
    offered = resample(speech(), RATE, codec.rate).astype(float)
    error = codec.through(offered.astype(np.int16)) - offered
    snr_db = 10 * np.log10(np.sum(offered**2) / np.sum(error**2))
    assert least_db < snr_db < most_db


def test_each_codec_s_delay_is_the_one_taken_out():
    # Noise has no pitch to be mistaken for a delay.
    for name in ("g711-ulaw", "g722", "gsm", "opus-24k"):
        codec = CODECS[name]
        offered = resample(noise(), RATE, codec.rate)
        assert abs(lag_ms(codec.through(offered), offered, codec.rate)) <= 1.5 * 1000 / codec.rate, name


@pytest.mark.parametrize(("name", "table"), [("g711-ulaw", ULAW), ("g711-alaw", ALAW)])
def test_g711_is_the_nearest_value_of_our_own_tables(name, table):
    pcm = resample(speech(), RATE, 8000)
    coded = CODECS[name].through(pcm)
    assert set(coded.tolist()) <= set(table.tolist())
    nearest = np.min(np.abs(pcm[::7, None].astype(int) - table.astype(int)), axis=1)
    found = np.abs(pcm[::7].astype(int) - coded[::7])
    # G.711's thresholds lie between values, or a little beside the middle where two segments meet.
    assert np.max(found - nearest) <= 8


def test_gsm_is_what_ffmpeg_decodes_of_it():
    pcm = resample(speech(), RATE, 8000)
    pcm = pcm[: len(pcm) // 160 * 160]
    raw = io.BytesIO()
    soundfile.write(raw, pcm, 8000, format="RAW", subtype="GSM610")
    packets = raw.getvalue()
    # 13 kbit/s: 33 bytes each 20 ms.
    assert len(packets) == len(pcm) // 160 * 33
    decoder = av.CodecContext.create("gsm", "r")
    decoder.sample_rate, decoder.layout = 8000, "mono"
    frames = [f for at in range(0, len(packets), 33) for f in decoder.decode(av.Packet(packets[at : at + 33]))]
    decoded = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    assert np.array_equal(CODECS["gsm"].through(pcm), decoded)


@pytest.mark.parametrize(("name", "top_hz"), [("opus-6k", 4000), ("opus-12k", 8000), ("g722", 8000), ("gsm", 4000)])
def test_a_codec_s_band_ends_where_its_levels_are_measured_to(name, top_hz):
    heard = channel_of(name).carry(noise())
    assert CODECS[name].band_rate == 2 * top_hz
    assert power_db(heard, 1.1 * top_hz, 24000) < power_db(heard, 200, top_hz) - 25
    # It is no narrower than it says, either.
    assert power_db(heard, 0.75 * top_hz, 0.85 * top_hz) > power_db(heard, 200, top_hz) - 25


def test_fewer_bits_are_more_distortion():
    def distance(name):
        """Mean distance of log spectra over 32 ms, up to 3.4 kHz, dB: what a vocoder loses."""

        def spectra(pcm):
            low = resample(pcm, RATE, 8000).astype(float)
            frames = low[: len(low) // 256 * 256].reshape(-1, 256) * np.hanning(256)
            return 10 * np.log10(np.abs(np.fft.rfft(frames))[:, 10:109] ** 2 + 1e3)

        return np.mean(np.abs(spectra(channel_of(name).carry(speech())) - spectra(speech())))

    assert distance("g711-ulaw") < distance("opus-24k") < distance("opus-6k")
    assert distance("g711-ulaw") < distance("amr-12k2") < distance("amr-4k75")


def test_every_name_has_its_channel():
    assert set(CODECS) == set(CODEC_NAMES)
    wideband = channel_of("wideband")
    assert np.array_equal(wideband.carry(speech()), speech())
    with pytest.raises(ScenarioError, match="channel 'isdn'; legal: wideband, phone, g711-ulaw"):
        channel_of("isdn")


def test_without_soundfile_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ScenarioError, match=r"channel gsm needs `pip install -e '\.\[corpus\]'"):
        channel_of("gsm").carry(speech())
