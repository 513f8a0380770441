import numpy as np
import pytest

from harness.calibrate.voice import voiced
from harness.media.clips import encode_clip
from harness.media.events import MediaLost, RemoteBye, SpeechEnded, SpeechStarted
from harness.media.onset import AgentOnset, AgentStopped
from harness.media.opus import PACKET_SAMPLES, RATE, SILENCE_PAYLOAD
from harness.media.stream import TICK_NS, MediaStream
from harness.protocols import rtcp, rtp

pytestmark = pytest.mark.unit


class PlainLink:
    """A link without SRTP: what was sent is kept, each packet "takes" 1 us."""

    def __init__(self):
        self.now = 0
        self.rtp = []
        self.rtcp = []
        self.refuse = False

    def send_rtp(self, packet):
        if self.refuse:
            raise OSError("no buffer space")
        self.rtp.append(packet)
        return self.now + 1000

    def send_rtcp(self, packet):
        self.rtcp.append(packet)

    def unprotect_rtp(self, packet):
        return None if packet == b"forged" else packet

    unprotect_rtcp = unprotect_rtp


class Bench:
    """A stream on a virtual clock."""

    def __init__(self, **kwargs):
        self.link = PlainLink()
        self.events = []
        self.now = 0
        options = {"quiet_ms": 300.0, "media_timeout_ms": 2000.0, **kwargs}
        self.stream = MediaStream(
            link=self.link,
            ssrc=0xAAAA,
            payload_type=96,
            first_sequence=65530,
            first_timestamp=2**32 - 960 * 3,
            cname="c",
            post=self.events.append,
            **options,
        )

    def ticks(self, count):
        for _ in range(count):
            self.link.now = self.now
            self.stream.tick(self.now, self.now)
            self.now += TICK_NS


def clip_of(ms=300, lead=100, tail=100):
    silence = np.zeros(RATE * lead // 1000, np.int16), np.zeros(RATE * tail // 1000, np.int16)
    return encode_clip("u1", np.concatenate([silence[0], voiced(ms, RATE), silence[1]]), lead, lead + ms)


def test_silence_is_sent_on_and_on_with_wrapping_sequence_and_timestamp():
    bench = Bench()
    bench.ticks(10)
    headers = [rtp.parse_header(p) for p in bench.link.rtp]
    assert [h.sequence_number for h in headers] == [(65530 + i) & 0xFFFF for i in range(10)]
    assert [h.timestamp for h in headers] == [(2**32 - 960 * 3 + 960 * i) & 0xFFFFFFFF for i in range(10)]
    assert all(p[12:] == SILENCE_PAYLOAD for p in bench.link.rtp)
    assert not any(h.marker for h in headers)


def test_end_of_speech_is_the_send_time_of_the_last_voiced_packet_not_the_clips_end():
    bench = Bench()
    clip = clip_of()
    bench.stream.play(clip)
    bench.ticks(len(clip.payloads) + 5)
    started, ended = bench.events
    # 100 ms of lead: sample 4800 + 312 of look-ahead is in packet 5; the end, sample 19199 + 312, in packet 20.
    assert started == SpeechStarted("u1", 5 * TICK_NS + 1000)
    assert ended == SpeechEnded("u1", 20 * TICK_NS + 1000)
    assert len(clip.payloads) == 26
    assert rtp.parse_header(bench.link.rtp[0]).marker
    assert bench.link.rtp[len(clip.payloads)][12:] == SILENCE_PAYLOAD


def test_a_new_clip_replaces_the_old_one_and_stop_ends_it():
    bench = Bench()
    clip = clip_of()
    bench.stream.play(clip)
    bench.ticks(8)
    bench.stream.stop_playing()
    bench.ticks(30)
    assert [type(e) for e in bench.events] == [SpeechStarted]
    assert bench.link.rtp[8][12:] == SILENCE_PAYLOAD


def agent_packets(clip, *, first=100, drop=()):
    for i, payload in enumerate(clip.payloads):
        if i not in drop:
            yield rtp.pack_header(96, False, first + i, i * PACKET_SAMPLES, 0xBBBB) + payload, i


def test_onset_and_stop_of_the_agent():
    bench = Bench()
    clip = clip_of(ms=400, lead=200, tail=600)
    for packet, index in agent_packets(clip):
        bench.stream.receive_rtp(packet, index * TICK_NS)
        bench.now = index * TICK_NS
        bench.ticks(1)
    onset, stopped = bench.events
    assert isinstance(onset, AgentOnset)
    assert onset.at_ns == clip.first_voiced_packet * TICK_NS
    assert isinstance(stopped, AgentStopped)
    assert 0 <= stopped.at_ns // TICK_NS - clip.last_voiced_packet <= 1


@pytest.mark.parametrize("drop", [(0,), (9,), (11, 12), (10,), (12,), (13, 15)])
def test_lost_packets_move_the_onset_by_one_packet_at_most(drop):
    bench = Bench()
    clip = clip_of(ms=400, lead=200, tail=100)
    for packet, index in agent_packets(clip, drop=drop):
        bench.stream.receive_rtp(packet, index * TICK_NS)
    (onset,) = bench.events
    assert 0 <= onset.at_ns // TICK_NS - clip.first_voiced_packet <= 1
    assert bench.stream.reception.lost == len([d for d in drop if d > 0])


def test_forged_malformed_foreign_and_duplicate_packets_change_nothing():
    bench = Bench()
    bench.stream.receive_rtp(b"forged", 0)
    bench.stream.receive_rtp(b"\x80\x00", 0)
    bench.stream.receive_rtp(rtp.pack_header(0, False, 1, 0, 1) + b"pcmu", 0)
    bench.stream.receive_rtcp(b"\x81\xc9\x00\x01", 0, 0)
    assert bench.stream.bad_packets == 3
    assert bench.stream.packets_received == 0
    good = rtp.pack_header(96, False, 1, 0, 1) + SILENCE_PAYLOAD
    bench.stream.receive_rtp(good, 0)
    bench.stream.receive_rtp(good, 1)
    assert (bench.stream.packets_received, bench.stream.reception.discarded) == (1, 1)
    # A payload that is no Opus: counted, and not heard.
    bench.stream.receive_rtp(rtp.pack_header(96, False, 2, 960, 1) + b"\xff\xff\xff\xff", 2)
    assert bench.events == []


def test_media_lost_is_told_once_when_nothing_at_all_arrives():
    bench = Bench(media_timeout_ms=500)
    bench.stream.heard(0, None)
    bench.ticks(60)
    assert bench.events == [MediaLost(0)]


def test_send_errors_are_counted_and_the_time_line_goes_on():
    bench = Bench()
    bench.link.refuse = True
    bench.ticks(3)
    bench.link.refuse = False
    bench.ticks(1)
    assert bench.stream.send_errors == 3
    assert bench.stream.packets_sent == 1
    assert rtp.parse_header(bench.link.rtp[0]).sequence_number == (65530 + 3) & 0xFFFF


def test_reports_quote_the_peer_and_yield_the_round_trip():
    bench = Bench()
    bench.stream.receive_rtp(rtp.pack_header(96, False, 1, 0, 0xBBBB) + SILENCE_PAYLOAD, 0)
    bench.ticks(51)
    report = rtcp.parse(bench.link.rtcp[-1])[0]
    assert report.ssrc == 0xAAAA
    assert report.blocks[0].ssrc == 0xBBBB
    sent_unix = 1_000_000_000
    last_sr = rtcp.ntp_middle(rtcp.ntp_time(sent_unix))
    back = rtcp.pack_sender_report(0xBBBB, 0, 0, 0, 0, [rtcp.ReportBlock(0xAAAA, 0, 0, 0, 0, last_sr, 0)], "peer")
    bench.stream.receive_rtcp(back, 5, sent_unix + 30_000_000)
    assert bench.stream.round_trip_ms == pytest.approx(30, abs=0.05)


def test_goodbye_of_the_agent_is_told():
    bench = Bench()
    bench.stream.receive_rtcp(rtcp.pack_bye(0xBBBB), 7, 7)
    assert bench.events == [RemoteBye(7)]
