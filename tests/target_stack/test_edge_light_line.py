"""One WebRTC line without a network: packets of the test's own, encrypted as a caller's are."""

import asyncio
import contextlib
import itertools

import pytest
from edge_peer import Sessions, until
from rtp_peer import in_packets

from harness.media.codecs import PCMU
from harness.media.peer.dtls import SrtpKeys
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.protocols import sdes
from target_stack.edge.agent_call import AgentCall, CallLimits, EndReason
from target_stack.edge.light.line import WebRtcLine
from target_stack.edge.rtp import packet as rtp
from target_stack.edge.rtp import rtcp
from target_stack.edge.rtp.ticker import Ticker

pytestmark = pytest.mark.loopback

SUITE = sdes.SUITES[0]
OURS, THEIRS = (sdes.Crypto(1, SUITE, bytes([seed]) * SUITE.material_bytes) for seed in (1, 2))


class Caller:
    """Sends to a line what a caller would, under one SSRC at a time."""

    def __init__(self, line):
        self.line = line
        self.protect = outgoing_session(THEIRS).protect
        self.opened = incoming_session(OURS)
        self.got = []

    def send(self, ssrc, sequences):
        for sequence, payload in zip(sequences, in_packets(PCMU, 10.0), strict=False):
            data = rtp.build(rtp.Packet(0, False, sequence, sequence * 160, ssrc, payload))
            assert self.line.arrived(self.protect(data), 1)

    def reports(self):
        return [rtcp.parse(self.opened.unprotect_rtcp(data)) for data in self.got if rtp.is_rtcp(data)]

    def packets(self):
        return [rtp.parse(self.opened.unprotect(data)) for data in self.got if not rtp.is_rtcp(data)]


@contextlib.asynccontextmanager
async def line_and_caller():
    """Yield (line, caller, session); the session has begun and its line is closed in the end."""
    sessions, ticker = Sessions(), Ticker()
    call = AgentCall("c", sessions, CallLimits())
    line = WebRtcLine(call, ticker, PCMU, 0, 99)
    caller = Caller(line)
    line.begin(SrtpKeys(SUITE.name, outgoing_session(OURS), incoming_session(THEIRS)), caller.got.append)
    call.connected()

    async def release(_reason):
        line.close()

    running = asyncio.create_task(call.run(release))
    try:
        await until(lambda: call.listening is not None, "listening")
        yield line, caller, sessions.made[0]
    finally:
        call.hang_up(EndReason.HUNG_UP)
        await running
        await ticker.aclose()


def test_a_caller_whose_stream_begins_anew_is_heard_and_the_losses_of_the_old_one_stay_counted():
    async def scenario():
        async with line_and_caller() as (line, caller, session):
            # 505 never comes.
            caller.send(1, [*range(500, 505), *range(506, 516)])
            before = session.loud_samples
            # Behind the old stream's numbers: of its own SSRC, so neither late nor a loss.
            caller.send(2, range(100, 120))
            assert session.loud_samples - before == pytest.approx(20 * 320, abs=40)
        assert (line.counts.heard, line.counts.lost, line.counts.late) == (35, 1, 0)

    asyncio.run(scenario())


def test_a_line_speaks_in_order_and_says_goodbye():
    async def scenario():
        async with line_and_caller() as (_line, caller, session):
            await until(lambda: ("drained", 0) in session.playout, "greeted")
        packets = caller.packets()
        first = packets[0]
        assert [(p.sequence - first.sequence) & 0xFFFF for p in packets] == list(range(len(packets)))
        # A beat that was held up for long skips packets, and their time with them.
        steps = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(packets)]
        assert all(step and step % 160 == 0 for step in steps)
        assert {(p.payload_type, p.ssrc) for p in packets} == {(0, 99)}
        # The marker bit says where a talkspurt begins.
        assert sum(p.marker for p in packets) == 1
        last = caller.reports()[-1]
        assert (last.sender_ssrc, last.is_bye) == (99, True)

    asyncio.run(scenario())
