"""Clips for agents that are none of ours: short, clean, of plain words, without a pause that ends their turn."""

import functools
from collections import Counter

import numpy as np

from harness.corpus.audio import read_pcm
from harness.corpus.edges import HOP_MS, window_power_db
from harness.corpus.levels import as_float
from harness.corpus.manifest import load_corpus

# A Pipecat agent's turn may end where Silero hears nothing for 0.2 s, and weak sounds are nothing to it.
LONGEST_PAUSE_MS = 150
SHORTEST_MS, LONGEST_MS = 2000, 4500
# A fricative's power, or more.
VOICED_DBFS = -45


@functools.cache
def spoken_in_one_breath():
    """Return all such clips, in the corpus's order."""
    clean = (u for u in load_corpus().utterances.values() if u.is_clean and u.vocabulary == "general")
    fit = (u for u in clean if SHORTEST_MS < u.speech_end_ms - u.speech_start_ms < LONGEST_MS)
    # An "um" is loud, and may be no speech to a detector.
    return [u for u in fit if u.domain != "hesitation" and longest_pause_ms(u) < LONGEST_PAUSE_MS]


def callers(turns):
    """Return a scenario's block of callers who say nothing else, and never give up."""
    # A caller has one accent, and says nothing twice.
    said = Counter(u.accent for u in spoken_in_one_breath())
    ids = [u.id for u in spoken_in_one_breath() if said[u.accent] >= turns]
    return [{"name": "all", "turns": turns, "patience": "unlimited", "select": {"ids": ids}}]


def longest_pause_ms(utterance):
    """Return the longest stretch within the clip's edges whose level is below VOICED_DBFS."""
    power_db = window_power_db(as_float(read_pcm(utterance)), utterance.sample_rate)
    inside = power_db[int(utterance.speech_start_ms) // HOP_MS : int(utterance.speech_end_ms) // HOP_MS]
    loud = np.flatnonzero(inside > VOICED_DBFS)
    return int(np.diff(np.concatenate([[0], loud, [len(inside)]])).max()) * HOP_MS
