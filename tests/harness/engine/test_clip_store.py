import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pytest

from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.engine.clip_store import ClipStore
from harness.media.codecs import CODECS, OPUS, PCMU

pytestmark = pytest.mark.unit


def test_each_codec_has_a_clip_of_its_own_made_once():
    corpus = load_corpus(None)
    utterance = next(iter(corpus.utterances.values()))
    store = ClipStore(corpus)
    assert not store.has(utterance.id, PCMU)
    clips = [store.clip(utterance.id, codec) for codec in CODECS]
    assert not store.has("no such", PCMU)
    assert all(store.has(utterance.id, codec) for codec in CODECS)
    assert [clip.codec for clip in clips] == list(CODECS)
    assert [clip.duration_ms - utterance.duration_ms < 40 for clip in clips] == [True] * len(CODECS)
    # A voiced edge is at most a packet away from that of the codec without delay.
    plain = store.clip(utterance.id, PCMU)
    for clip in clips:
        assert 0 <= clip.last_voiced_packet - plain.last_voiced_packet <= 1
    assert [store.clip(utterance.id, codec) for codec in CODECS] == clips


def test_threads_that_race_get_the_same_clip():
    corpus = load_corpus(None)
    name = next(iter(corpus.utterances))
    store = ClipStore(corpus)
    with ThreadPoolExecutor(4) as pool:
        clips = list(pool.map(lambda _: store.clip(name, PCMU), range(8)))
    assert len({id(clip) for clip in clips}) == 1


def test_a_clip_keeps_what_is_sent_and_not_what_was_encoded():
    # In a soak every utterance comes up sooner or later: what each keeps is what an engine grows by for an hour.
    corpus = load_corpus(None)
    store = ClipStore(corpus)
    store.clip(next(iter(corpus.utterances)), OPUS)
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        clips = [store.clip(name, OPUS) for name in islice(corpus.utterances, 1, 5)]
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    sent = sum(len(payload) for clip in clips for payload in clip.payloads)
    assert sent < kept < 1.5 * sent + 4096 * len(clips)


def test_the_samples_of_a_clip_are_those_of_the_corpus():
    corpus = load_corpus(None)
    utterance = next(iter(corpus.utterances.values()))
    clip = ClipStore(corpus).clip(utterance.id, PCMU)
    assert np.array_equal(clip.read_samples(), read_pcm(utterance, PCMU.sample_rate))
