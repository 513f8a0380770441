"""Whole conditions, measured: SNR, levels, flat peaks, order, edges, errors."""

import numpy as np
import pytest
from condition_signals import RATE, lag_ms, power_db, speech

from harness.corpus.audio import decode_file, resample, write_opus
from harness.corpus.conditions.beds import build_bed, cut_bed
from harness.corpus.conditions.chain import apply, output_samples, snr_db
from harness.corpus.conditions.channels import channel_of
from harness.corpus.conditions.remeasure import measure_snr
from harness.corpus.conditions.specs import (
    CarSpec,
    ClippedSpec,
    ConditionLibrary,
    ConditionSpec,
    HumSpec,
    LowLevelSpec,
    OfficeSpec,
    SpeechShapedSpec,
)
from harness.corpus.levels import active_speech_level, rms_dbfs
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit

LIBRARY = ConditionLibrary(
    noises={
        "speech-shaped": SpeechShapedSpec(kind="speech-shaped", bed_ms=8000),
        "car": CarSpec(kind="car", bed_ms=8000),
        "office": OfficeSpec(kind="office", bed_ms=8000),
        "hum": HumSpec(kind="hum", mains_hz=60, bed_ms=8000),
    },
    distortions={
        "slightly": ClippedSpec(kind="clipped", share=0.02),
        "overdriven": ClippedSpec(kind="clipped", over_db=20),
        "faint": LowLevelSpec(kind="low-level", active_dbfs=-60),
    },
)
BEDS = {name: build_bed(spec, np.random.default_rng(4)) for name, spec in LIBRARY.noises.items()}


def applied(condition, pcm=None):
    pcm = speech() if pcm is None else pcm
    bed = None
    if condition.noise != "clean":
        count = output_samples(condition, len(pcm), LIBRARY)
        bed, _ = cut_bed(BEDS[condition.noise], count, np.random.default_rng(9))
    return apply(condition, pcm, bed, LIBRARY)


@pytest.mark.parametrize(
    ("noise", "snr"), [(noise, snr) for noise in LIBRARY.noises for snr in (20, 5)] + [("speech-shaped", -5)]
)
def test_noise_is_at_its_snr(noise, snr):
    mixed = applied(ConditionSpec(noise=noise, snr_db=snr))
    difference = mixed.astype(float) - speech()
    measured = active_speech_level(speech(), RATE).active_dbfs - rms_dbfs(difference / 32768)
    assert measured == pytest.approx(snr, abs=0.05)


@pytest.mark.parametrize("channel", ["phone", "g711-ulaw", "phone-g711-alaw"])
@pytest.mark.parametrize("noise", ["car", "hum"])
def test_the_snr_holds_in_the_band_of_the_channel(noise, channel):
    condition = ConditionSpec(noise=noise, snr_db=8, channel=channel)
    mixed, alone = applied(condition), apply(condition, speech(), None, LIBRARY)
    # What is heard at the far end, measured there: G.711's own error is 35 dB down.
    difference = resample(mixed, RATE, 8000).astype(float) - resample(alone, RATE, 8000)
    level = active_speech_level(resample(alone, RATE, 8000), 8000).active_dbfs
    assert level - rms_dbfs(difference / 32768) == pytest.approx(8, abs=0.5)


def test_the_snr_of_a_room_is_that_of_the_speech_in_it():
    condition = ConditionSpec(noise="office", snr_db=3, room="office")
    mixed, alone = applied(condition), apply(condition, speech(), None, LIBRARY)
    measured = active_speech_level(alone, RATE).active_dbfs - rms_dbfs((mixed.astype(float) - alone) / 32768)
    assert measured == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("channel", ["wideband", "phone", "gsm", "opus-12k"])
def test_the_measurement_of_snr_agrees_with_the_mixing(channel):
    noise = BEDS["car"][: len(speech())]
    before = snr_db(channel_of(channel), speech(), noise)
    louder = np.round(noise * 0.5).astype(np.int16)
    assert snr_db(channel_of(channel), speech(), louder) - before == pytest.approx(6.02, abs=0.05)


@pytest.mark.parametrize("channel", ["wideband", "phone", "g711-ulaw", "phone-g711-alaw", "g722"])
@pytest.mark.parametrize(("noise", "snr"), [("car", 10), ("office", 0)])
@pytest.mark.parametrize("room", ["none", "office"])
def test_a_finished_clip_still_shows_its_snr(tmp_path, noise, snr, room, channel):
    condition = ConditionSpec(noise=noise, snr_db=snr, room=room, channel=channel)
    count = output_samples(condition, len(speech()), LIBRARY)
    bed, _ = cut_bed(BEDS[noise], count, np.random.default_rng(2))
    write_opus(tmp_path / "clip.opus", apply(condition, speech(), bed, LIBRARY), 56_000)
    shipped = decode_file(tmp_path / "clip.opus", RATE)
    found = measure_snr(shipped, speech(), bed, room=room, channel=channel)
    assert found.snr_db == pytest.approx(snr, abs=0.3 if room == "none" else 0.6)
    assert abs(found.snr_db - snr) < found.tolerance_db
    # Another place in the bed is no noise of this clip's, and looks like none.
    elsewhere = np.roll(bed, RATE)
    assert measure_snr(shipped, speech(), elsewhere, room=room, channel=channel).snr_db > snr + 3


@pytest.mark.parametrize(
    ("channel", "distortion"), [("gsm", "none"), ("phone-opus-6k", "none"), ("amr-12k2", "none"), ("phone", "clipped")]
)
def test_where_the_snr_cannot_be_found_again_it_is_not_made_up(channel, distortion):
    pcm = speech()
    assert measure_snr(pcm, pcm, pcm, channel=channel, distortion=distortion) is None


@pytest.mark.parametrize(("name", "active_dbfs"), [("low-level", -46), ("faint", -60)])
@pytest.mark.parametrize("noise", ["clean", "office"])
def test_a_low_level_is_the_level_of_the_speech_with_its_noise_below(name, active_dbfs, noise):
    snr = None if noise == "clean" else 10
    condition = ConditionSpec(noise=noise, snr_db=snr, distortion=name)
    alone = apply(condition, speech(), None, LIBRARY)
    assert active_speech_level(alone, RATE).active_dbfs == pytest.approx(active_dbfs, abs=0.3)
    if snr is not None:
        left = applied(condition).astype(float) - alone
        assert active_dbfs - rms_dbfs(left / 32768) == pytest.approx(snr, abs=0.5)


@pytest.mark.parametrize(("name", "share"), [("clipped", 0.1), ("slightly", 0.02)])
def test_so_much_of_the_active_speech_is_flat(name, share):
    clipped = applied(ConditionSpec(distortion=name))
    loudness = np.abs(clipped.astype(int))
    active = active_speech_level(speech(), RATE).activity_ratio * len(clipped)
    assert np.count_nonzero(loudness >= np.max(loudness) - 1) / active == pytest.approx(share, rel=0.05)
    assert rms_dbfs(clipped) == pytest.approx(rms_dbfs(speech()), abs=0.05)


def test_overdriven_by_so_many_db_is_flat_there():
    clipped = applied(ConditionSpec(distortion="overdriven"))
    limit = 10 ** (-20 / 20) * np.max(np.abs(speech().astype(int)))
    share = np.mean(np.abs(speech().astype(int)) >= limit)
    loudness = np.abs(clipped.astype(int))
    assert np.mean(loudness >= np.max(loudness) - 1) == pytest.approx(share, rel=0.02)
    # Below the limit nothing but the gain has changed.
    below = np.abs(speech().astype(int)) < 0.9 * limit
    gain = np.max(loudness) / limit
    assert np.max(np.abs(clipped[below] - speech()[below] * gain)) <= 1


def test_noise_is_clipped_with_the_speech_and_the_line_comes_last():
    wide = applied(ConditionSpec(noise="car", snr_db=0, distortion="clipped"))
    narrow = applied(ConditionSpec(noise="car", snr_db=0, distortion="clipped", channel="phone"))
    assert np.count_nonzero(np.abs(wide.astype(int)) >= np.max(np.abs(wide.astype(int))) - 1) > 100
    # Overtones of the clipping lie above the line's band and do not get through.
    assert power_db(narrow, 4500, 24000) < power_db(wide, 4500, 24000) - 20
    assert power_db(narrow, 20, 100) < power_db(wide, 20, 100) - 20


@pytest.mark.parametrize(
    "condition",
    [
        ConditionSpec(noise="office", snr_db=10, room="office", distortion="clipped", channel="phone-gsm"),
        ConditionSpec(noise="hum", snr_db=15, room="office", distortion="low-level", channel="g711-ulaw"),
        ConditionSpec(noise="speech-shaped", snr_db=10, channel="phone-g711-alaw"),
        ConditionSpec(noise="car", snr_db=5, distortion="slightly", channel="g722"),
    ],
    ids=lambda condition: condition.name,
)
def test_a_whole_chain_leaves_speech_in_its_place_and_repeats(condition):
    heard = applied(condition)
    assert len(heard) == output_samples(condition, len(speech()), LIBRARY)
    assert abs(lag_ms(heard, speech(), reach_ms=3)) < 2
    assert np.array_equal(heard, applied(condition))


def test_clean_is_the_clip_itself():
    assert np.array_equal(apply(ConditionSpec(), speech()), speech())
    assert output_samples(ConditionSpec(channel="gsm"), 12345) == 12345


@pytest.mark.parametrize(
    ("condition", "bed", "says"),
    [
        (ConditionSpec(noise="rain", snr_db=5), None, "rain-5db: noise 'rain'; legal: speech-shaped, car, office, hum"),
        (ConditionSpec(), np.ones(10, np.int16), "clean: a bed for a condition without noise"),
        (ConditionSpec(noise="car", snr_db=5), np.ones(10, np.int16), "car-5db: a bed of 10 samples; legal: 240000"),
        (ConditionSpec(noise="car", snr_db=5), np.zeros(240_000, np.int16), "car-5db: the bed is silent here"),
        (ConditionSpec(noise="car", snr_db=-30), BEDS["car"][:240_000], "clips at full scale; lower speech.level_dbfs"),
    ],
)
def test_what_cannot_be_mixed_is_refused_by_name(condition, bed, says):
    with pytest.raises(ScenarioError, match=says):
        apply(condition, speech(), bed, LIBRARY)


def test_silence_goes_through_every_kind_of_change():
    quiet = np.zeros(RATE, np.int16)
    for condition in (ConditionSpec(room="office", channel="phone-gsm"), ConditionSpec(distortion="clipped")):
        assert np.max(np.abs(applied(condition, quiet).astype(int))) < 20
