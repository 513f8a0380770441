"""Onsets in real libopus encodes, through every kind of silence and loss, against what was put into the encoder."""

import numpy as np
import pytest
from agent_lab import PACKET_NS, RATE, SILENCE_FRAME, START_NS, Encoder, Line, Listener, hear

from harness.calibrate.voice import voiced
from harness.corpus.audio import read_pcm
from harness.corpus.manifest import load_corpus
from harness.media.hot.jit import INTERPRETED
from harness.media.hot.opus_spoken import spoken_catch_up
from harness.media.onset import window_levels_dbfs

pytestmark = pytest.mark.unit

PACKET = 960
SEEDS = 3 if INTERPRETED else 28
ENCODERS = {
    "voip": {},
    "audio": {"application": "audio"},
    "celt": {"application": "lowdelay"},
    "silk": {"mode": "silk", "bitrate": 16_000},
    "hybrid": {"mode": "hybrid", "bitrate": 28_000},
    "fec": {"fec": 1, "loss_percent": 10, "bitrate": 24_000},
    "16 kHz": {"rate": 16_000, "bitrate": 20_000},
    "24 kHz": {"rate": 24_000, "application": "audio"},
    "stereo": {"stereo": True, "application": "audio", "bitrate": 64_000},
}
GATE_DBFS = -50.0


# What begins nearer to the gate begins a packet later for whom the codec, or noise, has taken a dB.
CLEARLY_DB = 6.0


def speech(count=10, length_ms=900, gate_dbfs=GATE_DBFS):
    """Beginnings of Kokoro's utterances in the corpus, from where each is clearly over the gate."""
    answers = []
    for utterance in [u for u in load_corpus(verify=False).utterances.values() if u.is_clean][:count]:
        pcm = read_pcm(utterance, RATE)
        start = int(np.argmax(np.array(window_levels_dbfs(pcm, RATE)) > gate_dbfs + CLEARLY_DB)) * RATE // 200
        answers.append(pcm[start : start + length_ms * RATE // 1000])
    return answers


def first_audible_packet(pcm, lookahead, gate_dbfs=GATE_DBFS):
    """Return the packet that carries the first 5 ms over the gate that are part of 60 ms of it."""
    delayed = np.concatenate([np.zeros(lookahead, np.int16), pcm])
    is_over = np.array(window_levels_dbfs(delayed, RATE)) > gate_dbfs
    first = next(i for i in np.flatnonzero(is_over) if is_over[i : i + 20].sum() >= 12)
    return int(first) // 4


def agent(answers, silence, *, encoder=(), level=1.0, noise_dbfs=None, leading_ms=0, gate_dbfs=GATE_DBFS, seed=7):
    """Return a line of answers with more than a second between them.

    silence: `encoded` = an encoder that never stops; `frames` = 3-byte frames, and a new encoder an answer; `nothing` =
    DTX and a new encoder; `paused` = DTX of an encoder that is kept.
    """
    rng = np.random.default_rng(seed)
    line, kept = Line(), Encoder(**dict(encoder))
    for samples in [np.zeros(0, np.int16), *answers]:
        gap = int(rng.integers(55, 80))
        lead = np.zeros(int(rng.integers(0, PACKET)) + leading_ms * RATE // 1000, np.int16)
        body = (np.concatenate([lead, samples, np.zeros(4800, np.int16)]) * level).astype(np.int16)
        body = np.concatenate([body, np.zeros(-len(body) % PACKET, np.int16)])
        if silence == "encoded":
            body = np.concatenate([np.zeros(gap * PACKET, np.int16), body])
        else:
            line.payloads += [SILENCE_FRAME if silence == "frames" else None] * gap
        if noise_dbfs is not None:
            noise = rng.standard_normal(len(body)) * 32768 * 10 ** (noise_dbfs / 20)
            body = np.clip(body + noise, -32768, 32767).astype(np.int16)
        if len(samples):
            line.first_voiced.append(len(line.payloads) + first_audible_packet(body, kept.lookahead, gate_dbfs))
        # The call opens with something audible to learn the background from, were it only silence.
        line.payloads += (kept if silence in {"encoded", "paused"} else Encoder(**dict(encoder))).encode(body)
    return line


def errors(line, loss_ratio=0.0, seeds=1, **options):
    """Return each onset's error in packets, and the run of packets lost at each; fails on a missed or a false one."""
    found, runs = [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        lost = {i for i in range(len(line.payloads)) if rng.random() < loss_ratio}
        onsets = hear(line, lost=lost, **options).onsets
        assert len(onsets) == len(line.first_voiced), (seed, onsets, line.first_voiced)
        found += [round(at - truth, 3) for at, truth in zip(onsets, line.first_voiced, strict=True)]
        runs += [run_of(lost, truth) for truth in line.first_voiced]
    return np.array(found), np.array(runs)


def run_of(lost, tick):
    """Return how many packets on end were lost around the one at `tick`, 0 if that one and those behind came."""
    start, end = tick, tick
    while start - 1 in lost:
        start -= 1
    while end in lost:
        end += 1
    return end - start


@pytest.mark.parametrize("silence", ["encoded", "frames", "nothing", "paused"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_and_silence(encoder, silence):
    found, _runs = errors(agent(speech(6), silence, encoder=ENCODERS[encoder]))
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize(
    ("encoder", "silence", "loss_ratio"),
    [
        ("voip", "encoded", 0.05),
        ("voip", "frames", 0.02),
        ("celt", "encoded", 0.02),
        ("celt", "frames", 0.05),
        ("celt", "nothing", 0.05),
    ],
)
def test_loss_moves_an_onset_by_one_packet_at_most(encoder, silence, loss_ratio):
    answers = [*speech(10), *[voiced(620 + 35 * i, RATE) for i in range(8)]]
    found, runs = errors(agent(answers, silence, encoder=ENCODERS[encoder]), loss_ratio, SEEDS)
    assert len(found) >= (500 if SEEDS > 20 else 50)
    # Of several packets lost on end any can have been the onset.
    assert (np.abs(found) <= np.maximum(1, (runs + 1) // 2)).all(), (found[np.abs(found) > 1], runs[np.abs(found) > 1])
    assert (np.abs(found) <= 1).mean() > 0.99
    assert (found == 0).mean() > 0.75


@pytest.mark.parametrize("noise_dbfs", [-60.0, -55.0, -50.0, -45.0])
@pytest.mark.parametrize("encoder", ["voip", "celt"])
def test_comfort_noise(encoder, noise_dbfs):
    gate_dbfs = max(GATE_DBFS, noise_dbfs + 10)
    answers = speech(6, gate_dbfs=gate_dbfs)
    line = agent(answers, "encoded", encoder=ENCODERS[encoder], noise_dbfs=noise_dbfs, gate_dbfs=gate_dbfs)
    found, _runs = errors(line, 0.02, 3)
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize("noise_dbfs", [-60.0, -50.0, -45.0])
def test_comfort_noise_that_begins_is_no_onset(noise_dbfs):
    rng = np.random.default_rng(3)
    noise = (rng.standard_normal(2 * RATE) * 32768 * 10 ** (noise_dbfs / 20)).astype(np.int16)
    for encoder in ("voip", "celt"):
        line = Line([SILENCE_FRAME] * 100 + Encoder(**ENCODERS[encoder]).encode(noise))
        assert hear(line).onsets == []


@pytest.mark.parametrize("silence", ["encoded", "frames", "nothing"])
def test_leading_silence_of_600_ms(silence):
    found, _runs = errors(agent(speech(6), silence, leading_ms=600), 0.05, 3)
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize("encoder", ["voip", "celt"])
def test_quiet_speech(encoder):
    # -26 dBFS in the corpus.
    line = agent(speech(8), "frames", encoder=ENCODERS[encoder], level=10 ** (-14 / 20))
    found, _runs = errors(line, 0.02, 3)
    assert np.abs(found).max() <= 1


# At 16 kbit/s SILK makes 65 ms of sound, as loud, of 40 ms of noise: that is no longer a question of the detector.
@pytest.mark.parametrize("encoder", ["voip", "audio", "celt", "16 kHz"])
@pytest.mark.parametrize("click", ["sample", "1 ms", "5 ms", "40 ms burst"])
def test_a_click_is_no_onset_and_hides_none(encoder, click):
    rng = np.random.default_rng(5)
    sounds = {
        "sample": np.full(1, 20_000),
        "1 ms": np.full(48, 20_000),
        "5 ms": rng.standard_normal(240) * 9000,
        "40 ms burst": rng.standard_normal(1920) * 6000,
    }
    sound = sounds[click].astype(np.int16)
    for offset in (100, 500, 900):
        quiet = np.zeros(60 * PACKET, np.int16)
        quiet[50 * PACKET + offset :][: len(sound)] = sound
        # Speech 120 ms behind the click.
        answer = voiced(400, RATE)
        alone = Encoder(**ENCODERS[encoder]).encode(np.concatenate([quiet, np.zeros(40 * PACKET, np.int16)]))
        assert hear(Line(alone)).onsets == []
        start = 50 * PACKET + offset + len(sound) + 6 * PACKET
        followed = np.concatenate([quiet, np.zeros(40 * PACKET, np.int16)])[:start]
        anew = Encoder(**ENCODERS[encoder])
        line = Line(anew.encode(np.concatenate([followed, answer])))
        truth = (start + anew.lookahead) // PACKET
        assert [abs(at - truth) <= 1 for at in hear(line).onsets] == [True]


def stops(payloads, quiet_ms, *, is_all_decoded):
    """Return the packets after which the agent stopped, and how many were decoded."""
    listener, found = Listener(quiet_ms=quiet_ms), []
    for tick, payload in enumerate(payloads):
        now_ns = START_NS + tick * PACKET_NS
        if is_all_decoded:
            listener.row.next_sample_ns = 2**62
        if payload is not None:
            listener.packet(payload, tick, tick * 960, now_ns)
        if is_all_decoded and listener.row.kept:
            spoken_catch_up(listener.row, listener.scratch)
        stopped_ns = listener.poll(now_ns + 1_000_000)
        if stopped_ns:
            found.append((stopped_ns - START_NS) / PACKET_NS)
    return found, int(listener.row.decoded)


@pytest.mark.parametrize("quiet_ms", [300.0, 900.0])
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("silence", ["frames", "nothing"])
def test_the_end_is_where_decoding_everything_finds_it(encoder, silence, quiet_ms):
    line = agent(speech(4, length_ms=2600), silence, encoder=ENCODERS[encoder])
    payloads = [*line.payloads, *[SILENCE_FRAME] * 60]
    found, some = stops(payloads, quiet_ms, is_all_decoded=False)
    expected, everything = stops(payloads, quiet_ms, is_all_decoded=True)
    assert len(expected) >= 4
    assert len(found) == len(expected)
    assert np.abs(np.array(found) - np.array(expected)).max() <= 1
    assert some < 0.6 * everything
