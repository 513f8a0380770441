import numpy as np
import pytest

from harness.media.codecs import CODECS, OPUS, PCMU
from harness.media.opus import PACKET_SAMPLES
from target_stack.edge.caller_audio import HELD_PACKETS, CallerAudio
from target_stack.edge.speech_encoder import SpeechEncoder
from target_stack.frames import INPUT_RATE, SPEECH_RATE

pytestmark = pytest.mark.unit

PACKET_16K = INPUT_RATE // 50
COUNT = 50


def _payloads(count=COUNT):
    encoder = SpeechEncoder()
    tone = (8000 * np.sin(2 * np.pi * 400 * np.arange(count * SPEECH_RATE // 50) / SPEECH_RATE)).astype(np.int16)
    return [encoder.encode(part) for part in tone.reshape(count, -1)]


def _packets(first_sequence=65_530, first_timestamp=2**32 - 5000, count=COUNT):
    """Numbers that wrap on the way."""
    return [
        ((first_sequence + i) & 0xFFFF, (first_timestamp + i * PACKET_SAMPLES) & 0xFFFFFFFF, payload)
        for i, payload in enumerate(_payloads(count))
    ]


def _heard(audio, packets):
    return [audio.take(*packet) for packet in packets]


def test_packets_in_order_come_out_at_once_as_16_khz_mono():
    audio = CallerAudio()
    parts = _heard(audio, _packets())
    assert {part.dtype for part in parts} == {np.dtype(np.int16)}
    # The resampler keeps its filter's half length of the first packet.
    assert [len(p) for p in parts[1:]] == [PACKET_16K] * (COUNT - 1)
    whole = np.concatenate(parts)
    spectrum = np.abs(np.fft.rfft(whole.astype(float)))
    assert np.argmax(spectrum) * INPUT_RATE / len(whole) == pytest.approx(400, abs=2)
    assert 5000 < np.abs(whole[2000:]).max() < 10_000
    assert (audio.lost, audio.late) == (0, 0)


def test_swapped_packets_are_put_in_order():
    packets = _packets()
    straight = np.concatenate(_heard(CallerAudio(), packets))
    packets[10], packets[11] = packets[11], packets[10]
    audio = CallerAudio()
    parts = _heard(audio, packets)
    assert np.array_equal(np.concatenate(parts), straight)
    assert len(parts[10]) == 0
    assert (audio.lost, audio.late) == (0, 0)


def test_a_lost_packet_becomes_silence_of_its_length_and_delays_nothing_after():
    audio, packets = CallerAudio(), _packets()
    parts = _heard(audio, packets[:20] + packets[22:])
    assert [len(p) for p in parts[20 : 20 + HELD_PACKETS]] == [0] * HELD_PACKETS
    released = parts[20 + HELD_PACKETS]
    assert len(released) == (2 + HELD_PACKETS + 1) * PACKET_16K
    assert not released[: 2 * PACKET_16K].any()
    assert [len(p) for p in parts[21 + HELD_PACKETS :]] == [PACKET_16K] * (len(parts) - 21 - HELD_PACKETS)
    assert sum(map(len, parts)) == sum(map(len, _heard(CallerAudio(), packets)))
    assert audio.lost == 2


def test_what_comes_after_it_was_given_up_or_twice_is_dropped():
    audio, packets = CallerAudio(), _packets()
    _heard(audio, packets[:10] + packets[11:20])
    assert len(audio.take(*packets[10])) == 0
    assert len(audio.take(*packets[15])) == 0
    assert (audio.lost, audio.late) == (1, 2)
    assert len(audio.take(*packets[20])) == PACKET_16K


def test_a_pause_in_the_stream_adds_no_samples():
    audio, packets = CallerAudio(), _packets()
    after = [(s, (t + 48_000) & 0xFFFFFFFF, p) for s, t, p in packets[10:]]
    parts = _heard(audio, packets[:10] + after)
    assert [len(p) for p in parts[1:]] == [PACKET_16K] * (COUNT - 1)


def test_a_new_stream_begins_where_it_says():
    audio = CallerAudio()
    _heard(audio, _packets())
    parts = _heard(audio, _packets(first_sequence=20_000, first_timestamp=7))
    assert [len(p) for p in parts] == [PACKET_16K] * COUNT
    assert (audio.lost, audio.late) == (0, 0)


@pytest.mark.parametrize("payload", [b"", b"\xff\xff\xff", b"\x03"])
def test_a_payload_that_is_no_opus_does_not_stop_the_stream(payload):
    audio, packets = CallerAudio(), _packets()
    sequence, timestamp, _ = packets[10]
    packets[10] = (sequence, timestamp, payload)
    parts = _heard(audio, packets)
    assert [len(p) for p in parts[11:]] == [PACKET_16K] * (COUNT - 11)


def _at(codec, first_sequence=65_530, count=COUNT):
    """A tone in `codec`, through the agent's own encoder, with numbers that wrap."""
    encoder = SpeechEncoder(codec)
    tone = (8000 * np.sin(2 * np.pi * 400 * np.arange(count * SPEECH_RATE // 50) / SPEECH_RATE)).astype(np.int16)
    payloads = [encoder.encode(part) for part in tone.reshape(count, -1)]
    return [
        ((first_sequence + i) & 0xFFFF, (2**32 - 5000 + i * codec.ticks_per_packet) & 0xFFFFFFFF, payload)
        for i, payload in enumerate(payloads)
    ]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_every_codec_goes_round(codec):
    packets = _at(codec)
    whole = np.concatenate(_heard(CallerAudio(codec), packets))
    assert COUNT * PACKET_16K - PACKET_16K // 5 <= len(whole) <= COUNT * PACKET_16K
    spectrum = np.abs(np.fft.rfft(whole.astype(float)))
    assert np.argmax(spectrum) * INPUT_RATE / len(whole) == pytest.approx(400, abs=2)
    assert 7000 < np.abs(whole[2000:-500]).max() < 10_000
    # A hole is as long as it was, whatever the clock that counts it.
    lossy = CallerAudio(codec)
    parts = _heard(lossy, packets[:20] + packets[22:])
    assert sum(map(len, parts)) == len(whole)
    assert lossy.lost == 2


@pytest.mark.parametrize("codec", [c for c in CODECS if c is not OPUS], ids=lambda codec: codec.name)
def test_speech_of_other_codecs_has_a_packets_size_each_time_and_fades_into_its_silence(codec):
    payloads = [payload for _, _, payload in _at(codec)]
    assert {len(payload) for payload in payloads} == {len(codec.silence)}
    encoder = SpeechEncoder(codec)
    assert encoder.encode(None) == codec.silence
    encoder.encode(np.full(SPEECH_RATE // 50, 9000, np.int16))
    tail = [encoder.encode(None) for _ in range(6)]
    assert tail[0] != codec.silence
    assert tail[-1] == codec.silence


def test_packets_without_audio_leave_no_hole():
    audio, packets = CallerAudio(PCMU), _at(PCMU)
    sequence, timestamp, _ = packets[10]
    packets[10] = (sequence, timestamp, b"")
    parts = _heard(audio, packets)
    assert [len(p) for p in parts[9:12]] == [PACKET_16K, 0, PACKET_16K]
    assert audio.lost == 0
