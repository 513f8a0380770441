"""What the caller hears of a stream, in virtual time: onset by arrival and by ear, holes, clears; the wall clock."""

import numpy as np
import pytest

from harness.calibrate.voice import voiced
from harness.callers.conversation import Conversation
from harness.callers.media_stream import format_of, stream_codec
from harness.callers.media_stream_ear import EarRows, Speech, StreamEar
from harness.callers.media_stream_speech import PreparedClips, StreamSpeech
from harness.media.clips import encode_clip
from harness.media.codecs import L16_8K, L16_16K, PCMA, PCMU
from harness.media.events import SpeechEnded, SpeechStarted
from harness.media.onset import AgentOnset
from harness.media.stamped_stream import WallClock
from harness.model.errors import LocalProtocolError
from harness.model.plan import StreamSpec, TargetSpec
from harness.protocols.media_streams.dialects import PLIVO
from harness.protocols.media_streams.playout import Playout
from harness.protocols.media_streams.wire import as_it_is, in_base64

pytestmark = pytest.mark.unit

MS = 1_000_000
QUIET_MS = 900


class Line:
    """An ear behind a playout buffer, on a clock that the test turns."""

    def __init__(self, codec=PCMU):
        self.codec, self.ear, self.playout = codec, StreamEar(codec, QUIET_MS, EarRows()), Playout()
        self.now_ms = 1000
        self.onsets, self.stops = [], []

    def arrive(self, samples, at_ms):
        payload = b"".join(encode_clip("x", samples, 0, 1, self.codec).payloads)
        size = len(samples) * (2 if self.codec in (L16_8K, L16_16K) else 1)
        at_ns = at_ms * MS
        speech = Speech(payload[:size], self.playout.dry_ns(at_ns))
        self.playout.arrive(speech, len(samples) * 1_000_000_000 // self.codec.sample_rate, at_ns)

    def until(self, at_ms, step_ms=20):
        while self.now_ms < at_ms:
            self.now_ms = min(at_ms, self.now_ms + step_ms)
            for heard in self.playout.heard(self.now_ms * MS):
                onset = self.ear.hear(heard)
                if onset is not None:
                    self.onsets.append((onset.at_ns / MS, onset.heard_at_ns / MS))
            stopped = self.ear.poll(self.now_ms * MS)
            if stopped is not None:
                self.stops.append(stopped.at_ns / MS)

    def silence(self, ms):
        return np.zeros(ms * self.codec.sample_rate // 1000, np.int16)

    def voice(self, ms):
        return voiced(ms, self.codec.sample_rate)


@pytest.mark.parametrize("codec", [PCMU, PCMA, L16_8K, L16_16K], ids=lambda c: c.name)
def test_an_onset_is_told_by_arrival_and_by_ear(codec):
    line = Line(codec)
    line.arrive(np.concatenate([line.silence(400), line.voice(500)]), 1000)
    line.until(3000)
    assert line.onsets == [(1000, 1400)]
    assert line.stops == [pytest.approx(1900, abs=20)]


def test_the_onset_is_the_message_that_began_it_whatever_came_before_in_the_buffer():
    line = Line()
    line.arrive(line.silence(300), 1000)
    line.arrive(line.voice(300), 1100)
    line.until(3000)
    assert line.onsets == [(1100, 1300)]


@pytest.mark.parametrize("size_ms", [7, 13, 20, 33])
def test_messages_may_end_within_a_window(size_ms):
    line = Line()
    samples = np.concatenate([line.silence(200), line.voice(400)])
    step = size_ms * 8
    for index, at in enumerate(range(0, len(samples), step)):
        line.arrive(samples[at : at + step], 1000 + index)
    line.until(3000)
    ((arrived, heard),) = line.onsets
    # The message that holds the first voiced sample, or the window's that ends in the next.
    assert 200 // size_ms <= arrived - 1000 <= 200 // size_ms + 1
    assert heard == pytest.approx(1200, abs=5)


def test_speech_that_is_cleared_before_it_was_heard_is_no_onset():
    line = Line()
    line.arrive(np.concatenate([line.silence(500), line.voice(500)]), 1000)
    line.until(1300)
    line.playout.clear(1300 * MS)
    line.ear.flush()
    line.until(4000)
    assert line.onsets == []


def test_a_clear_ends_what_is_heard():
    line = Line()
    line.arrive(line.voice(5000), 1000)
    line.until(1600)
    line.playout.clear(1600 * MS)
    line.ear.flush()
    line.until(4000)
    assert line.onsets == [(1000, 1000)]
    assert line.stops == [pytest.approx(1600, abs=20)]


@pytest.mark.parametrize(
    ("hole_ms", "counted"), [(10, 0), (40, 1), (500, 1), (1200, 0)], ids=["jitter", "short", "long", "a new speech"]
)
def test_a_buffer_that_ran_dry_in_the_middle_of_speech_is_an_underrun(hole_ms, counted):
    line = Line()
    line.arrive(line.voice(400), 1000)
    line.until(1400 + hole_ms)
    line.arrive(line.voice(400), 1400 + hole_ms)
    line.until(5000)
    assert line.ear.underruns == counted
    assert line.ear.underrun_ns == counted * hole_ms * MS
    assert len(line.onsets) == (2 if hole_ms > QUIET_MS else 1)


def test_a_pause_behind_a_sentence_is_no_underrun():
    line = Line()
    line.arrive(np.concatenate([line.voice(400), line.silence(200)]), 1000)
    line.until(1800)
    line.arrive(line.voice(400), 1800)
    line.until(5000)
    assert (line.ear.underruns, len(line.onsets)) == (0, 1)


# --- what the caller says ---------------------------------------------------------------------------------------------


def spoken(speech, ticks):
    return [speech.next(at) for at in range(ticks)]


def test_a_clip_is_said_packet_by_packet_between_silences_and_tells_its_edges():
    clip = encode_clip("u", np.concatenate([np.zeros(800, np.int16), voiced(60, 8000)]), 100, 160, PCMU)
    speech = StreamSpeech(PCMU, 1, PreparedClips(in_base64))
    said = spoken(speech, 2)
    speech.play(clip, 0)
    said += spoken(speech, len(clip.payloads) + 1)
    silent = in_base64(PCMU.silence)
    assert [o.payload for o in said] == [silent, silent, *map(in_base64, clip.payloads), silent]
    assert [o.timestamp_ms for o in said] == [20 * n for n in range(len(said))]
    assert [i for i, o in enumerate(said) if o.begins is clip] == [2]
    edges = {i: [edge(i) for edge in o.edges] for i, o in enumerate(said) if o.edges}
    assert edges == {
        2 + clip.first_voiced_packet: [SpeechStarted("u", 2 + clip.first_voiced_packet)],
        2 + clip.last_voiced_packet: [SpeechEnded("u", 2 + clip.last_voiced_packet)],
    }


def test_five_packets_go_into_one_message_where_the_dialect_has_it_so():
    clip = encode_clip("u", voiced(120, 8000), 0, 120, L16_8K)
    speech = StreamSpeech(L16_8K, 5, PreparedClips(as_it_is))
    speech.play(clip, 0)
    said = spoken(speech, 10)
    assert [i for i, o in enumerate(said) if o is not None] == [4, 9]
    assert said[4].payload + said[9].payload == b"".join(clip.payloads) + L16_8K.silence * 4
    assert (said[4].packets, said[4].timestamp_ms, said[9].timestamp_ms) == (5, 0, 100)
    assert [type(edge(0)) for edge in said[4].edges] == [SpeechStarted]
    assert [type(edge(0)) for edge in said[9].edges] == [SpeechEnded]


def test_a_clip_waits_for_its_time_and_can_be_stopped():
    clip = encode_clip("u", voiced(100, 8000), 0, 100, PCMU)
    speech = StreamSpeech(PCMU, 1, PreparedClips(as_it_is))
    speech.play(clip, 2)
    assert [o.payload == PCMU.silence for o in spoken(speech, 4)] == [True, True, False, False]
    speech.stop()
    assert speech.next(9).payload == PCMU.silence


# --- the clock, the formats, the turn ---------------------------------------------------------------------------------


def test_stamps_are_carried_to_the_monotonic_clock_and_steps_are_told():
    now, wall = [1_000 * MS], [5_000 * MS]
    clock = WallClock(lambda: wall[0], lambda: now[0])
    assert clock.monotonic(4_990 * MS) == 990 * MS
    # A stamp is never in the future.
    assert clock.monotonic(9_000 * MS) == 1_000 * MS
    now[0] += 300 * MS
    wall[0] += 310 * MS
    assert clock.monotonic(5_300 * MS) == 1_290 * MS
    assert clock.take_step_ns() == 10 * MS
    assert clock.take_step_ns() == 0


@pytest.mark.parametrize(
    ("dialect", "codec", "rate", "expected"),
    [
        ("twilio", "PCMU", None, PCMU),
        ("telnyx", "PCMA", None, PCMA),
        ("plivo", "L16", None, L16_8K),
        ("plivo", "L16", 16_000, L16_16K),
        ("vonage", "L16", None, L16_16K),
        ("vonage", "L16", 8_000, L16_8K),
        ("audiosocket", "L16", None, L16_8K),
    ],
)
def test_the_target_decides_the_audio(dialect, codec, rate, expected):
    target = TargetSpec("ws://h/", "media_stream", dialect, codec=codec, stream=StreamSpec(sample_rate=rate))
    assert stream_codec(target) is expected


def test_audio_that_a_dialect_has_not_is_told():
    target = TargetSpec("ws://h/", "media_stream", "plivo", codec="PCMU", stream=StreamSpec(sample_rate=16_000))
    with pytest.raises(LocalProtocolError, match="legal: PCMU at 8000 Hz, L16 at 8000 Hz, L16 at 16000 Hz"):
        format_of(target)
    assert len(PLIVO.formats) == 3


def test_a_turn_tells_both_ttfbs():
    from test_conversation import MS as CONVERSATION_MS
    from test_conversation import PLAN, SPOKEN

    talk = Conversation(PLAN, {"u1": SPOKEN, "u2": SPOKEN}, "PCMU")
    now = 1000 * CONVERSATION_MS
    talk.start(now)
    talk.expire(now + 6000 * MS)
    now = talk.deadline_ns
    talk.expire(now)
    talk.handle(SpeechStarted("u1", now), now)
    talk.handle(SpeechEnded("u1", now + 100 * MS), now + 100 * MS)
    talk.handle(AgentOnset(now + 600 * MS, now + 1200 * MS, now + 1100 * MS), now + 1200 * MS)
    record = talk._record(talk._turn)
    assert (record.ttfb_ms, record.heard_ttfb_ms) == (500, 1000)
    assert (record.onset_at_ns, record.heard_at_ns) == (now + 600 * MS, now + 1100 * MS)
