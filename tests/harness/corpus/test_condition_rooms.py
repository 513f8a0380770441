"""Rooms ring as long as they say, and leave the edges of speech alone."""

import sys

import numpy as np
import pytest
from condition_signals import RATE, burst, lag_ms, speech

from harness.corpus.conditions.chain import apply, output_samples
from harness.corpus.conditions.room_spec import BUILT_IN_ROOMS, RoomSpec
from harness.corpus.conditions.rooms import impulse_response
from harness.corpus.conditions.specs import ConditionLibrary, ConditionSpec
from harness.corpus.levels import active_speech_level, as_float, rms_dbfs
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit


def schroeder_rt60(response, from_db=-5.0, to_db=-35.0):
    """ISO 3382 T30: the line through the backward-integrated decay from -5 to -35 dB, drawn on to -60."""
    decay = np.cumsum(response[::-1] ** 2)[::-1]
    decay_db = 10 * np.log10(decay / decay[0] + 1e-20)
    part = np.flatnonzero((decay_db <= from_db) & (decay_db >= to_db))
    slope, _ = np.polyfit(part / RATE, decay_db[part], 1)
    return -60 / slope


def octaves(response, low_hz, high_hz):
    hz = np.fft.rfftfreq(2 * len(response), 1 / RATE)
    gain = 1 / (1 + (low_hz / np.maximum(hz, 1)) ** 12) / (1 + (hz / high_hz) ** 12)
    return np.fft.irfft(np.fft.rfft(response, 2 * len(response)) * gain)[: len(response)]


@pytest.mark.parametrize("name", BUILT_IN_ROOMS)
def test_a_room_rings_as_long_as_it_says(name):
    room = BUILT_IN_ROOMS[name]
    response, direct = impulse_response(room)
    tail = response[direct:]
    assert schroeder_rt60(octaves(tail, 355, 1414)) == pytest.approx(room.rt60_s, rel=0.1)
    # Whatever the band and whatever the stretch of the decay.
    assert schroeder_rt60(tail) == pytest.approx(room.rt60_s, rel=0.2)
    assert schroeder_rt60(octaves(tail, 355, 1414), -5, -25) == pytest.approx(room.rt60_s, rel=0.2)
    # The direct sound comes first, alone, and where the distance puts it.
    assert np.max(np.abs(response[: direct - 40])) < 0.01 * np.abs(response[direct])
    assert direct == pytest.approx(room.distance_m / 343 * RATE + 40, abs=1)


@pytest.mark.parametrize("name", BUILT_IN_ROOMS)
def test_speech_in_a_room_stays_in_its_place_and_at_its_level(name):
    wet = apply(ConditionSpec(room=name), speech())
    assert abs(lag_ms(wet[: len(speech())], speech())) < 0.1
    assert active_speech_level(wet, RATE).active_dbfs == pytest.approx(
        active_speech_level(speech(), RATE).active_dbfs, abs=0.3
    )
    tone = apply(ConditionSpec(room=name), burst(500, 1500, 2000))
    loud = np.flatnonzero(np.abs(tone.astype(int)) > 600)
    assert loud[0] * 1000 / RATE == pytest.approx(500, abs=2)


@pytest.mark.parametrize("name", BUILT_IN_ROOMS)
def test_a_room_rings_on_after_speech_and_dies_away_within_the_clip(name):
    room = BUILT_IN_ROOMS[name]
    dry = burst(500, 1500, 1700)
    wet = apply(ConditionSpec(room=name), dry)
    assert len(wet) == output_samples(ConditionSpec(room=name), len(dry))
    assert len(wet) % 960 == 0
    assert len(wet) / RATE == pytest.approx(1.7 + room.rt60_s / 2, abs=0.02)

    def level_at(ms):
        return rms_dbfs(wet[(ms - 40) * 48 : (ms + 40) * 48])

    # From 100 ms after the end on it falls by 60 dB in an RT60.
    fall = level_at(1600) - level_at(1600 + round(room.rt60_s * 300))
    assert fall == pytest.approx(18, abs=6)
    assert abs(int(wet[-1])) < 2


def test_a_far_talker_is_more_of_the_room_than_a_near_one():
    def direct_share(distance_m):
        response, direct = impulse_response(RoomSpec(size_m=(4.6, 3.7, 2.7), rt60_s=0.35, distance_m=distance_m))
        near = response[direct - 40 : direct + 120]
        return np.sum(near**2) / np.sum(response**2)

    assert direct_share(0.4) > direct_share(0.8) > direct_share(1.6)


def test_a_room_is_the_same_each_time():
    office = BUILT_IN_ROOMS["office"]
    # Past the cache.
    assert np.array_equal(impulse_response(office)[0], impulse_response.__wrapped__(office)[0])
    assert np.array_equal(apply(ConditionSpec(room="office"), speech()), apply(ConditionSpec(room="office"), speech()))


def test_a_recipe_s_own_room_is_used():
    library = ConditionLibrary(rooms={"kitchen": RoomSpec(size_m=(3.4, 2.9, 2.5), rt60_s=0.3, distance_m=0.6)})
    wet = apply(ConditionSpec(room="kitchen"), speech(), None, library)
    assert len(wet) > len(speech())
    assert not np.array_equal(wet[: len(speech())], as_float(speech()))


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    library = ConditionLibrary(rooms={"unheard": RoomSpec(size_m=(5, 4, 3), rt60_s=0.41, distance_m=1)})
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(ScenarioError, match=r"pip install -e '\.\[corpus\]'"):
        apply(ConditionSpec(room="unheard"), speech(), None, library)
