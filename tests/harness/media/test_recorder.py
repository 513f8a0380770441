"""What a recording holds: both sides at the distances that were measured, and what the call was told of them."""

import tracemalloc

import numpy as np
import pytest

from harness.analyze.recording import read_recording
from harness.media.call_log import CallLog, HeardPacket, SpokenClip
from harness.media.clips import encode_clip
from harness.media.codecs import OPUS, PCMU
from harness.media.events import SpeechEnded, SpeechStarted
from harness.media.onset import AgentOnset, AgentStopped
from harness.media.payload_encoder import PayloadEncoder
from harness.media.recorder import Recorder
from harness.media.talkspurts import Talkspurt, placed

pytestmark = pytest.mark.unit

MS = 1_000_000
BEGAN_NS = 5_000 * MS


def tone(length_ms, rate, hertz=400):
    at = np.arange(length_ms * rate // 1000) / rate
    return (8000 * np.sin(2 * np.pi * hertz * at)).astype(np.int16)


def test_a_late_talkspurt_lies_where_it_came_and_silence_where_it_did():
    # 20 ms packets at 1 kHz; those of the answer, from 400 on, are 60 ms late.
    at = np.arange(0, 1000, 20)
    arrived = at + np.where((at >= 400) & (at < 800), 60, 0)
    moved = placed(at, arrived, [Talkspurt(460, 820)], 1000)
    late = moved - at
    assert set(late[(at >= 300) & (at < 880)]) == {60}
    assert set(late[(at < 300) | (at >= 920)]) == {0}


def test_an_onset_that_is_no_packets_moves_nothing():
    at = np.arange(0, 400, 20)
    assert (placed(at, at + 5, [Talkspurt(900, None)], 1000) == at).all()


@pytest.mark.parametrize("codec", [OPUS, PCMU])
def test_sound_lies_in_the_file_at_its_distance_in_the_call(codec, tmp_path):
    rate = codec.sample_rate
    clip = encode_clip("said", np.concatenate([tone(500, rate), np.zeros(rate // 5, np.int16)]), 0, 500, codec)
    answer = encode_clip("answer", np.concatenate([np.zeros(rate // 50, np.int16), tone(400, rate)]), 20, 420, codec)
    recorder = Recorder(BEGAN_NS, codec)
    said_ns = BEGAN_NS + 1_000 * MS
    recorder.clip_started(clip, said_ns)
    recorder.told(SpeechStarted("said", said_ns))
    recorder.told(SpeechEnded("said", said_ns + clip.last_voiced_packet * 20 * MS + 3 * MS))
    # Silence as time goes by, an answer that its sender was 45 ms late with.
    sent = [codec.silence] * 100 + list(answer.payloads)
    onset_ns = 0
    for i, payload in enumerate(sent):
        arrived_ns = BEGAN_NS + i * 20 * MS + (45 * MS if i >= 100 else 0)
        recorder.agent_payload(payload, i * codec.ticks_per_packet, arrived_ns)
        if i == 100 + answer.first_voiced_packet:
            onset_ns = arrived_ns
    recorder.told(AgentOnset(onset_ns, onset_ns + 60 * MS))
    recorder.told(AgentStopped(arrived_ns))
    recorder.write(tmp_path / "call.flac")
    call = read_recording([tmp_path / "call.flac"])
    loud = [np.flatnonzero(np.abs(side.astype(int)) > 2000) * 1000 / call.rate for side in (call.caller, call.agent)]
    delay_ms = codec.delay * 1000 / codec.sample_rate
    assert loud[0][-1] == pytest.approx(1500 + delay_ms, abs=3)
    assert loud[1][0] == pytest.approx(2000 + 20 + delay_ms + 45, abs=3)
    assert call.log.onsets == (pytest.approx((onset_ns - BEGAN_NS) / MS, abs=0.01),)
    (spoken,) = call.log.clips
    assert spoken.speech_end_ms == pytest.approx(1003 + clip.last_voiced_packet * 20, abs=0.01)


@pytest.mark.parametrize("codec", [OPUS, PCMU])
def test_what_was_sent_back_lies_where_it_left_and_is_kept_as_small_as_it_was_sent(codec, tmp_path):
    encoder, size = PayloadEncoder(codec), codec.packet_samples
    sound = tone(60_000, codec.sample_rate)
    recorder = Recorder(BEGAN_NS, codec)
    tracemalloc.start()
    for n, at in enumerate(range(0, len(sound), size)):
        recorder.echoed(encoder.encode(sound[at : at + size]), codec, BEGAN_NS + (2_000 + 20 * n) * MS)
    kept, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A minute; its samples are 5.8 MB over Opus, and 1 MB by G.711.
    assert kept < (1_500_000 if codec is OPUS else 1_200_000)
    recorder.write(tmp_path / "call.flac")
    call = read_recording([tmp_path / "call.flac"])
    caller, rate = call.caller.astype(float), call.rate
    assert not np.any(caller[: 2 * rate - rate // 100])
    assert np.sqrt(np.mean(caller[2 * rate + rate // 20 :] ** 2)) == pytest.approx(8000 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("codec", [OPUS, PCMU])
@pytest.mark.parametrize(("cuts_ms", "until_ms"), [([], 1500), ([1700], 1500), ([900, 1200], 1200)])
def test_of_an_utterance_that_is_cut_off_only_what_left_is_in_the_file(codec, cuts_ms, until_ms, tmp_path):
    clip = encode_clip("one", tone(500, codec.sample_rate), 0, 500, codec)
    recorder = Recorder(BEGAN_NS, codec)
    recorder.clip_started(clip, BEGAN_NS + 1_000 * MS)
    for at in cuts_ms:
        recorder.cut(BEGAN_NS + at * MS)
    recorder.clip_started(clip, BEGAN_NS + 2_000 * MS)
    recorder.write(tmp_path / "call.flac")
    call = read_recording([tmp_path / "call.flac"])
    loud = np.flatnonzero(np.abs(call.caller.astype(int)) > 1000) * 1000 / call.rate
    delay_ms = codec.delay * 1000 / codec.sample_rate
    # A decoder hears what left before the cut: of an utterance that is not cut off also what the codec held back.
    assert loud[loud < 1900][-1] == pytest.approx(until_ms + (0 if until_ms == 1200 else delay_ms), abs=3)
    assert loud[-1] == pytest.approx(2500 + delay_ms, abs=3)


def test_an_utterance_that_was_cut_off_is_not_in_the_log_as_said():
    recorder = Recorder(BEGAN_NS, PCMU)
    clips = [encode_clip(name, tone(500, 8000), 0, 500, PCMU) for name in ("one", "two")]
    recorder.clip_started(clips[0], BEGAN_NS)
    recorder.told(SpeechStarted("one", BEGAN_NS))
    recorder.clip_started(clips[1], BEGAN_NS + 200 * MS)
    recorder.told(SpeechStarted("two", BEGAN_NS + 200 * MS))
    recorder.told(SpeechEnded("two", BEGAN_NS + 680 * MS))
    assert [clip.utterance_id for clip in recorder._log([]).clips] == ["two"]


def test_the_log_is_read_as_it_was_written_and_older_ones_without_what_the_ear_told():
    log = CallLog((SpokenClip("a", 0, 20, 480),), (HeardPacket(0, 3.5, 20), HeardPacket(20, 21, 20)), (3.5,), (21.0,))
    assert CallLog.from_comment(log.to_comment()) == log
    older = CallLog(log.clips, log.packets)
    text = older.to_comment()
    assert CallLog.from_comment(text) == older
    assert CallLog.from_comment("none of ours") is None
