"""Real calls over loopback, through SIP, WebRTC and a media stream, with scripted stages behind the rules."""

import asyncio
import contextlib
from datetime import timedelta

import numpy as np
import pytest
from compliance_call import HEARD, RULES, Guarded
from edge_peer import Client, running_edge, until
from rtp_peer import in_packets
from sip_peer import SipClient, running_sip_edge

from harness.media.codecs import PCMU
from harness.protocols.sip import events
from target_stack.compliance.office import utc_now
from target_stack.compliance.recording.recording import AGENT_FILE, CALLER_FILE
from target_stack.compliance.rules import shipped_rules
from target_stack.compliance.session import GuardedSession
from target_stack.compliance.trail import What
from target_stack.edge import sdp_offers
from target_stack.edge.call_facts import facts_from_headers, facts_from_parameters
from target_stack.frames import CallFacts
from target_stack.pipeline.session import Stages
from target_stack.stages.llm import ScriptedLlm

pytestmark = pytest.mark.loopback


class Sessions:
    """The factory of guarded sessions, as the app makes them."""

    def __init__(self, bench):
        self.bench = bench
        self.made = []

    def __call__(self, call_id, sink):
        stages = Stages(self.bench.new_vad, self.bench.stt, ScriptedLlm([]), self.bench.tts)
        session = GuardedSession(
            call_id, sink, office=self.bench.office, sessions=self.bench.agent, stages=stages, rules=RULES
        )
        self.made.append(session)
        return session

    def is_asking(self):
        return any(s._opening.ear is not None and s._opening.ear._is_open for s in self.made)


def run(folder, scenario, **options):
    async def main():
        async with asyncio.timeout(30), Guarded(folder, **options) as bench:
            await scenario(bench, Sessions(bench))
        return bench

    return asyncio.run(main())


def trail(bench):
    with contextlib.closing(bench.store()) as store:
        return [(row.what, row.about) for row in store.trail(None, utc_now() + timedelta(days=1))]


async def keep_talking(call):
    """RTP of a tone, a packet each 20 ms, until cancelled."""
    while True:
        for payload in in_packets(PCMU):
            call.media.send(call.remote, 0, payload)
            await asyncio.sleep(0.02)


def headers(region, caller="+13125550100"):
    return (("X-Callquake-Region", region), ("X-Callquake-Caller", caller))


@pytest.mark.parametrize(("key", "is_stored"), [("1", True), ("2", False)])
def test_a_sip_call_is_asked_and_stored_only_after_a_yes(tmp_path, key, is_stored):
    async def scenario(bench, sessions):
        async with running_sip_edge(sessions) as (edge, address), SipClient(address) as client:
            call = await client.call(headers=headers("US-CA"))
            talking = asyncio.create_task(keep_talking(call))
            await until(sessions.is_asking, "asked")
            assert not (tmp_path / "calls").exists()
            sessions.made[0].push_digit(key, 100, 0)
            await until(lambda: sessions.made[0]._is_fed, "let in")
            await asyncio.sleep(0.2)
            talking.cancel()
            call.hang_up()
            await until(lambda: edge.counts.active_calls == 0, "over")

    bench = run(tmp_path, scenario)
    files = {path.name: path.stat().st_size for path in (tmp_path / "calls").rglob("*.wav")}
    assert set(files) == ({CALLER_FILE, AGENT_FILE} if is_stored else set())
    if is_stored:
        assert files[CALLER_FILE] > 44 + 3200
    assert (What.PLAYED, "ai_disclosure") in trail(bench)
    assert ((What.BEGAN, "record") in trail(bench)) == is_stored


def test_a_sip_call_that_may_not_be_processed_is_ended_with_its_reason(tmp_path):
    async def scenario(_, sessions):
        async with running_sip_edge(sessions) as (edge, address), SipClient(address) as client:
            call = await client.call(headers=headers("DE"))
            talking = asyncio.create_task(keep_talking(call))
            ended = await client.until(events.Ended, call)
            talking.cancel()
            assert ended.cause == "remote"
            await until(lambda: edge.counts.active_calls == 0, "over")
            assert edge.counts.calls_ended == {"consent_missing": 1}

    bench = run(tmp_path, scenario, asks=1)
    assert (bench.vads, bench.stt.heard) == (0, [])
    assert not (tmp_path / "calls").exists()
    assert (What.DECLINED, "process") in trail(bench)


def test_a_sip_caller_is_known_by_the_from_header():
    facts = facts_from_headers({"X-Callquake-Region": " us-ca "}.get, "alice")
    assert facts == CallFacts("alice", {"region": "us-ca"})
    named = facts_from_headers({"X-Callquake-Caller": "+1312"}.get, "alice")
    assert named == CallFacts("+1312", {})
    assert facts_from_parameters({"region": "DE", "caller": 7, "other": "x"}) == CallFacts("", {"region": "DE"})
    assert shipped_rules().known(facts.parameters["region"]) == "US-CA"


def test_whip_headers_reach_the_call_as_parameters_do():
    class Request:
        headers = {"X-Callquake-Region": "DE", "X-Callquake-Caller": "anna", "X-Call-Id": "whip-1"}  # noqa: RUF012 - read only
        content_type = "application/sdp"

        async def read(self):
            return b"v=0"

    offer = asyncio.run(sdp_offers._offer(Request()))
    assert offer.request_data == {"region": "DE", "caller": "anna", "call_id": "whip-1"}
    assert facts_from_parameters(offer.request_data) == CallFacts("anna", {"region": "DE"})


@pytest.mark.parametrize(("dies", "is_played"), [(False, True), (True, False)])
def test_over_webrtc_the_disclosure_is_played_when_its_last_packet_left(tmp_path, dies, is_played):
    async def scenario(bench, sessions):
        if dies:
            # Long enough to hang up in the middle of it.
            bench.tts.synthesise = slow(bench.tts.synthesise)
            bench.office._speech.clear()
        data = {"region": "US-TX", "caller": "+13125550100", "call_id": "web-1"}
        async with running_edge(sessions) as (edge, url), Client(url, request_data=data) as client:
            await client.until_heard(2)
            if not dies:
                await until(lambda: sessions.made and sessions.made[0]._is_fed, "let in")
                client.speak(0.4)
                await until(lambda: bench.stt.heard, "understood")
            await client.pc.close()
            await until(lambda: edge.counts.active_calls == 0, "over")

    bench = run(tmp_path, scenario)
    assert ((What.PLAYED, "ai_disclosure") in trail(bench)) == is_played
    assert ((What.NOT_PLAYED, "ai_disclosure") in trail(bench)) == (not is_played)
    assert bool(bench.stt.heard) == is_played
    words = [path.read_text() for path in (tmp_path / "calls").rglob("transcript.jsonl")]
    assert any(HEARD in text for text in words) == is_played


def slow(synthesise):
    async def longer(text):
        speech = await synthesise(text)
        return type(speech)(np.tile(speech.samples, 100), 0.0, 0.0)

    return longer
