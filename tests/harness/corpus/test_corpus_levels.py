"""P.56 against signals whose active level is known."""

import numpy as np
import pytest

from harness.corpus.levels import SILENCE_DBFS, active_speech_level, rms_dbfs

pytestmark = pytest.mark.unit

RATE = 16000


def tone(seconds, level_dbfs, hz=440.0):
    return 10 ** (level_dbfs / 20) * np.sqrt(2) * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)


@pytest.mark.parametrize("level", [-6.0, -26.0, -50.0])
def test_continuous_tone_is_at_its_rms_level(level):
    measured = active_speech_level(tone(10, level), RATE)
    assert measured.active_dbfs == pytest.approx(level, abs=0.1)
    assert measured.activity_ratio == pytest.approx(1.0, abs=0.02)


def test_half_active_tone_is_at_its_active_level_not_three_db_lower():
    burst, pause = tone(2, -26), np.zeros(2 * RATE)
    signal = np.concatenate([burst, pause] * 4)
    measured = active_speech_level(signal, RATE)
    assert rms_dbfs(signal) == pytest.approx(-29.0, abs=0.05)
    # The hangover and the envelope's decay add under 0.4 s to each 2 s burst.
    assert -26.7 < measured.active_dbfs < -26.0
    assert 0.5 < measured.activity_ratio < 0.6


def test_pauses_do_not_change_the_level_of_speech_shaped_noise():
    rng = np.random.default_rng(3)
    time = np.arange(6 * RATE) / RATE
    speech = rng.standard_normal(len(time)) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * time)) * 0.05
    padded = np.concatenate([np.zeros(5 * RATE), speech, np.zeros(9 * RATE)])
    alone, with_pauses = active_speech_level(speech, RATE), active_speech_level(padded, RATE)
    assert with_pauses.active_dbfs == pytest.approx(alone.active_dbfs, abs=0.3)
    assert with_pauses.activity_ratio == pytest.approx(6 / 20, abs=0.02)


def test_gain_moves_the_level_by_itself_and_int16_equals_float():
    rng = np.random.default_rng(4)
    signal = rng.standard_normal(3 * RATE) * np.repeat(rng.random(30), RATE // 10) * 0.1
    base = active_speech_level(signal, RATE).active_dbfs
    assert active_speech_level(signal * 0.25, RATE).active_dbfs == pytest.approx(base - 12.04, abs=0.1)
    assert active_speech_level(np.round(signal * 32768).astype(np.int16), RATE).active_dbfs == pytest.approx(
        base, abs=0.02
    )


def test_silence_has_no_active_level():
    measured = active_speech_level(np.zeros(RATE, np.int16), RATE)
    assert (measured.active_dbfs, measured.activity_ratio) == (SILENCE_DBFS, 0.0)
