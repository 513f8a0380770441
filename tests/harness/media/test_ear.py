"""What the ear does with a payload before the detector: order, loss, pauses, comfort noise; which Opus it decodes."""

import numpy as np
import pytest
from agent_lab import PACKET_NS, RATE, SILENCE_FRAME, START_NS, Encoder, Line, Listener, hear

from harness.calibrate.voice import voiced
from harness.media.clips import encode_clip
from harness.media.codecs import G722, PCMA, PCMU
from harness.media.hot.ear import ear_await
from harness.media.hot.onset import gate_dbfs

pytestmark = pytest.mark.unit

QUIET = [SILENCE_FRAME] * 60
# Fresh from an encoder that starts with it: 25 packets, the last one with the tail.
SPEECH = Encoder().encode(voiced(490, RATE))


def test_opus_onset_and_stop():
    heard = hear(Line(QUIET + SPEECH + QUIET))
    assert (heard.onsets, heard.stops) == ([60.0], [60.0 + len(SPEECH) - 1])


def test_a_second_answer_is_a_second_onset():
    answer = QUIET + SPEECH
    assert hear(Line(answer * 2 + QUIET)).onsets == [60.0, 120.0 + len(SPEECH)]


def test_silence_is_not_decoded_and_long_speech_seldom():
    silent = hear(Line(QUIET * 5))
    assert (silent.decoded, silent.skipped) == (0, 0)
    talking = hear(Line(QUIET + Encoder("lowdelay").encode(voiced(4000, RATE)) + QUIET))
    assert talking.onsets == [60.0]
    assert talking.stops == [260.0 - 1]
    assert talking.decoded < 0.4 * (talking.decoded + talking.skipped)


def test_the_end_is_found_among_kept_packets_when_nothing_follows_them():
    for length_ms in (500, 520, 540, 560):
        payloads = Encoder("lowdelay").encode(voiced(length_ms - 4, RATE))
        heard = hear(Line(QUIET + payloads + [None] * 40))
        assert heard.stops == [60.0 + len(payloads) - 1]


@pytest.mark.parametrize("quiet_packets", [1, 2, 5, 50])
@pytest.mark.parametrize("application", ["voip", "lowdelay"])
def test_speech_behind_skipped_silence_is_decoded_at_its_level(application, quiet_packets):
    encoder = Encoder(application)
    loud = encoder.encode(voiced(400, RATE))
    silence = encoder.encode(np.zeros(quiet_packets * 960, np.int16))
    # The encoder sends what it likes in silence; the ear is given silence frames in their place, as after DTX.
    again = encoder.encode(voiced(400, RATE))
    listener = Listener()
    levels = []
    for tick, payload in enumerate([*loud, *[SILENCE_FRAME] * len(silence), *again]):
        listener.row.is_speaking = 0
        listener.packet(payload, tick, tick * 960, START_NS + tick * PACKET_NS)
        levels.append(max(listener.scratch.levels[:4]))
    assert levels[len(loud) + len(silence)] == pytest.approx(levels[1], abs=20)
    assert levels[len(loud) + len(silence)] > -45


def test_packets_that_come_late_are_left_out():
    listener = Listener()
    for tick in range(40):
        listener.packet(SILENCE_FRAME, tick, tick * 960, START_NS + tick * PACKET_NS)
    learnt = listener.row.learnt
    for late in (10, 39):
        assert listener.packet(SPEECH[3], late, late * 960, START_NS + 40 * PACKET_NS) == 0
    assert listener.row.learnt == learnt
    assert listener.row.decoded == 0


def test_a_source_that_begins_again_is_heard():
    listener = Listener()
    found = []
    for tick, payload in enumerate(QUIET + SPEECH):
        # The numbers of a new source, far below those of the old one.
        extended = 70_000 + tick if tick < 30 else 5 + tick
        at_ns = START_NS + tick * PACKET_NS
        found.append(listener.packet(payload, extended, extended * 960, at_ns))
    assert [at for at in found if at] == [START_NS + 60 * PACKET_NS]


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ([60], 61.0),
        # The onset may have been any of the lost ones: their middle.
        ([60, 61], 61.0),
        ([60, 61, 62], 62.0),
        ([59], 60.0),
        ([58, 59], 59.0),
        ([57, 58, 59], 59.0),
    ],
)
def test_where_the_onset_itself_was_lost(lost, expected):
    answer = Encoder("lowdelay").encode(voiced(490, RATE))
    assert hear(Line(QUIET + answer), lost=set(lost)).onsets == [expected]


def test_a_pause_in_the_timestamps_is_silence():
    listener = Listener()
    noise = Encoder("audio").encode((np.random.default_rng(1).standard_normal(RATE) * 300).astype(np.int16))
    for tick, payload in enumerate(noise):
        listener.packet(payload, tick, tick * 960, START_NS + tick * PACKET_NS)
    assert gate_dbfs(listener.row) > -40
    listener.packet(SILENCE_FRAME, len(noise), 200 * 960, START_NS + 200 * PACKET_NS)
    assert gate_dbfs(listener.row) == -50


@pytest.mark.parametrize("codec", [PCMU, PCMA, G722])
def test_telephone_codecs(codec):
    rate = codec.sample_rate
    body = np.concatenate([np.zeros(rate, np.int16), voiced(490, rate), np.zeros(rate, np.int16)])
    clip = encode_clip("answer", body, 1000, 1490, codec=codec)
    heard = hear(Line(list(clip.payloads)), codec=codec.index, ticks_per_ms=8)
    assert heard.onsets == [clip.first_voiced_packet]
    assert heard.stops == [pytest.approx(clip.last_voiced_packet, abs=1)]
    lost = {clip.first_voiced_packet, clip.first_voiced_packet + 1}
    after_loss = hear(Line(list(clip.payloads)), lost=lost, codec=codec.index, ticks_per_ms=8)
    assert after_loss.onsets == [clip.first_voiced_packet + 1]


@pytest.mark.parametrize("packet_bytes", [17, 80, 160, 240, 480])
def test_any_packet_length(packet_bytes):
    body = np.concatenate([np.zeros(8000, np.int16), voiced(490, 8000), np.zeros(8000, np.int16)])
    stream = b"".join(encode_clip("answer", body, 1000, 1490, codec=PCMU).payloads)
    listener = Listener(PCMU.index)
    onsets, stops = [], []
    for index, at in enumerate(range(0, len(stream) - packet_bytes, packet_bytes)):
        now_ns = START_NS + at * 125_000
        onsets.append(listener.packet(stream[at : at + packet_bytes], index, at, now_ns))
        stops.append(listener.poll(now_ns))
    found = [at for at in onsets if at] + [at for at in stops if at]
    assert [(at - START_NS) / 1e6 for at in found] == [
        pytest.approx(1000, abs=max(5, packet_bytes / 8)),
        pytest.approx(1490, abs=max(5, packet_bytes / 8)),
    ]


def test_opus_of_10_and_60_ms_and_of_2_5():
    pcm = np.concatenate([np.zeros(RATE + 480, np.int16), voiced(480, RATE), np.zeros(RATE, np.int16)])
    for packet_ms in (2.5, 10, 40, 60):
        encoder = Encoder("lowdelay" if packet_ms < 10 else "audio", packet_ms=packet_ms, bitrate=64_000)
        listener = Listener()
        found = []
        for index, payload in enumerate(encoder.encode(pcm)):
            now_ns = START_NS + int(index * packet_ms * 1e6)
            found.append(listener.packet(payload, index, int(index * packet_ms * 48), now_ns))
        assert [(at - START_NS) / 1e6 for at in found if at] == [pytest.approx(1010, abs=max(packet_ms, 10))]


def test_comfort_noise_packets_are_silence_of_their_level():
    listener = Listener(PCMU.index)
    for tick in range(0, 400, 10):
        at_ns = START_NS + tick * PACKET_NS
        assert listener.packet(bytes([45, 3, 7]), tick // 10, tick * 160, at_ns, is_noise=True) == 0
    assert gate_dbfs(listener.row) == -35
    assert listener.poll(START_NS + 400 * PACKET_NS) == 0
    clip = encode_clip("answer", voiced(300, 8000), 0, 300, codec=PCMU)
    found = []
    for index, payload in enumerate(clip.payloads):
        at_ns = START_NS + (400 + index) * PACKET_NS
        found.append(listener.packet(payload, 40 + index, (400 + index) * 160, at_ns))
    assert [at for at in found if at] == [START_NS + 400 * PACKET_NS]


def test_malformed_payloads_change_nothing():
    listener = Listener()
    rng = np.random.default_rng(4)
    for tick, payload in enumerate([*QUIET, b"", b"\xff", b"\x03", b"\xff\x3f" + b"\xff" * 30, *QUIET]):
        assert listener.packet(payload, tick, tick * 960, START_NS + tick * PACKET_NS) == 0
    for tick in range(200, 600):
        payload = rng.bytes(int(rng.integers(0, 300)))
        listener.packet(payload, tick, tick * 960, START_NS + tick * PACKET_NS)
        listener.poll(START_NS + tick * PACKET_NS)
    assert listener.row.undecodable > 0


def test_nothing_is_an_onset_until_an_answer_is_awaited():
    rng = np.random.default_rng(2)
    noise = Encoder("audio").encode((rng.standard_normal(4 * RATE) * 400).astype(np.int16))
    listener = Listener()
    ear_await(listener.row, 0)
    ticks = iter(range(10_000))

    def play(payloads):
        found = []
        for payload in payloads:
            tick = next(ticks)
            found.append(listener.packet(payload, tick, tick * 960, START_NS + tick * PACKET_NS))
        return [at for at in found if at]

    assert play(QUIET + SPEECH + QUIET) == []
    before = listener.row.decoded
    assert play(noise) == []
    assert listener.row.decoded - before <= len(noise) / 8 + 4
    # The background was learnt on the way: it is no onset now.
    ear_await(listener.row, 1)
    assert play(noise[:50]) == []
    assert len(play(SPEECH)) == 1


@pytest.mark.parametrize("lost", [set(), {61, 62}])
def test_by_size(lost):
    packets = [SILENCE_FRAME] * 60 + [b"\x78" + bytes(40)] * 30 + [SILENCE_FRAME] * 30
    # Two packets are no speech.
    packets[20] = packets[21] = b"\x78" + bytes(40)
    heard = hear(Line(packets), lost=lost, by_size=True)
    assert (heard.onsets, heard.stops, heard.decoded) == ([60.0], [89.0], 0)
