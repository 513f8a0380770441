"""What leaves a running loop, as a plain socket receives it."""

import asyncio
import time
from collections import defaultdict

import pytest
import reference_rtcp as rtcp
import reference_rtp as rtp
from loop_lab import PlainPeer, clip_of, is_report, rtp_packet, running_loop, spec, until

from harness.media.codecs import PCMU
from harness.media.events import SpeechEnded, SpeechStarted
from harness.media.hot.batch import MOST_REFUSALS
from harness.media.hot.layout import Counter
from harness.media.recorder import Recorder

pytestmark = pytest.mark.loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_clip_between_silence_arrives_whole_and_its_moments_are_told(host):
    async def talk():
        posted = []
        with PlainPeer(host) as peer:
            async with running_loop() as loop:
                port = loop.open_port(host, lambda *_: None)
                call = loop.add_call(port, spec(peer.address, first_sequence=65_530, post=posted))
                await until(peer.packets)
                call.play(clip_of("a", 20))
                await until(lambda: any(isinstance(e, SpeechEnded) for e in posted))
                told = await call.close()
            return peer.packets(), {source for _, source in peer.came}, port.address, posted, told

    packets, sources, address, posted, told = asyncio.run(talk())
    assert sources == {address}
    headers = [header for header, _ in packets]
    assert [h.sequence_number for h in headers] == [(65_530 + i) & 0xFFFF for i in range(len(packets))]
    assert [h.timestamp for h in headers] == [160 * i for i in range(len(packets))]
    first = next(i for i, h in enumerate(headers) if h.marker)
    spoken = [payload for _, payload in packets[first : first + 20]]
    assert spoken == list(clip_of("a", 20).payloads)[: len(spoken)]
    assert {payload for _, payload in packets[:first]} == {PCMU.silence}
    assert sum(h.marker for h in headers) == 1
    assert [type(e) for e in posted] == [SpeechStarted, SpeechEnded]
    assert [e.utterance_id for e in posted] == ["a", "a"]
    # 17 ticks lie between the two packets, and a tick that leaves late does not push its successors.
    assert posted[1].at_ns > posted[0].at_ns
    assert (told.packets_sent, told.send_errors) == (len(packets), 0)


def test_a_report_a_second_and_a_goodbye_at_the_end():
    async def talk():
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                call = loop.add_call(port, spec(peer.address))
                peer.send(rtp_packet(5), port)
                await until(lambda: len(peer.reports()) >= 2)
                await call.close()
            return peer.reports(), peer.packets()

    reports, packets = asyncio.run(talk())
    assert reports[-1] == rtcp.pack_bye(0xAAAA)
    parsed = [rtcp.parse(data)[0] for data in reports[:-1]]
    assert {report.ssrc for report in parsed} == {0xAAAA}
    assert [block.ssrc for block in parsed[-1].blocks] == [0xBBBB]
    assert reports[0].endswith(b"\x01\x06c43690\0\0\0\0")
    assert len(packets) > 10 * (len(parsed) - 1)


def speak_together(calls_count, *, refuse_segments=False):
    """Let many calls of one port speak to one address; return the peer's packets by SSRC and the loop's counts."""

    async def talk():
        posted = []
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                loop._media.ports[port.index].segments_refused = MOST_REFUSALS if refuse_segments else 0
                calls = [
                    loop.add_call(port, spec(peer.address, ssrc, by_ssrc=True, post=posted))
                    for ssrc in range(1, calls_count + 1)
                ]
                for number, call in enumerate(calls):
                    call.play(clip_of(f"u{number}", 30))
                await until(lambda: peer.read() and sum(isinstance(e, SpeechEnded) for e in posted) == calls_count)
                told = [await call.close() for call in calls]
                segmented = int(loop._media.counters[Counter.SEGMENTED])
            by_ssrc = defaultdict(list)
            for header, payload in peer.packets():
                by_ssrc[header.ssrc].append((header.sequence_number, header.marker, payload))
            assert all(len(data) == rtp.HEADER_BYTES + 160 for data, _ in peer.came if not is_report(data))
            return by_ssrc, told, segmented

    return asyncio.run(talk())


@pytest.mark.parametrize("refuse_segments", [False, True])
def test_segmented_sends_arrive_as_single_datagrams_with_their_own_bytes(refuse_segments):
    by_ssrc, told, segmented = speak_together(40, refuse_segments=refuse_segments)
    # 40 calls in 8 phases: five at each deadline.
    assert (segmented > 0) == (not refuse_segments)
    assert set(by_ssrc) == set(range(1, 41))
    for ssrc, packets in by_ssrc.items():
        assert [sequence for sequence, _, _ in packets] == list(range(told[ssrc - 1].packets_sent))
        start = next(i for i, (_, marker, _) in enumerate(packets) if marker)
        spoken = [payload for _, _, payload in packets[start : start + 29]]
        assert spoken == list(clip_of("x", 30).payloads)[:29]


def test_a_port_that_could_not_send_for_a_moment_goes_on_sending_segments():
    """Where plain sends fail as well, it was not the segmentation's fault."""

    async def talk():
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                calls = [loop.add_call(port, spec(peer.address, ssrc, by_ssrc=True)) for ssrc in range(1, 41)]
                row = loop._media.ports[port.index]
                await until(lambda: loop._media.counters[Counter.SEGMENTED] > 0, "segments")
                # No descriptor at all: every send fails.
                row.fd, good = -1, row.fd
                await until(lambda: all(call.stats().send_errors > MOST_REFUSALS for call in calls), "send errors")
                row.fd = good
                before = int(loop._media.counters[Counter.SEGMENTED])
                await until(lambda: loop._media.counters[Counter.SEGMENTED] > before, "segments again")
                for call in calls:
                    await call.close()

    asyncio.run(talk())


def test_calls_of_unequal_packets_to_several_addresses_all_arrive():
    """Runs that may be segmented, runs too short for it and single packets, in one batch."""

    async def talk():
        with PlainPeer() as one, PlainPeer() as other:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                sizes = [160, 160, 160, 100, 100, 33] * 8
                calls = []
                for ssrc, size in enumerate(sizes, 1):
                    peer = one if ssrc % 12 < 8 else other
                    calls.append(loop.add_call(port, spec(peer.address, ssrc, by_ssrc=True)))
                    calls[-1].play(clip_of("a", 100, size))
                await until(lambda: all(call.stats().packets_sent >= 20 for call in calls) and one.read())
                told = [await call.close() for call in calls]
                await asyncio.sleep(0)
            return sizes, told, one.packets(), other.packets()

    sizes, told, at_one, at_other = asyncio.run(talk())
    for ssrc, size in enumerate(sizes, 1):
        came = [(h, p) for h, p in (at_one if ssrc % 12 < 8 else at_other) if h.ssrc == ssrc]
        assert [h.sequence_number for h, _ in came] == list(range(told[ssrc - 1].packets_sent))
        assert {len(payload) for h, payload in came if payload != PCMU.silence} == {size}
    assert len(at_one) + len(at_other) == sum(stats.packets_sent for stats in told)


def test_the_loops_stats_sum_up_calls_that_last_and_calls_that_are_gone():
    async def talk():
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                gone, lasting = (loop.add_call(port, spec(peer.address, ssrc, by_ssrc=True)) for ssrc in (1, 2))
                await until(lambda: gone.stats().packets_sent >= 3 and lasting.stats().packets_sent >= 3)
                first = loop.take_stats()
                last = [await gone.close()]
                second = loop.take_stats()
                # In the row of the one that is gone.
                late = loop.add_call(port, spec(peer.address, 3, by_ssrc=True))
                await until(lambda: late.stats().packets_sent >= 3)
                last += [await late.close(), await lasting.close()]
                return last, [first, second, loop.take_stats(), loop.take_stats()]

    last, taken = asyncio.run(talk())
    sent = [stats.packets_sent for stats in taken]
    assert sum(sent) == sum(stats.packets_sent for stats in last)
    assert sent[0] >= 6
    assert sent[-1] == 0
    assert sum(stats.send_errors for stats in taken) == 0


def test_the_recorder_learns_when_each_clip_left_and_what_came():
    async def talk():
        posted = []
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                recorder = Recorder(began_at_ns, PCMU)
                call = loop.add_call(port, spec(peer.address, post=posted, recorder=recorder))
                first, second = clip_of("a", 4), clip_of("b", 4)
                call.play(first)
                await until(lambda: len(posted) == 2)
                call.play(second)
                await until(lambda: len(posted) == 4)
                for sequence in range(3):
                    peer.send(rtp_packet(sequence, bytes([0x20 + sequence]) * 160), port)
                await until(lambda: call.stats().packets_received == 3)
                # What the loop has counted it has passed on before it tells of the end.
                await call.close()
            return recorder, posted, (first, second)

    began_at_ns = time.monotonic_ns()
    recorder, posted, clips = asyncio.run(talk())
    assert [clip for _, clip in recorder._clips] == list(clips)
    starts = [began_at_ns + position * 125_000 for position, _ in recorder._clips]
    # One packet lies between a clip's first and its first voiced one; positions are rounded down to a sample.
    spoken = [event for event in posted if isinstance(event, SpeechStarted)]
    assert [event.at_ns > start for event, start in zip(spoken, starts, strict=True)] == [True, True]
    (run,) = recorder._runs
    assert run.packets == [(160 * n, bytes([0x20 + n]) * 160) for n in range(3)]
