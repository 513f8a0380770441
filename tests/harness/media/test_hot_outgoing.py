"""What a call sends, tick by tick, in virtual time: headers, clips, marks, silence, background, DTX."""

import pytest
import reference_rtp as rtp
from hot_bench import FIRST_SEQUENCE, FIRST_TIMESTAMP, SSRC, START_NS, HotBench, clip_of
from pylibsrtp import Policy, Session

from harness.media.codecs import G722, OPUS, PCMU
from harness.media.hot.batch import flush
from harness.media.hot.layout import TICK_NS, Counter, Event
from harness.media.hot.outgoing import send_tick

pytestmark = pytest.mark.unit


def payload(packet):
    header = rtp.parse_header(packet)
    return packet[header.payload_start : header.payload_end]


def octets(packets):
    """Return the first octet of each payload, None where nothing was sent."""
    return [None if packet is None else payload(packet)[0] for packet in packets]


def tick_end(number):
    """Return when the packet of tick `number`, from 0, is told to have left."""
    return START_NS + (number + 1) * TICK_NS


def test_silence_is_sent_on_and_on_with_wrapping_sequence_and_timestamp():
    bench = HotBench()
    packets = bench.ticks(10)
    headers = [rtp.parse_header(packet) for packet in packets]
    assert [h.sequence_number for h in headers] == [(FIRST_SEQUENCE + i) & 0xFFFF for i in range(10)]
    assert [h.timestamp for h in headers] == [(FIRST_TIMESTAMP + 160 * i) & 0xFFFFFFFF for i in range(10)]
    assert {(h.ssrc, h.payload_type, h.marker) for h in headers} == {(SSRC, 0, False)}
    assert {payload(packet) for packet in packets} == {PCMU.silence}
    assert bench.told() == []


@pytest.mark.parametrize(("codec", "payload_type", "step"), [(OPUS, 111, 960), (G722, 9, 160)])
def test_timestamps_go_by_the_codecs_clock(codec, payload_type, step):
    bench = HotBench(codec=codec, payload_type=payload_type, first_timestamp=0)
    packets = bench.ticks(3)
    assert [rtp.parse_header(packet).timestamp for packet in packets] == [0, step, 2 * step]
    assert {payload(packet) for packet in packets} == {codec.silence}


def test_a_clip_is_sent_payload_by_payload_and_its_moments_are_those_of_its_voiced_packets():
    bench = HotBench()
    bench.call.play(clip_of("a", 6, first_voiced=2, last_voiced=4))
    packets = bench.ticks(8)
    assert octets(packets) == [0, 1, 2, 3, 4, 5, 0xFF, 0xFF]
    # RFC 3551 4.1: the marker begins a talkspurt.
    assert [rtp.parse_header(packet).marker for packet in packets] == [True] + [False] * 7
    assert bench.told() == [
        (Event.CLIP_STARTED, tick_end(0), 0),
        (Event.SPEECH_STARTED, tick_end(2), 0),
        (Event.SPEECH_ENDED, tick_end(4), 0),
    ]


def test_one_packet_may_be_every_moment_of_its_clip():
    bench = HotBench()
    bench.call.play(clip_of("a", 1))
    bench.tick()
    assert [kind for kind, _, _ in bench.told()] == [Event.CLIP_STARTED, Event.SPEECH_STARTED, Event.SPEECH_ENDED]


def test_a_new_clip_replaces_the_old_one_whose_end_is_then_never_told():
    bench = HotBench()
    first, second = clip_of("a", 9), clip_of("b", 2)
    bench.call.play(first)
    bench.ticks(3)
    bench.call.play(second)
    assert octets(bench.ticks(3)) == [0, 1, 0xFF]
    told = [(kind, value) for kind, _, value in bench.told()]
    assert told == [
        (Event.CLIP_STARTED, 0),
        (Event.SPEECH_STARTED, 0),
        (Event.CLIP_STARTED, 1),
        (Event.SPEECH_STARTED, 1),
        (Event.SPEECH_ENDED, 1),
    ]


def test_the_same_clip_is_entered_once_and_begins_anew_each_time():
    bench = HotBench()
    clip = clip_of("a", 3)
    for _ in range(2):
        bench.call.play(clip)
        assert octets(bench.ticks(2)) == [0, 1]
    assert {value for _, _, value in bench.told()} == {0}


def test_stop_falls_silent_at_the_next_tick():
    bench = HotBench()
    bench.call.play(clip_of("a", 9))
    bench.ticks(2)
    bench.call.stop_playing()
    assert octets(bench.ticks(3)) == [0xFF] * 3
    assert Event.SPEECH_ENDED not in [kind for kind, _, _ in bench.told()]


def test_a_clip_waits_for_its_time_and_what_is_spoken_goes_on_until_then():
    bench = HotBench()
    bench.call.play(clip_of("a", 9))
    bench.tick()
    # Between the third tick from now and the fourth.
    bench.call.play(clip_of("b", 9), bench.now_ns + 2 * TICK_NS + 1)
    assert octets(bench.ticks(5)) == [1, 2, 3, 0, 1]
    bench.call.play(clip_of("c", 9), bench.now_ns)
    assert octets(bench.ticks(2)) == [0, 1]


def test_what_was_asked_last_counts_even_before_the_time_of_what_was_asked_first():
    bench = HotBench()
    bench.call.play(clip_of("a", 9), bench.now_ns + 3 * TICK_NS)
    bench.call.stop_playing()
    assert octets(bench.ticks(6)) == [0xFF] * 6


def test_dtx_sends_nothing_in_silence_and_its_timestamps_go_on_and_its_sequence_does_not():
    bench = HotBench(dtx=True, background=clip_of("noise", 2))
    assert bench.ticks(3) == [None] * 3
    bench.call.play(clip_of("a", 2))
    packets = bench.ticks(5)
    assert octets(packets) == [0, 1, None, None, None]
    bench.call.play(clip_of("b", 1))
    headers = [rtp.parse_header(packet) for packet in [*packets[:2], bench.tick()]]
    assert [h.sequence_number for h in headers] == [FIRST_SEQUENCE + i for i in range(3)]
    assert [h.timestamp for h in headers] == [(FIRST_TIMESTAMP + 160 * i) & 0xFFFFFFFF for i in (3, 4, 8)]
    assert [h.marker for h in headers] == [True, False, True]
    # Silent ticks are ticks that were kept, too: three, three more, and none sent.
    assert int(bench.media.counters[Counter.TICKS]) == 6
    assert bench.call.stats().packets_sent == 0


def test_background_goes_round_and_goes_on_after_a_clip_where_it_was():
    bench = HotBench(background=clip_of("noise", 3))
    assert octets(bench.ticks(5)) == [0, 1, 2, 0, 1]
    bench.call.play(clip_of("a", 2))
    assert octets(bench.ticks(5)) == [0, 1, 2, 0, 1]
    kinds = [kind for kind, _, _ in bench.told()]
    assert kinds == [Event.CLIP_STARTED, Event.SPEECH_STARTED, Event.SPEECH_ENDED]


def test_send_errors_are_counted_and_the_time_line_goes_on():
    bench = HotBench()
    bench.call.play(clip_of("a", 3))
    for _ in range(2):
        send_tick(bench.media, 0, bench.now_ns, bench.now_ns)
        # There is no such descriptor: the kernel refuses.
        flush(bench.media)
        bench.now_ns += TICK_NS
    stats = bench.call.stats()
    assert (stats.send_errors, stats.packets_sent) == (2, 0)
    packet = bench.tick()
    assert rtp.parse_header(packet).sequence_number == FIRST_SEQUENCE + 2
    assert octets([packet]) == [2]
    assert Event.SPEECH_ENDED in [kind for kind, _, _ in bench.told()]


def test_the_moments_of_a_clip_are_told_where_its_packets_cannot_be_protected():
    """A call that waits for the end of its own speech must not wait for ever."""
    of_another_source = Policy(key=bytes(30), ssrc_type=Policy.SSRC_SPECIFIC, ssrc_value=SSRC + 1)
    bench = HotBench(outgoing=Session(of_another_source))
    bench.call.play(clip_of("a", 3, first_voiced=1, last_voiced=2))
    assert bench.ticks(4) == [None] * 4
    assert [kind for kind, _, _ in bench.told()] == [Event.CLIP_STARTED, Event.SPEECH_STARTED, Event.SPEECH_ENDED]
    assert bench.row.send_errors == 4
    assert bench.row.packets_sent == 0
    assert bench.media.counters[Counter.TICKS] == 4
