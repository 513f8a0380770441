"""A loop that was held up sends first and reads later, and takes nothing that it has not read for silence."""

import os
import socket
import struct

import pytest
from hot_bench import HotBench

from harness.media.hot import native
from harness.media.hot.clock import monotonic_ns
from harness.media.hot.incoming import read_ports
from harness.media.hot.layout import (
    BATCH,
    HEARD_UNTIL_NS,
    NEXT_PHASE,
    PHASE_NS,
    RESTED_AT_NS,
    TICK_NS,
    Counter,
    Event,
    new_media,
)
from harness.media.hot.run import MOST_WORK_NS, REST_NS, _send_phase, next_wake_ns

pytestmark = pytest.mark.unit


FIRST_HEARD_NS = 7


class Ports:
    """Two ports of a table without a thread, and a sender."""

    def __init__(self):
        self.epoll = native.epoll_create()
        self.media = new_media(4, 4, 4, 4, -1, self.epoll)
        self.media.cells[HEARD_UNTIL_NS] = FIRST_HEARD_NS
        self.socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for index, sock in enumerate(self.socks[:2]):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            self.media.ports[index].fd, self.media.ports[index].open = sock.fileno(), 1
            self.media.ports[index].any_source_call = -1
            native.epoll_add(self.epoll, sock.fileno(), index)

    def send(self, port, count):
        """Send RTP of nobody's, which is read and counted."""
        for number in range(count):
            packet = struct.pack("!BBHII", 0x80, 0, number, 0, 7)
            self.socks[2].sendto(packet, self.socks[port].getsockname())

    def read(self, until_ns):
        """Return how many datagrams were read, which ports are behind, and how far all the others were read."""
        before = int(self.media.counters[Counter.DATAGRAMS])
        read_ports(self.media, until_ns)
        behind = [i for i in range(2) if self.media.ports[i].behind_since_ns]
        return int(self.media.counters[Counter.DATAGRAMS]) - before, behind

    @property
    def heard_until_ns(self):
        return int(self.media.cells[HEARD_UNTIL_NS])

    def close(self):
        for sock in self.socks:
            sock.close()
        os.close(self.epoll)


@pytest.fixture
def ports():
    made = Ports()
    yield made
    made.close()


def test_until_its_time_everything_is_read(ports):
    ports.send(0, 2 * BATCH + 1)
    ports.send(1, 3)
    before_ns = monotonic_ns(ports.media)
    assert ports.read(before_ns + 10**12) == (2 * BATCH + 4, [])
    assert ports.heard_until_ns >= before_ns
    assert ports.read(before_ns + 10**12) == (0, [])


def test_past_its_time_one_port_is_read_and_the_next_time_the_next_one(ports):
    ports.send(0, 1)
    ports.send(1, 1)
    before_ns = monotonic_ns(ports.media)
    assert ports.read(0) == (1, [])
    assert ports.heard_until_ns == FIRST_HEARD_NS
    # What comes now is not of what was told before.
    ports.send(0, 1)
    ports.send(1, 1)
    told_ns = monotonic_ns(ports.media)
    assert ports.read(0)[0] >= 1
    assert before_ns <= ports.heard_until_ns < told_ns
    ports.read(10**18)
    ports.read(10**18)
    assert ports.heard_until_ns >= told_ns


def test_a_port_with_more_than_is_read_at_a_time_holds_up_only_itself(ports):
    ports.send(0, 1)
    ports.send(1, BATCH + 1)
    read = [ports.read(0), ports.read(0)]
    # Whichever was told first.
    assert sorted(count for count, _ in read) == [1, BATCH]
    assert read[1][1] == [1]
    assert ports.heard_until_ns > FIRST_HEARD_NS
    assert ports.media.ports[1].behind_since_ns == FIRST_HEARD_NS
    ports.send(1, BATCH)
    ports.read(0)
    assert ports.media.ports[1].behind_since_ns == FIRST_HEARD_NS
    assert ports.read(10**18) == (1, [])


def test_what_may_be_unread_is_no_silence_and_no_loss():
    bench = HotBench(quiet_ms=300, media_timeout_ms=2000)
    bench.media.members[0, 0], bench.media.member_counts[0] = 0, 1
    bench.row.next_rtcp_ns = 10**18
    bench.row.last_heard_ns = bench.now_ns
    bench.media.ears[0].is_speaking, bench.media.ears[0].last_voiced_at_ns = 1, bench.now_ns
    late_ns = bench.now_ns + 5_000_000_000
    phase = late_ns // TICK_NS * (TICK_NS // PHASE_NS)

    def told():
        _send_phase(bench.media, phase, late_ns)
        return [(kind, at_ns) for kind, at_ns, _ in bench.told()]

    bench.media.cells[HEARD_UNTIL_NS] = bench.now_ns + 299_000_000
    assert told() == []
    bench.media.cells[HEARD_UNTIL_NS] = bench.now_ns + 300_000_000
    assert told() == [(Event.AGENT_STOPPED, bench.now_ns)]
    bench.media.cells[HEARD_UNTIL_NS] = late_ns
    assert told() == [(Event.MEDIA_LOST, bench.now_ns)]


def test_silence_is_told_of_a_port_that_was_read_while_another_is_behind():
    bench = HotBench(quiet_ms=300, media_timeout_ms=60_000)
    bench.media.members[0, 0], bench.media.member_counts[0] = 0, 1
    bench.row.next_rtcp_ns = 10**18
    bench.row.last_heard_ns = bench.now_ns
    bench.media.ears[0].is_speaking, bench.media.ears[0].last_voiced_at_ns = 1, bench.now_ns
    late_ns = bench.now_ns + 5_000_000_000
    bench.media.cells[HEARD_UNTIL_NS] = late_ns
    bench.media.ports[1].behind_since_ns = bench.now_ns
    bench.media.ports[0].behind_since_ns = bench.now_ns + 299_000_000
    phase = late_ns // TICK_NS * (TICK_NS // PHASE_NS)
    _send_phase(bench.media, phase, late_ns)
    assert bench.told() == []
    bench.media.ports[0].behind_since_ns = 0
    _send_phase(bench.media, phase, late_ns)
    assert [kind for kind, _, _ in bench.told()] == [Event.AGENT_STOPPED]


def test_a_loop_that_never_catches_up_leaves_its_event_loop_a_turn():
    media = HotBench().media
    media.cells[NEXT_PHASE], media.cells[RESTED_AT_NS] = 4, PHASE_NS
    late_ns = PHASE_NS + MOST_WORK_NS
    assert next_wake_ns(media, 3 * PHASE_NS) == 4 * PHASE_NS
    assert next_wake_ns(media, late_ns) == 4 * PHASE_NS < late_ns
    assert next_wake_ns(media, late_ns + 1) == late_ns + 1 + REST_NS
