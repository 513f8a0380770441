"""A call whose media goes through rtpengine, by kamailio's word: TTFB timed, keys on each leg or on none."""

import asyncio
import re
from dataclasses import dataclass

import pytest
from edge_peer import Sessions, until
from kamailio_proxy import kamailio
from media_relay import rtpengine
from rtp_bench import say_and_hear
from sip_bench import SipBench
from sip_peer import running_sip_edge

from harness.media.codecs import PCMU
from harness.media.onset import AgentStopped
from harness.model.plan import CallLimits
from harness.model.sip_facts import Bye

pytestmark = pytest.mark.peer

LIMITS = CallLimits(connect_timeout_ms=15_000)
QUIET_MS = 200


@pytest.mark.parametrize(
    ("ours", "edge_srtp", "to_agent", "to_caller"),
    [
        ("off", "off", "RTP/AVP", "RTP/AVP"),
        ("required", "off", "RTP/AVP", "RTP/SAVP"),
        ("off", "required", "RTP/SAVP", "RTP/AVP"),
        ("required", "required", "RTP/SAVP", "RTP/SAVP"),
    ],
    ids=["plain", "caller's leg keyed", "agent's leg keyed", "both keyed"],
)
def test_a_call_through_rtpengine(tmp_path, ours, edge_srtp, to_agent, to_caller):
    async def main():
        sessions = Sessions(greeting_s=0.3, quiet_ms=QUIET_MS)
        async with running_sip_edge(sessions, srtp=edge_srtp) as (edge, address):
            words = {"rtpengine": relay.port, "to_agent": f"{to_agent} DTLS=off", "to_caller": f"{to_caller} DTLS=off"}
            with kamailio(tmp_path, address[1], "udp", **words) as proxy:
                async with SipBench(audio=True) as bench:
                    settings = proxy.sip("udp", srtp=ours)
                    caller, heard = await bench.connect(proxy.url, limits=LIMITS, **settings)
                    await until(lambda: sessions.made and ("drained", 0) in sessions.made[0].playout, "greeted")
                    await stopped(heard)
                    delay_ms = await say_and_hear(caller, heard, PCMU)
                    spec = caller.media.spec
                    caller.press("7")
                    await until(lambda: sessions.made[0].digits, "heard the key")
                    await stopped(heard)
                    caller.hold(on=True)
                    await until(lambda: edge.counts.renegotiations == 1, "held")
                    caller.hold(on=False)
                    await until(lambda: edge.counts.renegotiations == 2, "resumed")
                    await say_and_hear(caller, heard, PCMU)
                    await caller.close()
                    facts, stats = caller.facts(), caller.media.stats()
                    await until(lambda: not edge.counts.active_calls, "released")
        assert (facts.status, facts.bye) == (200, Bye.ANSWERED)
        # TTFB from the first spoken packet: some 280 ms of speech, and the quiet that tells the agent that it is over.
        assert 250 + QUIET_MS <= delay_ms <= 3000
        assert (spec.incoming is not None) == (ours == "required")
        assert (stats.packets_lost, stats.packets_discarded, stats.send_errors) == (0, 0, 0)
        assert (edge.counts.lines.lost, edge.counts.lines.srtp_failures) == (0, 0)
        assert [digit for digit, _ in sessions.made[0].digits] == ["7"]
        assert sessions.made[0].turn >= 2
        # Told of the end, the relay says what it had between the two: all that each of them said.
        await relay.wrote("Final packet stats")
        legs = relayed(relay.log)
        assert sorted(leg.profile for leg in legs) == sorted([to_agent, to_caller])
        # What the agent says before kamailio has handed on its answer, with its keys, nobody can read.
        assert sum(leg.errors for leg in legs) <= (3 if "RTP/SAVP" in (to_agent, to_caller) else 0)
        (from_caller,) = [leg for leg in legs if leg.port == spec.remote[1]]
        (from_agent,) = [leg for leg in legs if leg is not from_caller]
        assert from_caller.packets >= stats.packets_sent
        assert from_agent.packets >= stats.packets_received > 50

    with rtpengine(tmp_path) as relay:
        asyncio.run(main())


async def stopped(heard):
    """Wait until the agent is heard to have said its say: what it says next is an onset of its own."""
    async with asyncio.timeout(20):
        while not isinstance(await heard.get(), AgentStopped):
            pass


@dataclass
class Leg:
    """What rtpengine counts of one party: RTP and RTCP that came to a port of its own."""

    profile: str
    port: int
    packets: int
    errors: int


def relayed(log):
    told = log.split("Final packet stats")[-1]
    found = re.findall(r"audio over (\S+)\) using.*\n.*Port +127\.0\.0\.1:(\d+) <>.*?, (\d+) p, \d+ b, (\d+) e", told)
    return [Leg(profile, *map(int, numbers)) for profile, *numbers in found]
