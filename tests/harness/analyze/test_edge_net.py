"""The network for edges under a background: its gradients, its training, and what the shipped weights tell."""

import numpy as np
import pytest

from harness.analyze.agent_side import Speech
from harness.analyze.edge_net.edge import edges_of, likeliest
from harness.analyze.edge_net.examples import FRAMES, RATE, Example, examples_of, sound
from harness.analyze.edge_net.features import CHANNELS, features, spectrum_of, surroundings
from harness.analyze.edge_net.network import COUNT, REACH, fresh, gradients, logits, unpacked
from harness.analyze.edge_net.train import Adam, learn, packed

pytestmark = pytest.mark.unit


def test_gradients_are_those_of_differences():
    rng = np.random.default_rng(1)
    weights = [w.astype(np.float64) for w in fresh(rng)]
    seen = rng.standard_normal((2, 9, CHANNELS))
    pull = rng.standard_normal((2, 9))
    _, trace = logits(weights, seen)
    found = gradients(weights, trace, pull)
    for w, g in zip(weights, found, strict=True):
        place = tuple(int(rng.integers(size)) for size in w.shape)
        kept, step = w[place], 1e-6
        told = []
        for value in (kept + step, kept - step):
            w[place] = value
            told.append(float(np.sum(logits(weights, seen)[0] * pull)))
        w[place] = kept
        assert (told[0] - told[1]) / (2 * step) == pytest.approx(g[place], rel=1e-3, abs=1e-5)


def test_a_network_learns_where_a_step_is():
    rng = np.random.default_rng(2)
    examples = []
    for _ in range(64):
        seen = rng.standard_normal((FRAMES + 2 * REACH, CHANNELS)).astype(np.float16) * 0.1
        place = int(rng.integers(5, FRAMES - 5))
        seen[: REACH + place] += 1
        examples.append(Example(seen, place))
    shown, target = packed(examples)
    adam = Adam(fresh(rng))
    losses = [learn(adam, shown, target, np.arange(64), 3e-3) for _ in range(8)]
    assert losses[-1] < 0.25 * losses[0]


def test_weights_are_read_in_the_order_they_are_written_in():
    weights = fresh(np.random.default_rng(3))
    flat = np.concatenate([w.reshape(-1) for w in weights])
    assert flat.shape == (COUNT,)
    assert all((a == b).all() for a, b in zip(weights, unpacked(flat), strict=True))


def test_the_likeliest_edge_has_the_most_about_it_and_tells_its_doubt():
    sure = np.zeros(60)
    sure[20:22] = 0.5
    edge = likeliest(sure, 100)
    assert edge.at_ms == pytest.approx(1205)
    assert edge.within_ms == pytest.approx(10)
    torn = np.zeros(60)
    torn[10], torn[40] = 0.55, 0.45
    edge = likeliest(torn, 0)
    assert edge.at_ms == pytest.approx(100)
    assert edge.within_ms == pytest.approx(305)


def test_what_is_seen_does_not_go_by_the_volume():
    rng = np.random.default_rng(4)
    sound = rng.standard_normal(RATE) * np.where(np.arange(RATE) < RATE // 2, 3000, 300)
    shown = []
    for gain in (1.0, 0.25):
        spectrum = spectrum_of((sound * gain).astype(np.int16), RATE)
        is_speech = np.arange(len(spectrum.bands)) < 45
        shown.append(features(spectrum, surroundings(spectrum, ~is_speech, is_speech), -5, 110))
    assert np.abs(shown[0] - shown[1]).max() < 0.1


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_sound_that_stops_at_once_is_found_to_have(rate):
    # A vowel-like sound, 10 dB over white noise: no clip of the corpus, and no end that it was trained with.
    rng = np.random.default_rng(5)
    at = np.arange(4 * rate) / rate
    voice = sum(np.sin(2 * np.pi * 120 * k * at + k) / (1 + abs(k - 5)) for k in range(1, 25))
    voice *= (1 + 0.5 * np.sin(2 * np.pi * 3 * at)) * ((at > 1.2) & (at < 2.7))
    power = np.mean(voice[(at > 1.2) & (at < 2.7)] ** 2)
    noisy = (voice / np.sqrt(power) + 10 ** (-10 / 20) * rng.standard_normal(len(at))) * 1500
    ((start, end),) = edges_of(spectrum_of(noisy.astype(np.int16), rate), [Speech(1230.0, 2650.0)])
    assert start.at_ms == pytest.approx(1200, abs=20)
    assert end.at_ms == pytest.approx(2700, abs=20)


def test_examples_know_where_their_edges_are():
    rng = np.random.default_rng(6)
    voice = rng.standard_normal(2 * RATE) * 0.05
    voice *= 1 + np.sin(2 * np.pi * 4 * np.arange(len(voice)) / RATE)
    for start, end in examples_of(rng, [sound(voice)], [sound(rng.standard_normal(RATE))], 3):
        for example in (start, end):
            assert example.seen.shape == (FRAMES + 2 * REACH, CHANNELS)
            assert 0 <= example.at < FRAMES
