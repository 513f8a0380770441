"""Impairments in the running loop: each packet meets exactly the fate its seed gives it, and ours is told apart."""

import asyncio
import contextlib
import dataclasses
import time
from collections import Counter, defaultdict

import pytest
import reference_rtp as rtp

from harness.calibrate.voice import voiced
from harness.media.clips import encode_clip
from harness.media.codecs import PCMU
from harness.media.events import MediaLost
from harness.media.hot import impair
from harness.media.hot.jit import make_table
from harness.media.impairment import Impairment, Jitter, fill_row
from harness.media.loop import MediaLoop
from harness.media.onset import AgentOnset
from harness.media.spec import MediaSpec

pytestmark = pytest.mark.loopback

DEADLINE_S = 60
OCTETS = rtp.HEADER_BYTES + len(PCMU.silence)
NS_PER_MS = 1_000_000


def fates(impairment, count):
    """Return the delay of each of `count` packets as the row decides it, -1 for a lost one, and which come twice."""
    row = make_table(impair.IMPAIR, 1)[0]
    fill_row(row, impairment)
    delays, copies = [], []
    for i in range(count):
        before = row.duplicated
        delays.append(int(impair.impair_decide(row, 20_000_000 * i, OCTETS)))
        copies.append(row.duplicated > before)
    return delays, copies


def spec(remote, ssrc=7, **said):
    return MediaSpec(
        remote=remote,
        ssrc=ssrc,
        first_sequence=0,
        first_timestamp=0,
        cname="c",
        quiet_ms=500,
        media_timeout_ms=60_000,
        post=said.pop("post", lambda event: None),
        codec=PCMU,
        payload_type=0,
        **said,
    )


@contextlib.asynccontextmanager
async def running_loop():
    loop = MediaLoop(64)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()
    assert loop.failure is None


async def until(condition):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


def is_report(data):
    return 192 <= data[1] <= 223


OUTGOING = Impairment(loss_ratio=0.15, delay_ms=40, jitter=Jitter(30, reorder="kept"), duplicate_ratio=0.1)


def test_outgoing_packets_meet_the_fates_of_their_seeds():
    """Six calls of one port: sequence numbers that arrive, and how often, are those that each seed lets through."""

    async def talk():
        heard = defaultdict(Counter)

        class Agent(asyncio.DatagramProtocol):
            def datagram_received(self, data, _address):
                if not is_report(data):
                    header = rtp.parse_header(data)
                    heard[header.ssrc][header.sequence_number] += 1

        agent, _ = await asyncio.get_running_loop().create_datagram_endpoint(Agent, ("127.0.0.1", 0))
        with contextlib.closing(agent):
            remote = agent.get_extra_info("sockname")
            async with running_loop() as loop:
                caller = loop.open_port("127.0.0.1", lambda *_: None)
                calls = [
                    loop.add_call(caller, spec(remote, ssrc, by_ssrc=True, impair_outgoing=impairment(ssrc)))
                    for ssrc in range(1, 7)
                ]
                await until(lambda: all(call.stats().packets_sent >= 70 for call in calls))
                stats = [await call.close() for call in calls]
            await asyncio.sleep(0)
        return heard, stats

    def impairment(ssrc):
        return dataclasses.replace(OUTGOING, seed=ssrc)

    heard, stats = asyncio.run(talk())
    for ssrc, told in enumerate(stats, 1):
        delays, copies = fates(impairment(ssrc), told.packets_sent)
        assert told.impaired_lost_outgoing == delays.count(impair.LOST) > 0
        expected = Counter({i: 1 + copies[i] for i, delay in enumerate(delays) if delay != impair.LOST})
        # The last ones were still held back when the call ended.
        first = {i: n for i, n in expected.items() if i < 60}
        assert {i: n for i, n in heard[ssrc].items() if i < 60} == first
        assert set(heard[ssrc]) <= set(expected)


def test_incoming_loss_is_counted_as_ours_and_is_in_the_loss_by_sequence():
    packets, impairment = 400, Impairment(loss_ratio=0.2, seed=5)

    async def talk():
        async with running_loop() as loop:
            agent = loop.open_port("127.0.0.1", lambda *_: None)
            caller = loop.open_port("127.0.0.1", lambda *_: None)
            call = loop.add_call(caller, spec(agent.address, impair_incoming=impairment))
            await until(lambda: call.stats().packets_sent > 0)
            for i in range(packets):
                agent.send(rtp.pack_header(0, False, i, 160 * i, 99) + PCMU.silence, caller.address)
                if i % 50 == 0:
                    await asyncio.sleep(0.01)
            await until(lambda: call.stats().packets_received + call.stats().impaired_lost_incoming == packets)
            return await call.close()

    told = asyncio.run(talk())
    lost = [delay == impair.LOST for delay in fates(impairment, packets)[0]]
    assert told.impaired_lost_incoming == sum(lost) > 0
    # Sequence numbers tell of a loss only between two packets that came.
    came = [i for i, is_lost in enumerate(lost) if not is_lost]
    assert told.packets_lost == came[-1] - came[0] + 1 - len(came)
    assert told.impaired_lost_outgoing == 0


def test_an_incoming_delay_moves_the_onset_by_exactly_itself():
    """Two calls hear the same speech; the onset of the one behind 300 ms of delay is 300 ms after its packet came."""
    clip = encode_clip("a", voiced(600, PCMU.sample_rate), 0, 600, PCMU)
    delay_ns = 300 * NS_PER_MS

    async def talk():
        events, came = defaultdict(list), {}
        async with running_loop() as loop:
            agent = loop.open_port("127.0.0.1", lambda *_: None)
            ports = [loop.open_port("127.0.0.1", lambda *_: None) for _ in range(2)]
            impairments = [None, Impairment(delay_ms=300)]
            calls = [
                loop.add_call(port, spec(agent.address, post=events[i].append, impair_incoming=impairments[i]))
                for i, port in enumerate(ports)
            ]
            await until(lambda: all(call.stats().packets_sent > 0 for call in calls))
            payloads = [PCMU.silence] * 25 + list(clip.payloads) + [PCMU.silence] * 25
            for i, payload in enumerate(payloads):
                for n, port in enumerate(ports):
                    before = time.monotonic_ns()
                    agent.send(rtp.pack_header(0, False, i, 160 * i, 99) + payload, port.address)
                    came[n, i] = before, time.monotonic_ns()
                await asyncio.sleep(0.02)
            await until(lambda: all(any(isinstance(e, AgentOnset) for e in events[n]) for n in range(2)))
            for call in calls:
                await call.close()
        return [next(e.at_ns for e in events[n] if isinstance(e, AgentOnset)) for n in range(2)], came

    (plain_ns, delayed_ns), came = asyncio.run(talk())
    # The kernel stamps a datagram to loopback while it is being sent; the clocks' offset is known to microseconds.
    slack_ns = NS_PER_MS
    packet = next(i for (n, i), (_, after) in sorted(came.items()) if n == 0 and plain_ns <= after + slack_ns)
    first, last = came[1, packet]
    assert first - slack_ns <= delayed_ns - delay_ns <= last + slack_ns


def test_a_line_that_loses_everything_is_a_line_gone_silent():
    async def talk():
        events = []
        async with running_loop() as loop:
            ports = [loop.open_port("127.0.0.1", lambda *_: None) for _ in range(2)]
            deaf = spec(ports[1].address, 1, post=events.append, impair_incoming=Impairment(loss_ratio=1.0))
            calls = [
                loop.add_call(ports[0], dataclasses.replace(deaf, media_timeout_ms=200)),
                loop.add_call(ports[1], spec(ports[0].address, 2)),
            ]
            await until(lambda: any(isinstance(event, MediaLost) for event in events))
            return [await call.close() for call in calls]

    deaf, talking = asyncio.run(talk())
    assert deaf.packets_received == 0 < deaf.impaired_lost_incoming <= talking.packets_sent
    # Sequence numbers tell of a loss only between two packets that came.
    assert deaf.packets_lost == 0


def test_reports_cross_the_same_network_and_change_no_fate_of_media():
    """With 80 ms either way a report's answer comes 160 ms later: the round trip says so."""
    bent = Impairment(delay_ms=80)

    async def talk():
        async with running_loop() as loop:
            ports = [loop.open_port("127.0.0.1", lambda *_: None) for _ in range(2)]
            caller = loop.add_call(ports[0], spec(ports[1].address, 1, impair_outgoing=bent, impair_incoming=bent))
            agent = loop.add_call(ports[1], spec(ports[0].address, 2))
            await until(lambda: caller.stats().round_trip_ms is not None and agent.stats().round_trip_ms is not None)
            told = caller.stats().round_trip_ms, agent.stats().round_trip_ms
            await caller.close()
            await agent.close()
        return told

    for round_trip_ms in asyncio.run(talk()):
        # Not less than both delays; how much more hangs on how busy this machine is.
        assert round_trip_ms >= 159.9


def test_impair_report_leaves_the_fates_of_media_alone():
    with_reports, without = (make_table(impair.IMPAIR, 1)[0] for _ in range(2))
    for row in (with_reports, without):
        fill_row(row, OUTGOING)
    told = []
    for i in range(500):
        if i % 7 == 0:
            told.append(int(impair.impair_report(with_reports, 20_000_000 * i, 80)))
        now_ns = 20_000_000 * i
        assert impair.impair_decide(with_reports, now_ns, OCTETS) == impair.impair_decide(without, now_ns, OCTETS)
    assert 0 < told.count(impair.LOST) < len(told) / 2
    assert with_reports.lost == without.lost
