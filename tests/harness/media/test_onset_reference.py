"""The hot path's detector against the reference class, on made-up levels and on the corpus; and its two modes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from agent_lab import RATE, Encoder, Line, hear
from hypothesis import given, settings
from hypothesis import strategies as st
from onset_reference import OnsetDetector as Reference

from harness.calibrate.voice import voiced
from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.media.hot.jit import INTERPRETED, MODE
from harness.media.onset import OnsetDetector, window_levels_dbfs

pytestmark = pytest.mark.unit

MS = 1_000_000
START_NS = 10**12
# Beyond these the two are meant to differ: what moves by 10 dB and more within a packet may be ringing, a run of 15 ms
# a click, and steady sound up to -40 dBFS a background. What a stream opens with is background to the reference, and
# not to the other; so each opens with silence, for as long as the reference learns.
OPENING = ("packets", [-96.0] * 4, 10)
voice = st.floats(-30, -22)
silence = st.floats(-96, -52)
packet = st.one_of(st.lists(voice, min_size=4, max_size=4), st.lists(silence, min_size=4, max_size=4))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("packets"), packet, st.integers(1, 40)),
        st.tuples(st.just("pause"), st.integers(1, 3000), st.just(1)),
        st.tuples(st.just("doubtful"), st.lists(silence, min_size=4, max_size=4), st.just(1)),
    ),
    max_size=25,
)


def events(detector, steps):
    """Return what a detector makes of the steps, and how its gate moves."""
    now, told = START_NS, []
    was_doubtful = False
    for kind, value, times in steps:
        for _ in range(times):
            now += 20 * MS
            if kind == "pause":
                now += value * MS
                detector.silence(value)
            else:
                # The reference drops a doubt at once where the next packet is in doubt too.
                is_doubtful = kind == "doubtful" and not was_doubtful
                was_doubtful = is_doubtful
                told.append(detector.add(value, now, is_doubtful=is_doubtful))
            told += [detector.poll(now), round(detector.gate_dbfs, 9), detector.is_speaking]
    return [(e.at_ns, getattr(e, "decided_at_ns", None)) if hasattr(e, "at_ns") else e for e in told]


# Each has, behind a pause, a syllable of 45 to 65 ms that nothing tells from a burst of 40 ms and its ringing, and a
# closure behind it.
BURST_LIKE = {
    "japanese-l1-reschedule",
    "japanese-l1-broken-phone-phone",
    "spanish-l1-invoice-phone",
    "hindi-l1-invoice-phone",
}
# A word of theirs falls off in a window less than 1 dB over the gate: ringing to the one, voice to the other, so its
# end is a packet apart.
ENDS_ON_THE_GATE = {"british-dosage", "japanese-l1-cash-machine"}


@given(steps, st.sampled_from([100, 300, 600]))
@settings(max_examples=60 if INTERPRETED else 300, deadline=None)
def test_the_same_as_the_reference(steps, quiet_ms):
    steps = [OPENING, *steps]
    assert events(OnsetDetector(quiet_ms), steps) == events(Reference(quiet_ms), steps)


def test_the_same_onsets_as_the_reference_in_the_corpus():
    # Not of clips made so quiet that they barely pass the gate, nor of noise cut to a telephone's band, which is
    # steady: there the two are meant to differ.
    clips = [
        u
        for u in load_corpus(verify=False).utterances.values()
        if u.distortion == "none" and (u.noise == "clean" or u.channel == "wideband")
    ]
    differing = {utterance.id for utterance in clips[:: 20 if INTERPRETED else 2] if differs(utterance)}
    assert differing <= BURST_LIKE | ENDS_ON_THE_GATE


def differs(utterance):
    """Tell whether the two find other onsets, or other ends."""
    levels = window_levels_dbfs(np.concatenate([np.zeros(RATE, np.int16), read_pcm(utterance, RATE)]), RATE)
    ours, reference = OnsetDetector(300), Reference(300)
    told = []
    for index in range(len(levels) // 4):
        now, windows = START_NS + index * 20 * MS, levels[index * 4 : index * 4 + 4]
        pair = [ours.add(windows, now), reference.add(windows, now), ours.poll(now), reference.poll(now)]
        told.append([e and e.at_ns for e in pair])
    # The decision may come later, where the first 60 ms over the gate do not yet tell speech from ringing.
    found = [[row[column] for row in told if row[column]] for column in range(4)]
    return found[0] != found[1] or found[2] != found[3]


def stream():
    """A line with every path of the ear on it."""
    pcm = np.concatenate([np.zeros(RATE, np.int16), voiced(500, RATE), np.zeros(RATE // 2, np.int16)])
    payloads = Encoder().encode(pcm) + [None] * 30
    payloads += Encoder("lowdelay").encode(np.concatenate([voiced(400, RATE), np.zeros(RATE, np.int16)]))
    return Line(payloads)


def heard():
    lost = {55, 56, 57, 131, 132}
    found = hear(stream(), lost=lost)
    return [MODE, found.onsets, found.stops, found.decoded, found.skipped]


def test_compiled_and_interpreted_hear_the_same():
    other = "compiled" if INTERPRETED else "python"
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", "import json, test_onset_reference as t; print(json.dumps(t.heard()))"],
        env={**os.environ, "CALLQUAKE_MEDIA": other, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if "No module named 'numba'" in done.stderr:
        pytest.skip("numba is not installed")
    assert done.returncode == 0, done.stderr
    mode, *found = json.loads(done.stdout)
    assert mode == other
    assert found == heard()[1:]
    assert len(found[0]) == 2
