"""What stands for speech, and who tells it from silence, without a model."""

import numpy as np
import pytest

from target_stack.edge.playout import AUDIBLE_RMS, FRAME_SAMPLES
from target_stack.emulation.level_vad import LevelVad
from target_stack.emulation.stages import placeholder
from target_stack.emulation.voice import LONGEST_S, voiced
from target_stack.frames import INPUT_RATE, SPEECH_RATE
from target_stack.stages.endpointing import EndpointRules
from target_stack.stages.vad import CHUNK_MS, CHUNK_SAMPLES

pytestmark = pytest.mark.unit


def rms(samples):
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def test_the_voice_is_as_long_as_asked_loud_and_without_gaps():
    samples = voiced(3000)
    assert len(samples) == 3 * SPEECH_RATE
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    levels = np.array([rms(frame) for frame in frames])
    assert 0.05 < rms(samples) / 32768 < 0.2
    # Heard from its first packet to its last: no stretch of it is a pause.
    assert levels.min() > 2 * AUDIBLE_RMS
    # And uneven, as syllables are.
    assert levels.max() / levels.min() > 3
    assert np.abs(samples).max() < 32767


def test_the_voice_has_the_spectrum_of_speech():
    spectrum = np.abs(np.fft.rfft(voiced(8000))) ** 2
    hertz = np.fft.rfftfreq(8 * SPEECH_RATE, 1 / SPEECH_RATE)
    share = spectrum[(hertz > 100) & (hertz < 3400)].sum() / spectrum.sum()
    assert share > 0.95
    # Some of it where fricatives and higher formants are, so that no codec takes it for hum.
    assert spectrum[(hertz > 1000) & (hertz < 3400)].sum() / spectrum.sum() > 0.03


@pytest.mark.parametrize(("asked", "got"), [(0, 20), (29, 20), (31, 40), (1e9, LONGEST_S * 1000)])
def test_lengths_are_whole_packets_within_bounds(asked, got):
    assert len(voiced(asked)) == got * SPEECH_RATE // 1000


def test_the_voice_is_shared_and_cannot_be_written_to():
    assert voiced(500) is voiced(501)
    with pytest.raises(ValueError, match="read-only"):
        voiced(500)[0] = 1


@pytest.mark.parametrize(("seconds", "words"), [(0.2, 2), (2, 5), (4, 10), (30, 75)])
def test_the_placeholder_says_what_it_is_and_has_as_many_words_as_speech(seconds, words):
    text = placeholder(seconds)
    assert text.startswith("emulated transcript")
    assert len(text.split()) == words


def heard(samples, vad=None):
    """Return the share of chunks that count as voice, as an endpointer that is hearing voice takes them."""
    vad = vad or LevelVad()
    chunks = samples[: len(samples) // CHUNK_SAMPLES * CHUNK_SAMPLES].reshape(-1, CHUNK_SAMPLES)
    hold = EndpointRules().hold_probability
    return np.array([vad.probability(chunk) >= hold for chunk in chunks])


def speech(seconds, level=0.1):
    """The emulated voice at the recogniser's rate."""
    samples = voiced(seconds * 1000).astype(np.float64)
    places = np.arange(round(seconds * INPUT_RATE)) * (SPEECH_RATE / INPUT_RATE)
    return np.interp(places, np.arange(len(samples)), samples) * level / 0.1


def noise(seconds, level, seed=1):
    return np.random.default_rng(seed).normal(0, level * 32768, round(seconds * INPUT_RATE))


def pcm(*parts):
    return np.concatenate(parts).astype(np.int16)


def test_silence_is_silence_and_speech_is_speech():
    assert not heard(np.zeros(INPUT_RATE, np.int16)).any()
    assert heard(pcm(speech(3))).all()
    # Nobody speaks that long without a pause; even so no turn would end in it.
    places = np.flatnonzero(heard(pcm(speech(8))))
    assert np.diff(places).max() * CHUNK_MS <= 100


def test_speech_is_told_from_the_noise_it_stands_in_once_that_is_known():
    """10 dB of noise throughout: after it is learnt, it ends a turn, and speech in it does not."""
    known, said, after = 4.0, 3.0, 2.0
    whole = noise(known + said + after, 0.03)
    whole[round(known * INPUT_RATE) : round((known + said) * INPUT_RATE)] += speech(said)
    voice = heard(pcm(whole))
    at = [round(1000 * seconds / CHUNK_MS) for seconds in (3.2, known, known + said, known + said + after)]
    assert voice[at[0] : at[1]].mean() < 0.05
    assert voice[at[1] : at[2]].mean() > 0.7
    assert voice[at[2] + 2 :].mean() < 0.05


def test_a_quiet_speaker_is_heard():
    assert heard(pcm(np.zeros(INPUT_RATE), speech(3, 0.01))).sum() * CHUNK_MS > 2500
