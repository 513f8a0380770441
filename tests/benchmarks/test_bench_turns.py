"""What the callers of a comparison say, and how turns are held against the truth."""

import argparse
import asyncio

import numpy as np
import pytest

from benchmarks import bench
from benchmarks.failure import BenchmarkError
from benchmarks.timing_error import hold_against
from benchmarks.turn_clock import TurnClock, TurnLog
from benchmarks.turns import CYCLE_PACKETS, Cycle, talk_ratio
from harness.callers.exchange import Disconnected
from harness.measure.calibration import Truth
from harness.media.codecs import OPUS, PCMU
from harness.media.events import SpeechStarted
from harness.media.onset import AgentOnset
from harness.media.timers import Timers

pytestmark = pytest.mark.unit

MS = 1_000_000


@pytest.mark.parametrize("codec", [OPUS, PCMU], ids=lambda codec: codec.name)
def test_a_cycle_is_silence_then_speech_to_the_last_packet(codec):
    cycle = Cycle(0.4)
    clip = cycle.clip(codec)
    assert len(clip.payloads) == cycle.speech_packets == 100
    assert cycle.quiet_packets + cycle.speech_packets == CYCLE_PACKETS
    assert (clip.first_voiced_packet, clip.last_voiced_packet) == (0, 99)


def test_opus_speech_has_about_the_80_bytes_that_pions_callers_send():
    sizes = [len(payload) for payload in Cycle().clip(OPUS).payloads]
    assert np.mean(sizes) == pytest.approx(80, abs=5)


def test_the_samples_of_a_cycle_fill_its_time():
    samples = Cycle(0.4).samples(8_000)
    assert len(samples) == CYCLE_PACKETS * 160
    assert not samples[: 150 * 160].any()
    assert samples[150 * 160 :].any()


@pytest.mark.parametrize("text", ["0", "0.9", "-1"])
def test_a_talk_ratio_that_leaves_no_turn_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="legal"):
        talk_ratio(text)


def test_a_turn_is_timed_from_the_packet_that_left_to_the_onset():
    async def scenario():
        log, clip = TurnLog(), Cycle(0.1).clip(PCMU)
        clock, played = TurnClock(clip, log, Timers()), asyncio.get_running_loop().create_future()
        clock.start(played.set_result, 0.0)
        await played
        clock.take(SpeechStarted("u", 1_000 * MS))
        clock.take(AgentOnset(1_003 * MS, 1_060 * MS))
        # A second onset in one turn is none of ours.
        clock.take(AgentOnset(1_500 * MS, 1_560 * MS))
        clock.stop()
        return log, played.result(), clip

    log, played, clip = asyncio.run(scenario())
    assert played is clip
    told = log.as_json()
    assert (told["turns_spoken"], told["turns_timed"]) == (1, 1)
    assert told["ttfb_ms"] == {"median": 3.0, "p99": 3.0, "min": 3.0, "max": 3.0}
    assert "ttfb_ms" not in log.as_json()


def test_an_onset_before_anything_was_said_is_not_timed_and_a_lost_call_is_counted():
    log = TurnLog()
    clock = TurnClock(Cycle(0.1).clip(PCMU), log, timers=None)
    clock.take(AgentOnset(5 * MS, 60 * MS))
    clock.take(Disconnected("gone"))
    assert (log.timed, log.broken) == (0, 1)


def truth(call, turn, ended_ms, onset_ms):
    return Truth(call, turn, ended_ms * MS, onset_ms * MS, 100.0, 0.0)


def test_turns_are_held_against_the_truth_of_their_own_call_and_instant():
    truths = [truth("a", 1, 1_000, 1_500), truth("a", 2, 9_000, 9_700), truth("b", 1, 50_000, 50_300)]
    turns = [
        {"call": "a", "turn": 1, "speech_ended_at_ns": 1_000 * MS, "onset_at_ns": 1_600 * MS},
        {"call": "a", "turn": 2, "speech_ended_at_ns": 9_000 * MS, "onset_at_ns": None},
        # The same call, another instant.
        {"call": "b", "turn": 1, "speech_ended_at_ns": 2_000 * MS, "onset_at_ns": 2_300 * MS},
        {"call": "b", "turn": 2, "speech_ended_at_ns": 50_001 * MS, "onset_at_ns": 49_900 * MS},
        {"call": "c", "turn": 1, "speech_ended_at_ns": 2_000 * MS, "onset_at_ns": 2_300 * MS},
    ]
    held = hold_against(turns, truths)
    assert [(e.call_id, e.error_ms) for e in held.errors] == [("a", 100.0)]
    assert held.counts() == {"missed": 1, "early": 1, "unmatched": 2}


def test_peers_are_chosen_by_name_and_unknown_ones_refused_with_the_legal_names():
    assert bench.chosen_peers("", ["pion", "aiortc"]) == ["pion", "aiortc"]
    assert bench.chosen_peers("aiortc", ["pion", "aiortc"]) == ["aiortc"]
    with pytest.raises(BenchmarkError, match="'sipp' is unknown here; legal: pion, aiortc"):
        bench.chosen_peers("sipp", ["pion", "aiortc"])
