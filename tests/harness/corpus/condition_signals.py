"""Signals and measurements that the tests of conditions share."""

from functools import cache

import numpy as np

from harness.corpus.audio import read_pcm
from harness.corpus.levels import as_float
from harness.corpus.manifest import load_corpus

RATE = 48000


@cache
def speech():
    """Five seconds of a shipped clean clip, 48 kHz."""
    pcm = read_pcm(load_corpus(verify=False).utterances["british-new-address"], RATE)[: 5 * RATE]
    pcm.flags.writeable = False
    return pcm


def burst(start_ms, end_ms, length_ms, hz=1000.0, amplitude=6000):
    """A tone between two instants, silence around it, as int16."""
    seconds = np.arange(length_ms * RATE // 1000) / RATE
    inside = (seconds >= start_ms / 1000) & (seconds < end_ms / 1000)
    return np.round(amplitude * np.sin(2 * np.pi * hz * seconds) * inside).astype(np.int16)


def lag_ms(late, early, rate=RATE, reach_ms=30.0):
    """By how much `late` comes after `early`: the peak of their cross-correlation within `reach_ms`."""
    count = 1 << (len(late) + len(early)).bit_length()
    spectrum = np.fft.rfft(late.astype(float), count) * np.conj(np.fft.rfft(early.astype(float), count))
    correlation = np.fft.irfft(spectrum, count)
    reach = round(reach_ms * rate / 1000)
    around = np.concatenate([correlation[-reach:], correlation[: reach + 1]])
    return (int(np.argmax(around)) - reach) * 1000 / rate


def envelope(pcm, window_ms=4.0):
    """Slow loudness with its mean taken out: what a vocoder keeps in its place, whatever it does to the waveform."""
    window = np.hanning(round(window_ms * RATE / 1000))
    smooth = np.convolve(np.abs(as_float(pcm)), window / window.sum(), mode="same")
    return smooth - smooth.mean()


def power_db(pcm, low_hz, high_hz, rate=RATE):
    """Power within a band, dB."""
    spectrum = np.abs(np.fft.rfft(as_float(pcm))) ** 2
    hz = np.fft.rfftfreq(len(pcm), 1 / rate)
    return 10 * np.log10(np.sum(spectrum[(hz >= low_hz) & (hz < high_hz)]) + 1e-12)
