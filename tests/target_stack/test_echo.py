"""The agent's own voice in a caller's audio: found, muted, told; a caller's own voice never."""

import asyncio
import contextlib

import numpy as np
import pytest

from target_stack.echo.correlation import best_match
from target_stack.echo.detector import MOST_DELAY, RATE, WINDOW, Change, EchoDetector
from target_stack.echo.guard import EchoGuard
from target_stack.emulation.voice import voiced
from target_stack.frames import INPUT_RATE, SPEECH_RATE
from target_stack.telemetry.events import EchoFound, EchoLost, EventLog
from target_stack.telemetry.record import Telemetry
from target_stack.telemetry.stats import Stats

pytestmark = pytest.mark.unit

PACKET_NS = 20_000_000


def agent(seconds):
    """Its speech, 24 kHz, in frames of 20 ms."""
    return voiced(seconds * 1000).reshape(-1, 480)


def at_16k(speech):
    flat = speech.reshape(-1)
    return np.interp(np.arange(len(flat) * 2 // 3) * 1.5, np.arange(len(flat)), flat)


def stranger(seconds, seed=3):
    """Another voice: syllables of noise through one resonance, with nothing of the agent's in it."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(int(seconds * INPUT_RATE))
    resonance = np.sin(2 * np.pi * 600 * np.arange(160) / INPUT_RATE) * np.exp(-np.arange(160) / 40)
    voice = np.convolve(noise, resonance)[: len(noise)]
    syllables = np.abs(np.sin(2 * np.pi * 2.1 * np.arange(len(noise)) / INPUT_RATE))
    return voice * syllables * 3000 / np.sqrt(np.mean(voice**2))


def heard_back(speech, delay_ms, gain_db, seconds, seed=1):
    """What a microphone beside the caller's loudspeaker gives: delayed, quieter, with a room and some noise."""
    rng = np.random.default_rng(seed)
    room = np.concatenate(([1.0], rng.standard_normal(800) * np.exp(-np.arange(800) / 250) * 0.1))
    echo = np.convolve(at_16k(speech), room) * 10 ** (gain_db / 20)
    heard = rng.standard_normal(int(seconds * INPUT_RATE)) * 20
    begin = delay_ms * 16
    length = min(len(echo), len(heard) - begin)
    heard[begin : begin + length] += echo[:length]
    return heard


def run(speech, heard, seed=5):
    """Play both through a detector, arrivals jittered by 8 ms; return it, what passed, and its news."""
    detector, rng = EchoDetector(), np.random.default_rng(seed)
    packets = np.clip(heard, -32_768, 32_767).astype(np.int16)
    packets = packets[: len(packets) // 320 * 320].reshape(-1, 320)
    passed, news = [], {}
    for number, packet in enumerate(packets):
        if number < len(speech):
            detector.sent(speech[number], number * PACKET_NS)
        arrival = (number + 1) * PACKET_NS + int(rng.integers(8_000_000))
        samples, change = detector.hear(packet, arrival)
        passed.append(samples)
        if change is not None:
            news[number] = change
    return detector, np.array(passed), news


def loud(packets, level=300.0):
    return np.sqrt(np.mean(packets.astype(float) ** 2, axis=1)) > level


@pytest.mark.parametrize(("delay_ms", "gain_db"), [(60, -6), (180, -12), (400, -20), (900, -12)])
def test_an_echo_is_found_before_it_can_interrupt_and_kept_out_from_then_on(delay_ms, gain_db):
    speech = agent(4)
    heard = heard_back(speech, delay_ms, gain_db, 5)
    detector, passed, news = run(speech, heard)
    assert list(news.values()) == [Change.FOUND]
    (found_at,) = news
    before = loud(heard.reshape(-1, 320))[: found_at + 1].sum() * 20
    # Barge-in takes 250 ms of voice.
    assert before < 250
    assert loud(passed[found_at + 1 :]).mean() < 0.05
    path = detector.path
    # Sent and heard are both known to a packet.
    assert path.delay_ms == pytest.approx(delay_ms, abs=25)
    assert path.gain_db == pytest.approx(gain_db, abs=4)
    assert detector.muted_ms > 2500


@pytest.mark.parametrize("seed", range(6))
def test_a_caller_who_talks_while_the_agent_does_is_no_echo_and_loses_nothing(seed):
    speech, heard = agent(4), stranger(5, seed)
    detector, passed, news = run(speech, heard)
    assert news == {}
    assert detector.path is None
    assert np.array_equal(passed.reshape(-1), np.clip(heard, -32_768, 32_767).astype(np.int16))


def test_a_caller_is_heard_over_an_echo_and_wholly_after_it():
    speech = agent(4)
    heard = heard_back(speech, 150, -18, 8)
    caller = stranger(4)
    heard[2 * INPUT_RATE : 6 * INPUT_RATE] += caller
    _, passed, _ = run(speech, heard)
    spoken = loud(caller.reshape(-1, 320))
    over, after = slice(100, 200), slice(220, 300)
    # Enough of it to interrupt within half a second.
    assert (loud(passed[over]) & spoken[:100])[:25].sum() * 20 >= 250
    assert loud(passed[after]).sum() == spoken[120:].sum()


def test_a_noisy_line_is_looked_through_ever_less_often_and_an_echo_that_comes_late_is_found_all_the_same(monkeypatch):
    looks = []
    monkeypatch.setattr("target_stack.echo.detector.best_match", lambda *pieces: looks.append(1) or best_match(*pieces))
    speech = agent(10)
    # Audible all the time, and nothing of the agent's in it for six seconds.
    heard = np.random.default_rng(7).standard_normal(10 * INPUT_RATE) * 250
    _, passed, news = run(speech[:300], heard[: 6 * INPUT_RATE])
    assert news == {}
    assert np.array_equal(passed.reshape(-1), heard[: 6 * INPUT_RATE].astype(np.int16))
    # Every 40 ms it would be 147.
    assert 50 < len(looks) < 90
    begin = 6 * INPUT_RATE
    heard[begin:] += heard_back(speech, 150, -10, 10)[begin:]
    _, _, news = run(speech, heard)
    ((found_at, change),) = news.items()
    assert change is Change.FOUND
    # Barge-in takes 250 ms of voice.
    assert loud(heard.reshape(-1, 320), 500)[300 : found_at + 1].sum() * 20 < 250


def test_an_echo_that_has_gone_mutes_nobody_for_long():
    speech = agent(8)
    heard = heard_back(speech[:150], 100, -10, 8)
    # Headphones on: from here on only the caller is heard, about as loud as the echo was.
    heard[int(3.2 * INPUT_RATE) : int(7.2 * INPUT_RATE)] += stranger(4) * 0.35
    _, passed, _ = run(speech, heard)
    caller = loud(heard.reshape(-1, 320)[160:360])
    assert loud(passed[160:360])[caller].mean() > 0.5


def test_silence_and_a_line_that_pauses_are_nothing():
    detector = EchoDetector()
    quiet = np.zeros(320, np.int16)
    for number in range(100):
        samples, change = detector.hear(quiet, number * PACKET_NS)
        assert samples is quiet
        assert change is None
    # An hour without a packet, then a burst of them.
    detector.sent(agent(1)[0], 3600 * 10**9)
    for number in range(5):
        assert detector.hear(quiet, 3600 * 10**9 + number)[1] is None
    assert detector.hear(np.zeros(0, np.int16), 3601 * 10**9)[0].size == 0


def test_a_match_says_when_it_was_said_and_how_much_quieter_it_is():
    rng = np.random.default_rng(2)
    said = rng.standard_normal(WINDOW + MOST_DELAY).astype(np.float32) * 1000
    lag = RATE // 3
    heard = 0.25 * said[len(said) - WINDOW - lag : len(said) - lag]
    match = best_match(heard, said)
    assert match.lag == lag
    assert match.gain == pytest.approx(0.25, rel=0.01)
    assert match.strength > 0.9
    assert best_match(np.zeros(WINDOW, np.float32), said) is None
    assert best_match(heard, np.zeros(len(said), np.float32)) is None


class Edge:
    def overhear(self, on_speech):
        self.on_speech = on_speech


class Session:
    def __init__(self):
        self.heard, self.calls = [], []

    async def start(self):
        self.calls.append("start")

    async def aclose(self):
        self.calls.append("aclose")

    def push_audio(self, samples, at_ns):
        self.heard.append((samples, at_ns))

    def push_digit(self, *told):
        self.calls.append(told)

    playout_started = playout_drained = push_digit


def test_the_guard_passes_all_on_and_tells_of_the_echo_it_keeps_back():
    telemetry = Telemetry(Stats(), EventLog())
    edge, session = Edge(), Session()
    guard = EchoGuard("call-1", session, edge, telemetry)
    speech = agent(2)
    heard = heard_back(speech, 100, -10, 2).astype(np.int16).reshape(-1, 320)
    asyncio.run(guard.start())
    for number, packet in enumerate(heard):
        with contextlib.suppress(IndexError):
            edge.on_speech(speech[number], number * PACKET_NS)
        guard.push_audio(packet, (number + 1) * PACKET_NS)
    guard.push_digit("5", 100.0, 7)
    guard.playout_started(1, 8)
    guard.playout_drained(1, 9)
    asyncio.run(guard.aclose())
    assert session.calls == ["start", ("5", 100.0, 7), (1, 8), (1, 9), "aclose"]
    assert [len(samples) for samples, _ in session.heard] == [320] * len(heard)
    found, lost = telemetry.events.recent
    assert isinstance(found, EchoFound)
    assert isinstance(lost, EchoLost)
    assert (found.call_id, telemetry.stats.echoes) == ("call-1", 1)
    assert found.delay_ms == pytest.approx(100, abs=25)
    assert telemetry.stats.echo_muted_ms == lost.muted_ms > 1000
    assert SPEECH_RATE == 24_000
