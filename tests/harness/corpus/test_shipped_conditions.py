"""A handful of shipped clips, a condition each, measured: they are under the condition that the manifest names.

Nothing of the recipe is read here: what a clip must be follows from its names, and from its clean clip.
"""

import numpy as np
import pytest
from condition_signals import RATE, power_db

from harness.corpus.audio import read_pcm
from harness.corpus.derived_check import measure_shift_ms, measure_snr_db
from harness.corpus.levels import active_speech_level, as_float, rms_dbfs
from harness.corpus.manifest import load_corpus

pytestmark = pytest.mark.unit

# Clips a condition: all of them are measured by `callquake corpus check`.
CLIPS = 2


@pytest.fixture(scope="module")
def corpus():
    return load_corpus(verify=False)


def clips(corpus, **wanted):
    """Return a few shipped clips, spread over the manifest; skip where there is none."""
    found = [u for u in corpus.utterances.values() if all(getattr(u, name) == value for name, value in wanted.items())]
    if not found:
        pytest.skip(f"the corpus ships no clip with {wanted}")
    return [
        (u, read_pcm(u, RATE), read_pcm(corpus.clean_of(u), RATE))
        for u in found[:: max(1, len(found) // CLIPS)][:CLIPS]
    ]


def conditions():
    return sorted({u.condition for u in load_corpus(verify=False).utterances.values() if not u.is_clean})


@pytest.mark.parametrize("condition", conditions())
def test_speech_is_where_the_clean_clip_has_it(corpus, condition):
    for clip, _, _ in clips(corpus, condition=condition):
        assert abs(measure_shift_ms(corpus, clip)) < 0.5


@pytest.mark.parametrize("condition", [name for name in conditions() if "db" in name])
def test_noise_is_at_the_stated_snr(corpus, condition):
    for clip, _, _ in clips(corpus, condition=condition):
        found = measure_snr_db(corpus, clip)
        if found is None:
            pytest.skip(f"{condition}: its SNR cannot be found again behind its codec")
        # Storing in Opus takes some of a steady noise away.
        assert clip.snr_db - 0.5 < found < clip.snr_db + 1.5


@pytest.mark.parametrize("channel", ["phone", "phone-gsm"])
def test_a_phone_has_no_more_than_its_band(corpus, channel):
    for _, heard, clean in clips(corpus, channel=channel, noise="clean"):
        speech_db = power_db(heard, 300, 3400)
        assert power_db(heard, 4600, 24000) < speech_db - 40
        assert power_db(heard, 20, 120) < speech_db - 20
        assert abs(power_db(clean, 500, 3000) - power_db(heard[: len(clean)], 500, 3000)) < 2.5


def test_a_hall_rings_on(corpus):
    for clip, heard, clean in clips(corpus, condition="room-hall"):
        assert len(heard) >= len(clean) + RATE // 2
        end = round(clip.speech_end_ms * RATE / 1000)
        # The dry clip is silent 100 ms after speech; in 1.3 s of RT60 the hall has fallen some 5 dB.
        late = slice(end + RATE // 10, end + RATE * 3 // 20)
        later = slice(end + RATE * 4 // 10, end + RATE * 9 // 20)
        assert rms_dbfs(heard[late]) > rms_dbfs(clean[late]) + 15
        fall_per_s = (rms_dbfs(heard[late]) - rms_dbfs(heard[later])) / 0.3
        # 46 dB a second is an RT60 of 1.3 s; one stretch of one clip is no more than near it.
        assert 20 < fall_per_s < 90


def test_clipped_speech_has_no_peaks_left(corpus):
    def crest_db(pcm):
        return 20 * np.log10(np.max(np.abs(as_float(pcm)))) - active_speech_level(pcm, RATE).active_dbfs

    for _, heard, clean in clips(corpus, condition="clipped"):
        assert crest_db(heard) < crest_db(clean) - 3


def test_a_low_level_is_low_and_no_other_is(corpus):
    for clip, heard, _ in clips(corpus, condition="low-level"):
        assert active_speech_level(heard, RATE).active_dbfs == pytest.approx(-46, abs=1)
        assert clip.speech_level_dbfs == pytest.approx(-46, abs=0.5)
    for _, heard, _ in clips(corpus, condition="room-hall"):
        assert active_speech_level(heard, RATE).active_dbfs == pytest.approx(-26, abs=1)
