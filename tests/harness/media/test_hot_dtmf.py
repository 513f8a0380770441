"""Digits and holds tick by tick, in virtual time: held against the plain reading of RFC 4733 in protocols/dtmf.py."""

import numpy as np
import pytest
import reference_rtp as rtp
from hot_bench import FIRST_SEQUENCE, FIRST_TIMESTAMP, START_NS, HotBench, clip_of

from harness.media import events
from harness.media.codecs import OPUS, PCMU
from harness.media.hot.g711 import ULAW
from harness.media.hot.incoming import take_media
from harness.media.hot.jit import address_of
from harness.media.hot.layout import RTP_HEADER_BYTES, TICK_NS, Event
from harness.media.impairment import Impairment
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.model.errors import LocalProtocolError
from harness.protocols import dtmf, sdes
from harness.protocols.dtmf import EventPacket

pytestmark = pytest.mark.unit

TYPE = 101


def bench_of(**said):
    return HotBench(**{"events_out": TYPE, "events_in": TYPE, **said})


def read(packet):
    """Return (header, telephone event or None) of a packet."""
    header = rtp.parse_header(packet)
    payload = packet[header.payload_start : header.payload_end]
    return header, dtmf.unpack(payload) if header.payload_type == TYPE else None


# --- sending -------------------------------------------------------------------------------------------------------


def test_a_digit_takes_the_place_of_the_audio():
    """RFC 4733 2.5.1: marker first, one timestamp, a duration that grows, the end three times, then silence."""
    bench = bench_of()
    bench.ticks(2)
    bench.call.send_dtmf("5", duration_ms=90, pause_ms=100)
    told = [read(packet) for packet in bench.ticks(12)]
    spoken = [event for _, event in told if event is not None]
    assert (
        spoken
        == [EventPacket(5, 160), EventPacket(5, 320), EventPacket(5, 480), EventPacket(5, 640)]
        + [EventPacket(5, 720, is_end=True)] * 3
    )
    first = (FIRST_TIMESTAMP + 2 * 160) & 0xFFFFFFFF
    # The time of the audio goes on beneath: after the digit it is where it would have been.
    stamps = [first] * 7 + [(first + 160 * i) & 0xFFFFFFFF for i in range(7, 12)]
    assert [header.timestamp for header, _ in told] == stamps
    assert [header.marker for header, _ in told] == [True] + [False] * 11
    assert [header.sequence_number for header, _ in told] == [(FIRST_SEQUENCE + 2 + i) & 0xFFFF for i in range(12)]
    # Told when the first of the three had left.
    assert bench.told() == [(Event.DIGIT_SENT, START_NS + 7 * TICK_NS, 5)]


def test_digits_follow_one_another_at_their_pace():
    bench = bench_of()
    bench.call.send_dtmf("1#", duration_ms=40, pause_ms=60)
    bench.call.send_dtmf("D", duration_ms=60, pause_ms=40)
    told = [read(packet)[1] for packet in bench.ticks(17)]
    codes = [None if event is None else event.code for event in told]
    # 40 ms and a pause of 60: two packets of the digit, two more of its end, one of silence.
    assert codes == [1] * 4 + [None] + [11] * 4 + [None] + [15] * 5 + [None] * 2
    assert [value for _, _, value in bench.told()] == [1, 11, 15]


def test_the_clock_of_the_digit_is_the_codecs():
    bench = bench_of(codec=OPUS, payload_type=111, first_timestamp=0)
    bench.call.send_dtmf("0", duration_ms=40)
    told = [read(packet) for packet in bench.ticks(5)]
    assert [event.duration for _, event in told[:4]] == [960, 1920, 1920, 1920]
    assert [header.timestamp for header, _ in told] == [0, 0, 0, 0, 4 * 960]


def test_what_is_spoken_waits_for_the_digits_and_is_told_in_its_time():
    bench = bench_of()
    bench.call.play(clip_of("a", 4, first_voiced=1, last_voiced=3))
    bench.ticks(2)
    bench.call.send_dtmf("7", duration_ms=40, pause_ms=40)
    packets = bench.ticks(8)
    assert [read(packet)[1] is None for packet in packets] == [False] * 4 + [True] * 4
    assert [packet[RTP_HEADER_BYTES] for packet in packets[4:]] == [2, 3, 0xFF, 0xFF]
    assert [kind for kind, _, _ in bench.told()] == [
        Event.CLIP_STARTED, Event.SPEECH_STARTED, Event.DIGIT_SENT, Event.SPEECH_ENDED,
    ]  # fmt: skip


def test_what_is_asked_to_be_spoken_meanwhile_begins_behind_the_digits():
    bench = bench_of()
    bench.call.send_dtmf("7", duration_ms=40, pause_ms=40)
    bench.tick()
    bench.call.play(clip_of("a", 2), bench.now_ns + 6 * TICK_NS)
    packets = bench.ticks(10)
    assert [packet[RTP_HEADER_BYTES] for packet in packets[3:]] == [0xFF] * 3 + [0, 1] + [0xFF] * 2
    bench.call.play(clip_of("b", 9))
    bench.call.send_dtmf("7", duration_ms=40, pause_ms=40)
    bench.call.stop_playing()
    assert bench.ticks(6)[-1][RTP_HEADER_BYTES] == 0xFF


def test_in_dtx_the_pause_is_nothing_and_a_talkspurt_follows():
    bench = bench_of(dtx=True)
    bench.call.send_dtmf("2", duration_ms=40, pause_ms=80)
    assert [packet is None for packet in bench.ticks(8)] == [False] * 4 + [True] * 4
    bench.call.play(clip_of("a", 1))
    assert rtp.parse_header(bench.tick()).marker


def test_digits_are_protected_like_audio():
    crypto = sdes.Crypto(1, sdes.AES_GCM_128, bytes(range(28)))
    bench = bench_of(outgoing=outgoing_session(crypto))
    bench.call.send_dtmf("9", duration_ms=40)
    session = incoming_session(crypto)
    opened = [read(session.unprotect(packet))[1] for packet in bench.ticks(4)]
    assert [event.code for event in opened] == [9] * 4


def test_digits_go_through_the_emulated_network():
    bench = bench_of(impair_outgoing=Impairment(loss_ratio=1.0, seed=1))
    bench.call.send_dtmf("9", duration_ms=40, pause_ms=40)
    assert bench.ticks(4) == [None] * 4
    # For the caller they have left.
    assert [kind for kind, _, _ in bench.told()] == [Event.DIGIT_SENT]
    assert bench.call.stats().impaired_lost_outgoing == 4


@pytest.mark.parametrize(
    ("digits", "said", "reason"),
    [
        ("1x", {}, r"'1x' is no DTMF; legal: one or more of 0123456789\*#ABCD"),
        ("1", {"duration_ms": 39}, "a digit of 39 ms; legal here: 40 to 8191"),
        ("1", {"duration_ms": 8192}, "legal here: 40 to 8191"),
        ("1", {"pause_ms": 20}, "a pause of 20 ms; legal here: 40 to 10000"),
        ("1" * 64, {}, "0 digits wait and 64 more would; legal: 63"),
    ],
)
def test_what_is_no_digit_or_too_much_is_refused(digits, said, reason):
    bench = bench_of()
    with pytest.raises(LocalProtocolError, match=reason):
        bench.call.send_dtmf(digits, **said)
    assert rtp.parse_header(bench.tick()).payload_type == 0


def test_no_digit_without_an_agreement():
    with pytest.raises(LocalProtocolError, match="none were agreed on"):
        bench_of(events_out=None).call.send_dtmf("1")


def test_there_is_room_for_as_many_digits_as_are_promised():
    bench = bench_of()
    digits = "0123456789ABCD*#" * 4
    bench.call.send_dtmf(digits[:63], duration_ms=40, pause_ms=40)
    while not bench.told():
        bench.tick()
    bench.call.digit_sent()
    bench.call.send_dtmf(digits[63], duration_ms=40, pause_ms=40)
    with pytest.raises(LocalProtocolError, match="63 digits wait"):
        bench.call.send_dtmf("1")
    bench.ticks(4 * 64)
    assert [value for _, _, value in bench.told()] == dtmf.codes(digits)[1:]


# --- holding -------------------------------------------------------------------------------------------------------


def test_a_held_call_sends_nothing_and_goes_on_where_it_was():
    bench = bench_of()
    bench.call.play(clip_of("a", 4))
    before = bench.ticks(2)
    bench.call.hold(True)
    assert bench.ticks(5) == [None] * 5
    bench.call.hold(False)
    after = bench.ticks(2)
    headers = [rtp.parse_header(packet) for packet in before + after]
    assert [packet[RTP_HEADER_BYTES] for packet in before + after] == [0, 1, 2, 3]
    assert [h.sequence_number for h in headers] == [FIRST_SEQUENCE + i for i in range(4)]
    assert [h.timestamp for h in headers] == [(FIRST_TIMESTAMP + 160 * i) & 0xFFFFFFFF for i in (0, 1, 7, 8)]
    assert [h.marker for h in headers] == [True, False, True, False]
    assert bench.told()[-1][:2] == (Event.SPEECH_ENDED, START_NS + 9 * TICK_NS)


def test_a_digit_that_has_begun_ends_before_the_hold_and_the_next_waits_for_its_end():
    bench = bench_of()
    bench.call.send_dtmf("12", duration_ms=40, pause_ms=40)
    bench.tick()
    bench.call.hold(True)
    assert [packet is None for packet in bench.ticks(6)] == [False] * 3 + [True] * 3
    bench.call.hold(False)
    assert [read(packet)[1].code for packet in bench.ticks(4)] == [2] * 4


def test_held_twice_and_resumed_twice_is_held_and_resumed():
    bench = bench_of()
    for on in (True, True, False, False):
        bench.call.hold(on)
    assert bench.tick() is not None
    assert bench.row.media_timeout_ns == 2_000_000_000


@pytest.mark.parametrize(("sends", "hears"), [(False, False), (False, True), (True, False)])
def test_while_a_direction_is_off_silence_is_no_loss(sends, hears):
    bench = bench_of()
    bench.row.lost_told = 1
    bench.call.set_direction(sends=sends, hears=hears)
    assert (bench.tick() is not None) is sends
    assert bench.row.media_timeout_ns > 10**18
    bench.now_ns += 3600 * 10**9
    bench.call.set_direction(sends=True, hears=True)
    assert (bench.row.media_timeout_ns, bench.row.last_heard_ns) == (2_000_000_000, bench.now_ns)
    assert bench.row.lost_told == 0


# --- hearing -------------------------------------------------------------------------------------------------------


class Agent:
    """The other end: packs what the agent sends and hands it to the call."""

    def __init__(self, bench, sequence=100):
        self.bench, self.sequence = bench, sequence

    def packet(self, payload, timestamp, *, payload_type=TYPE, marker=False, skip=0):
        self.sequence += 1 + skip
        data = rtp.pack_header(payload_type, marker, self.sequence, timestamp & 0xFFFFFFFF, 0xBBBB) + payload
        array = np.frombuffer(data, np.uint8).copy()
        take_media(self.bench.media, 0, array, address_of(array), len(data), self.bench.now_ns)
        self.bench.now_ns += TICK_NS

    def event(self, code, timestamp, duration, *, end=False, **said):
        self.packet(dtmf.pack(EventPacket(code, duration, end)), timestamp, **said)

    def digit(self, code, timestamp, packets=3):
        for i in range(packets):
            self.event(code, timestamp, 160 * (i + 1), marker=i == 0)
        for _ in range(3):
            self.event(code, timestamp, 160 * packets, end=True)


def heard(bench):
    return [(kind, value & 0xFF, value >> 8) for kind, _, value in bench.told()]


HEARD, ENDED = Event.DIGIT_HEARD, Event.DIGIT_ENDED


def test_a_digit_is_told_once_at_its_first_packet_and_once_at_its_end():
    bench = bench_of()
    Agent(bench).digit(7, 5000)
    first, last = bench.told()
    assert first == (HEARD, START_NS, 7)
    assert last == (ENDED, START_NS + 3 * TICK_NS, (480 << 8) | 7)


def test_the_events_name_the_digit():
    bench = bench_of()
    table, posted = bench.calls, bench.posted
    table.on_event(Event.DIGIT_HEARD, 0, 1, 5, 10)
    table.on_event(Event.DIGIT_ENDED, 0, 1, 6, (800 << 8) | 11)
    table.on_event(Event.DIGIT_SENT, 0, 1, 7, 15)
    assert posted == [events.DigitHeard("*", 5), events.DigitEnded("#", 6, 100.0), events.DigitSent("D", 7)]


def test_a_digit_is_heard_from_whichever_packet_comes_and_ends_with_whichever_says_so():
    bench = bench_of()
    agent = Agent(bench)
    # Only the second and the very last packet come.
    agent.event(3, 5000, 320, skip=1)
    agent.event(3, 5000, 800, end=True, skip=4)
    assert heard(bench) == [(HEARD, 3, 0), (ENDED, 3, 800)]


def test_the_same_digit_again_is_another_one():
    bench = bench_of()
    agent = Agent(bench)
    agent.digit(4, 5000)
    agent.digit(4, 9000)
    assert heard(bench) == [(HEARD, 4, 0), (ENDED, 4, 480)] * 2


def test_a_late_packet_of_an_earlier_digit_is_none_of_its_own():
    bench = bench_of()
    agent = Agent(bench)
    agent.digit(1, 5000)
    agent.event(2, 9000, 160, marker=True)
    agent.event(1, 5000, 480, end=True)
    assert heard(bench)[2:] == [(HEARD, 2, 0)]


def test_a_long_event_in_segments_is_one_digit():
    """RFC 4733 2.5.1.3: the next segment begins where the last ended, without a marker."""
    bench = bench_of()
    agent = Agent(bench)
    agent.event(8, 5000, 0xFFFF, marker=True)
    agent.event(8, 5000 + 0xFFFF, 800)
    agent.event(8, 5000 + 0xFFFF, 960, end=True)
    assert heard(bench) == [(HEARD, 8, 0), (ENDED, 8, 0xFFFF + 960)]


def test_events_are_packets_received_without_loss_or_jitter():
    bench = bench_of()
    agent = Agent(bench)
    for i in range(3):
        agent.packet(PCMU.silence, 160 * i, payload_type=0)
    agent.digit(5, 480)
    for i in range(9, 12):
        agent.packet(PCMU.silence, 160 * i, payload_type=0)
    stats = bench.call.stats()
    assert (stats.packets_received, stats.packets_lost, stats.packets_discarded, stats.jitter_ms) == (12, 0, 0, 0.0)


def test_a_lost_event_packet_is_a_lost_packet():
    bench = bench_of()
    agent = Agent(bench)
    agent.packet(PCMU.silence, 0, payload_type=0)
    agent.event(5, 160, 160, marker=True)
    agent.event(5, 160, 480, end=True, skip=1)
    assert bench.call.stats().packets_lost == 1


def test_what_is_no_digit_is_counted_and_not_told():
    bench = bench_of()
    agent = Agent(bench)
    # Flash, and what is too short to be an event.
    agent.event(16, 5000, 160, marker=True)
    agent.packet(b"\1\2\3", 6000)
    assert heard(bench) == []
    assert (bench.row.packets_received, bench.row.bad_packets) == (1, 1)


def test_without_an_agreement_events_are_none():
    bench = bench_of(events_in=None)
    Agent(bench).digit(5, 0)
    assert (heard(bench), bench.row.packets_received) == ([], 0)


def tone(level=8000):
    """Return one packet of PCMU speech-like loudness."""
    wave = level * np.sin(2 * np.pi * 440 * np.arange(160) / 8000)
    return bytes(int(np.argmin(np.abs(ULAW.astype(int) - sample))) for sample in wave)


def test_a_digit_is_never_taken_for_speech_and_speech_behind_it_is_dated_to_its_own_packet():
    bench = bench_of()
    agent = Agent(bench)
    loud = tone()
    for i in range(20):
        agent.packet(PCMU.silence, 160 * i, payload_type=0)
    agent.digit(5, 3200, packets=10)
    assert [kind for kind, _, _ in bench.told()] == [HEARD, ENDED]
    began_at_ns = bench.now_ns
    for i in range(33, 40):
        agent.packet(loud, 160 * i, payload_type=0)
    onsets = [at_ns for kind, at_ns, _ in bench.told() if kind == Event.AGENT_ONSET]
    assert onsets == [began_at_ns]
