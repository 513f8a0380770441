"""Test bench: calls put together from shipped clips, with every edge and gap known."""

from functools import cache

import numpy as np

from harness.analyze.agent_side import hear_agent
from harness.analyze.recording import Recording
from harness.corpus.audio import read_pcm
from harness.corpus.edges import find_edges
from harness.corpus.levels import active_speech_level
from harness.corpus.manifest import load_corpus

CLIPS = 9


@cache
def clips(rate):
    """Short clean clips, as (clip, edges of what a recording at `rate` holds of it).

    Each begins with the 60 ms of sound that make an onset: a lone "it" before a closure is none by definition.
    """
    chosen = []
    clean = [u for u in load_corpus(verify=False).utterances.values() if u.base_id == u.id and u.duration_ms > 2000]
    for utterance in sorted(clean, key=lambda u: u.duration_ms):
        pcm = read_pcm(utterance, rate)
        edges = find_edges(pcm, rate)
        onset_ms = hear_agent(pcm, rate, 900)[0].start_ms
        if abs(onset_ms - edges.start_ms) < 10:
            chosen.append((utterance, edges))
        if len(chosen) == CLIPS:
            break
    return chosen


@cache
def samples(index, rate):
    return read_pcm(clips(rate)[index][0], rate).astype(float)


def put(channel, pcm, at_ms, rate):
    first = round(at_ms * rate / 1000)
    channel[first : first + len(pcm)] += pcm


def call(gaps_ms, rate=16_000, *, greeting=True, pause_ms=900, ends="heard"):
    """Caller and agent in turn; returns (caller, agent, [(end of speech, onset)]) in floats of int16 scale, ms.

    `ends`: "heard", what the recording's band holds of the clip, or "manifest", where the clip's speech ended: a last
    fricative that is all above the band is only in the second.
    """
    length = round((8 + sum(20 + gap / 1000 for gap in gaps_ms)) * rate)
    caller, agent = np.zeros(length), np.zeros(length)
    at_ms, truth = 400.0, []
    if greeting:
        _, edges = clips(rate)[0]
        put(agent, samples(0, rate), at_ms - edges.start_ms, rate)
        at_ms += edges.end_ms - edges.start_ms + pause_ms
    for index, gap_ms in enumerate(gaps_ms):
        said, answer = (2 * index + 1) % CLIPS, (2 * index + 2) % CLIPS
        (utterance, said_edges), answer_edges = clips(rate)[said], clips(rate)[answer][1]
        put(caller, samples(said, rate), at_ms - said_edges.start_ms, rate)
        end_ms = at_ms + said_edges.end_ms - said_edges.start_ms
        put(agent, samples(answer, rate), end_ms + gap_ms - answer_edges.start_ms, rate)
        lost_ms = utterance.speech_end_ms - said_edges.end_ms if ends == "manifest" else 0.0
        truth.append((end_ms + lost_ms, end_ms + gap_ms))
        at_ms = end_ms + gap_ms + answer_edges.end_ms - answer_edges.start_ms + pause_ms
    length = round((at_ms / 1000 + 0.3) * rate)
    return caller[:length], agent[:length], truth


def leak(into, source, delay_ms, gain_db, rate):
    """Let `source` be heard in `into`."""
    shift = round(delay_ms * rate / 1000)
    return into + np.concatenate([np.zeros(shift), source[: len(source) - shift]]) * 10 ** (gain_db / 20)


def noisy(channel, snr_db, rate, seed=0):
    """White noise so far under the speech's P.56 level."""
    level = active_speech_level(channel.astype(np.int16), rate).active_dbfs
    noise = np.random.default_rng(seed).standard_normal(len(channel))
    return channel + noise * 32768 * 10 ** ((level - snr_db) / 20)


def ulaw(channel):
    """Through G.711's companding, 8 bits."""
    x = np.clip(channel / 32768, -1, 1)
    coded = np.round(np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256) * 127) / 127
    return np.sign(coded) * (256 ** np.abs(coded) - 1) / 255 * 32767


def recording(caller, agent, rate, name="constructed"):
    as_pcm = [np.clip(np.round(side), -32768, 32767).astype(np.int16) for side in (caller, agent)]
    return Recording(name, *as_pcm, rate)
