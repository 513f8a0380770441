"""Beds are what they are called: level, spectrum, rhythm; equal for equal seeds; endless."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from condition_signals import RATE, envelope, power_db, speech

from harness.corpus.audio import write_opus
from harness.corpus.conditions.beds import BED_DBFS, bed_from, build_bed, cut_bed
from harness.corpus.conditions.chain import apply
from harness.corpus.conditions.noises.speech_shaped import long_term_speech_db
from harness.corpus.conditions.remeasure import measure_snr
from harness.corpus.conditions.specs import (
    BabbleSpec,
    CarSpec,
    ConditionLibrary,
    ConditionSpec,
    FileSpec,
    HumSpec,
    MusicSpec,
    OfficeSpec,
    SpeechShapedSpec,
    StreetSpec,
)
from harness.corpus.levels import as_float, rms_dbfs
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit

BED_MS = 8_000
SPECS = {
    "babble": BabbleSpec(kind="babble", talkers=tuple("abcdefgh"), lines=("one two",), bed_ms=BED_MS),
    "speech-shaped": SpeechShapedSpec(kind="speech-shaped", bed_ms=BED_MS),
    "street": StreetSpec(kind="street", bed_ms=BED_MS),
    "car": CarSpec(kind="car", bed_ms=BED_MS),
    "office": OfficeSpec(kind="office", bed_ms=BED_MS),
    "hum": HumSpec(kind="hum", mains_hz=50, bed_ms=BED_MS),
    "music": MusicSpec(kind="music", bed_ms=BED_MS),
}


@cache
def bed(kind, seed=5):
    return build_bed(SPECS[kind], np.random.default_rng(seed), voices=voices())


@cache
def voices():
    """Eight talkers: the shipped one at eight speeds."""
    pcm = speech()
    return [
        np.interp(np.arange(0, len(pcm), 0.8 + 0.06 * n), np.arange(len(pcm)), pcm).astype(np.int16) for n in range(8)
    ]


@pytest.mark.parametrize("kind", SPECS)
def test_a_bed_has_its_length_and_level_and_comes_from_its_seed(kind):
    made = bed(kind)
    assert made.dtype == np.int16
    assert len(made) == BED_MS * RATE // 1000
    assert rms_dbfs(made) == pytest.approx(BED_DBFS, abs=0.05)
    # Noise that clips would be a distortion of its own.
    assert np.max(np.abs(made.astype(int))) < 32767
    assert np.array_equal(made, build_bed(SPECS[kind], np.random.default_rng(5), voices=voices()))
    assert not np.array_equal(made, bed(kind, seed=6))


@pytest.mark.parametrize("kind", SPECS)
def test_the_end_of_a_bed_joins_its_beginning(kind):
    made = as_float(bed(kind))
    steps = np.abs(np.diff(made))
    assert abs(made[0] - made[-1]) <= np.max(steps)
    # As loud across the joint as anywhere: the halves of a second on both sides, against all halves.
    halves = [
        rms_dbfs(np.roll(made, RATE // 4)[at : at + RATE // 2]) for at in range(0, len(made) - RATE // 2, RATE // 2)
    ]
    assert min(halves[1:]) - 3 < halves[0] < max(halves[1:]) + 3


def test_speech_shaped_noise_has_the_spectrum_of_p50():
    made = bed("speech-shaped")
    third = 2 ** (1 / 6)
    for centre in (160, 250, 500, 1000, 2000, 4000, 6300):
        hz = np.linspace(centre / third, centre * third, 200)
        expected = 10 * np.log10(np.mean(10 ** (long_term_speech_db(hz) / 10)) * (hz[-1] - hz[0]))
        reference = 10 * np.log10(10 ** (long_term_speech_db(np.array([1000.0]))[0] / 10) * 1000 * (third - 1 / third))
        # Half a decibel is the microphone's low cut at 160 Hz.
        assert power_db(made, hz[0], hz[-1]) - power_db(made, 1000 / third, 1000 * third) == pytest.approx(
            expected - reference, abs=1.0
        )


def test_p50_is_near_the_spectra_of_speech_that_others_measured():
    # Byrne et al. (1994), twelve languages, both sexes: level in third octaves, dB SPL.
    byrne = {250: 60.3, 500: 62.1, 1000: 53.7, 2000: 48.7, 4000: 45.6, 6300: 44.3}
    hz = np.array(list(byrne), float)
    p50 = long_term_speech_db(hz) + 10 * np.log10(hz)
    measured = np.array(list(byrne.values()))
    assert np.max(np.abs((p50 - p50.mean()) - (measured - measured.mean()))) < 4.5


def test_babble_has_the_syllables_of_speech_but_not_its_pauses():
    def depth(pcm):
        loudness = envelope(pcm, 20) + np.mean(np.abs(as_float(pcm)))
        return np.std(loudness) / np.mean(loudness)

    assert 0.6 * depth(bed("speech-shaped")) < depth(bed("babble")) < 0.75 * depth(speech())


@pytest.mark.parametrize("mains_hz", [50, 60])
def test_hum_is_the_mains_and_its_harmonics_and_nothing_else(mains_hz):
    made = build_bed(HumSpec(kind="hum", mains_hz=mains_hz, bed_ms=8000), np.random.default_rng(1))
    spectrum, hz = (
        np.abs(np.fft.rfft(as_float(made) * np.hanning(len(made)))) ** 2,
        np.fft.rfftfreq(len(made), 1 / RATE),
    )
    off = np.abs((hz + mains_hz / 2) % mains_hz - mains_hz / 2)
    assert np.sum(spectrum[(off < 3) & (hz < 3010)]) > 0.999 * np.sum(spectrum)
    # A phone takes the fundamental out; what is left must be heard.
    assert power_db(made, 300, 3400) > power_db(made, 30, 24000) - 20


def test_a_car_is_rumble_and_an_office_falls_as_ventilation_does():
    car, office = bed("car"), bed("office")
    assert power_db(car, 30, 250) > power_db(car, 250, 24000) + 6
    # 5 dB an octave below the keyboards.
    slope = (power_db(office, 177, 354) - power_db(office, 707, 1414)) / 2
    assert slope == pytest.approx(5, abs=1.5)
    # Keyboards: clicks over 1.5 kHz, some times as loud as what is between them.
    high = np.fft.irfft(np.fft.rfft(as_float(office)) * (np.fft.rfftfreq(len(office), 1 / RATE) > 1500), len(office))
    loudness = [rms_dbfs(high[at : at + 480]) for at in range(0, len(high) - 480, 480)]
    assert np.percentile(loudness, 99) > np.median(loudness) + 10


def test_vehicles_pass_in_a_street():
    street, steady = bed("street"), bed("speech-shaped")

    def swing(pcm):
        return np.ptp([rms_dbfs(pcm[at : at + RATE // 2]) for at in range(0, len(pcm), RATE // 2)])

    assert swing(street) > 3 > swing(steady)


def test_music_is_in_tune_and_in_time():
    made = as_float(bed("music"))
    spectrum, hz = np.abs(np.fft.rfft(made * np.hanning(len(made)))) ** 2, np.fft.rfftfreq(len(made), 1 / RATE)
    tones = (hz > 110) & (hz < 1000)
    cents = 1200 * np.log2(hz[tones] / 440)
    in_tune = np.abs((cents + 50) % 100 - 50) < 15
    # 30 % of any noise lies that near to a note.
    assert np.sum(spectrum[tones][in_tune]) > 0.8 * np.sum(spectrum[tones])

    def rhythm(pcm):
        """How much alike onsets are after a beat, which is 0.5 to 0.72 s long."""
        onsets = np.maximum(np.diff(envelope(pcm, 30)[::480]), 0)
        onsets -= onsets.mean()
        return np.max(np.correlate(onsets, onsets, "full")[len(onsets) :][50:73]) / np.sum(onsets * onsets)

    assert rhythm(bed("music")) > 0.3 > 1.5 * rhythm(bed("babble"))


def test_a_cut_goes_on_at_the_beginning_and_can_be_found_again():
    made = bed("hum")
    cut, offset_ms = cut_bed(made, len(made) // 2, np.random.default_rng(11))
    again, same_ms = cut_bed(made, len(made) // 2, np.random.default_rng(11))
    assert (offset_ms, cut.tolist()) == (same_ms, again.tolist())
    assert np.array_equal(cut, np.roll(made, -offset_ms * 48)[: len(cut)])
    around = bed_from(made, BED_MS - 10, 960)
    assert np.array_equal(around, np.concatenate([made[-480:], made[:480]]))


def test_too_few_voices_are_no_babble():
    with pytest.raises(ScenarioError, match="babble: 2 voices for 8 talkers"):
        build_bed(SPECS["babble"], np.random.default_rng(1), voices=voices()[:2])


def test_a_recording_of_the_user_is_levelled_and_looped_without_a_click(tmp_path):
    seconds = np.arange(3 * RATE) / RATE
    # It ends at its crest: repeated as it is, it would click.
    tone = np.round(900 * np.cos(2 * np.pi * 210.25 * seconds)).astype(np.int16)
    write_opus(tmp_path / "fan.opus", tone, 96000)
    spec = FileSpec(kind="file", path="fan.opus", licence="CC0-1.0", bed_ms=10_000)
    made = build_bed(spec, np.random.default_rng(1), folder=tmp_path)
    assert len(made) == 10 * RATE
    assert rms_dbfs(made) == pytest.approx(BED_DBFS, abs=0.05)
    around = as_float(np.concatenate([made, made]))
    limit = 1.5 * 2 * np.pi * 210.25 / RATE * np.max(np.abs(around))
    assert np.max(np.abs(np.diff(around))) < limit


def recordings_of_noise():
    """Recordings of real noise, where this machine has them; they are no part of the project."""
    folder = (
        Path(os.environ.get("CALLQUAKE_HUMAN_AUDIO", Path(__file__).parents[3].parent / "shared" / "audio")) / "noise"
    )
    return sorted(file for file in folder.rglob("*.*") if file.is_file()) if folder.is_dir() else []


@pytest.mark.parametrize("file", recordings_of_noise() or [None], ids=lambda file: file.stem if file else "none")
def test_recordings_of_real_noise_are_beds(file):
    if file is None:
        pytest.skip("no recordings of noise: $CALLQUAKE_HUMAN_AUDIO names no folder with `noise` in it")
    spec = FileSpec(kind="file", path=file.name, licence="as its folder says", bed_ms=8000)
    made = build_bed(spec, np.random.default_rng(1), folder=file.parent)
    assert len(made) == 8 * RATE
    assert rms_dbfs(made) == pytest.approx(BED_DBFS, abs=0.3)
    condition = ConditionSpec(noise="theirs", snr_db=10, channel="phone")
    library = ConditionLibrary(noises={"theirs": spec})
    mixed = apply(condition, speech(), made[: len(speech())], library)
    found = measure_snr(mixed, speech(), made[: len(speech())], channel="phone")
    assert found.snr_db == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.wav", None, "cannot decode"),
        ("text.wav", b"not audio at all", "cannot decode"),
        ("silent.opus", 0, "silent"),
        ("short.opus", 300, r"0\.30 s long; legal: noise of 1 s or more"),
    ],
)
def test_a_recording_that_is_no_noise_is_refused_by_name(tmp_path, name, content, says):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        write_opus(tmp_path / name, np.zeros(RATE * (content or 2000) // 1000, np.int16), 32000)
    spec = FileSpec(kind="file", path=name, licence="CC0-1.0")
    with pytest.raises(ScenarioError, match=says) as error:
        build_bed(spec, np.random.default_rng(1), folder=tmp_path)
    assert name in str(error.value)
