import numpy as np
import pytest

from harness.media.hot.onset import onset_gap
from harness.media.onset import AgentOnset, OnsetDetector, window_levels_dbfs

pytestmark = pytest.mark.unit

SILENT, QUIET_NOISE, LOUD_NOISE, VOICE = -96.0, -62.0, -42.0, -20.0
MS = 1_000_000


def run(packets, *, start_ms=0, quiet_ms=300.0, detector=None):
    """Feed packets (one level, or four window levels each), 20 ms apart; return every event with its packet index."""
    detector = detector or OnsetDetector(quiet_ms)
    events = []
    for index, levels in enumerate(packets):
        now = (start_ms + index * 20) * MS
        windows = list(levels) if isinstance(levels, (list, tuple)) else [levels] * 4
        onset = detector.add(windows, now)
        if onset:
            events.append((index, onset))
        stopped = detector.poll(now)
        if stopped:
            events.append((index, stopped))
    return events


def onsets(packets, **kwargs):
    return [e.at_ns // (20 * MS) for _i, e in run(packets, **kwargs) if isinstance(e, AgentOnset)]


SYLLABLE = [SILENT] * 20 + [
    (-35.0, -31.0, -29.0, -23.0),
    (-19.0, -14.0, -14.0, -15.0),
    (-17.0, -22.0, -33.0, -30.0),
    (-29.0, -33.0, -37.0, -42.0),
]


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        # RTP that runs during silence is no onset.
        ([SILENT] * 200, []),
        ([SILENT] * 20 + [VOICE] * 10, [20]),
        # Comfort noise from before the answer, however loud.
        ([LOUD_NOISE] * 100 + [VOICE] * 10, [100]),
        ([QUIET_NOISE] * 100 + [VOICE] * 10, [100]),
        # A call that opens in steady noise.
        ([LOUD_NOISE] * 200, []),
        # Too short to be speech: a click, 40 ms.
        ([SILENT] * 20 + [VOICE] * 2 + [SILENT] * 20, []),
        ([SILENT] * 20 + [(SILENT, VOICE, SILENT, SILENT)] + [SILENT] * 20, []),
        # Clicks far apart never add up.
        (([SILENT] * 4 + [VOICE]) * 20, []),
        # Looked back to the first packet, through a stop gap of 40 ms.
        ([SILENT] * 20 + [VOICE, SILENT, SILENT, VOICE, VOICE, VOICE], [20]),
        # The first packet holds 5 ms of speech only.
        ([SILENT] * 20 + [(SILENT, SILENT, SILENT, -30.0)] + [VOICE] * 5, [20]),
        # Pre-echo of a transform codec is not speech.
        ([SILENT] * 20 + [(SILENT, SILENT, SILENT, -45.0)] + [VOICE] * 5, [21]),
        # A syllable that fades over 80 ms and a closure of 60, as in "I think": it began with the syllable.
        (SYLLABLE + [SILENT] * 3 + [VOICE] * 5, [20]),
        # A burst of 40 ms that rings on for 30 more, 20 dB under it: none.
        (
            [SILENT] * 20 + [VOICE] * 2 + [(-40.0, -40.0, -42.0, -44.0), (-46.0, -48.0, *[-60.0] * 2)] + [SILENT] * 20,
            [],
        ),
        # A soft consonant is.
        ([SILENT] * 20 + [-38.0] * 3 + [VOICE] * 5, [20]),
    ],
)
def test_first_audible_packet(packets, expected):
    assert onsets(packets) == expected


@pytest.mark.parametrize("packets", [[-25.0, VOICE, -28.0] * 5, [VOICE] * 50])
def test_an_agent_may_open_with_speech_however_steady(packets):
    """Nothing was sent before it."""
    assert onsets(packets, start_ms=1000) == [50]


def test_what_comes_behind_a_lost_packet_makes_no_pre_echo_of_what_came_before():
    soft = (SILENT, SILENT, SILENT, -43.0)
    for is_lost, at_ns in ((False, 420 * MS), (True, 400 * MS)):
        detector = OnsetDetector(300)
        run([SILENT] * 20 + [soft], detector=detector)
        if is_lost:
            onset_gap(detector._row)
        events = run([VOICE] * 4, start_ms=420 + 20 * is_lost, detector=detector)
        assert [event.at_ns for _, event in events] == [at_ns]


def test_the_decision_comes_later_than_the_onset_it_looks_back_to():
    ((index, onset),) = run([SILENT] * 20 + [VOICE] * 4)
    assert index == 22
    assert onset.at_ns == 400 * MS
    assert onset.decided_at_ns == 440 * MS


def test_stop_is_told_once_after_quiet_and_dated_to_the_last_audible_packet():
    events = run([SILENT] * 20 + [VOICE] * 10 + [SILENT] * 40, quiet_ms=300)
    stops = [(i, e) for i, e in events if not isinstance(e, AgentOnset)]
    assert len(stops) == 1
    assert stops[0][1].at_ns == 29 * 20 * MS
    assert stops[0][0] == 29 + 15


def test_second_answer_is_a_second_onset():
    talk = [SILENT] * 20 + [VOICE] * 20 + [SILENT] * 30
    assert onsets(talk * 2) == [20, 90]


def test_dtx_pause_counts_as_silence():
    detector = OnsetDetector(300)
    run([LOUD_NOISE] * 40, detector=detector)
    detector.silence(2000)
    assert detector.gate_dbfs == -50.0
    assert onsets([VOICE] * 6, start_ms=3000, detector=detector) == [150]


def test_dtx_pause_breaks_a_candidate():
    detector = OnsetDetector(300)
    run([SILENT] * 20 + [VOICE] * 2, detector=detector)
    detector.silence(100)
    assert onsets([VOICE] * 2, start_ms=1000, detector=detector) == []


@pytest.mark.parametrize(
    ("after_loss", "expected"),
    [
        # The decoder missed a packet: the first one after it comes out too quiet, the next one tells.
        ([(-60.0, True), (VOICE, False)], 20),
        # No loss before it: what is too quiet is not audible.
        ([(-60.0, False), (VOICE, False)], 21),
        # The next packet is silent: the doubt is over.
        ([(-60.0, True), (SILENT, False), (VOICE, False)], 22),
        # Speech begins within the next packet, so the doubted one held none.
        ([(-60.0, True), ([SILENT, SILENT, VOICE, VOICE], False)], 21),
    ],
)
def test_a_packet_after_a_loss_is_held_in_doubt(after_loss, expected):
    detector = OnsetDetector(300)
    run([SILENT] * 20, detector=detector)
    found = []
    for index, (levels, is_doubtful) in enumerate([*after_loss, *[(VOICE, False)] * 6]):
        windows = levels if isinstance(levels, list) else [levels] * 4
        found.append(detector.add(windows, (20 + index) * 20 * MS, is_doubtful=is_doubtful))
    assert [o.at_ns // (20 * MS) for o in found if o] == [expected]


def test_levels_of_known_signals():
    rate = 48_000
    t = np.arange(rate // 10) / rate
    sine = (32767 * np.sin(2 * np.pi * 1000 * t)).astype(np.int16)
    levels = window_levels_dbfs(sine, rate)
    assert len(levels) == 20
    assert levels == pytest.approx([-3.01] * 20, abs=0.01)
    assert window_levels_dbfs(np.zeros(960, np.int16), rate) == [-96.0] * 4
    assert window_levels_dbfs(np.zeros(0, np.int16), rate) == []
