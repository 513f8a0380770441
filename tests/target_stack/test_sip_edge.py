"""The agent on a SIP trunk, called by the harness's own user agent over loopback."""

import asyncio
import json
import subprocess

import pytest
from edge_peer import Sessions, rms, until
from rtp_peer import in_packets
from sip_peer import SipClient, running_sip_edge

from harness.media.codecs import CODECS, OPUS, PCMU
from harness.media.sdes_srtp import outgoing_session
from harness.model.clock import monotonic_ns
from harness.protocols import dtmf
from harness.protocols.audio_sdp import Format
from harness.protocols.sip import events
from harness.signalling.tls import client_context
from target_stack.edge.agent_call import CallLimits, EndReason
from target_stack.edge.caller_audio import CallerAudio
from target_stack.readiness import Readiness

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of localhost and its key."""
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True)
    return paths


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_conversation(transport, certificate):
    tls = client_context(certificate[0]) if transport == "tls" else None
    served = {"tls_port": 0, "certificate": certificate[0], "key": certificate[1], "port": None} if tls else {}

    async def scenario():
        sessions = Sessions(greeting_s=0.2)
        async with (
            running_sip_edge(sessions, **served) as (edge, address),
            SipClient(address, transport, tls) as client,
        ):
            call = await client.call(headers=(("X-Call-Id", "call-000007"),))
            assert call.answered.response.get("X-Call-Id") == "call-000007"
            assert call.answered.response.get("X-Callquake-Events").startswith("ws://127.0.0.1:1/calls/")
            await until(lambda: sessions.made and ("drained", 0) in sessions.made[0].playout, "greeted")
            call.speak(in_packets(PCMU))
            for _ in range(15):
                call.speak([PCMU.silence])
                await asyncio.sleep(0.02)
            (session,) = sessions.made
            await until(lambda: ("drained", 1) in session.playout, "answered")
            assert session.call_id == "call-000007"
            assert 0.35 < session.loud_samples / 16_000 < 0.45
            assert edge.counts.active_calls == 1
            call.hang_up()
            await until(lambda: session.closes == 1, "closed")
            await client.until(events.Ended, call)
            await until(lambda: not edge.counts.active_calls, "the place is free")
        packets = call.media.packets()
        heard = [CallerAudio(PCMU).take(p.sequence, p.timestamp, p.payload) for p in packets]
        assert sum(rms(part) > 1000 for part in heard) >= 20
        assert (edge.counts.answers, edge.counts.calls_ended) == ({200: 1}, {EndReason.PEER_LEFT: 1})
        assert edge.counts.lines.heard == 35

    asyncio.run(scenario())


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_every_codec_with_srtp(codec):
    form = Format(codec.payload_type, codec.name, codec.clock_rate, 2 if codec is OPUS else 1)

    async def scenario():
        sessions = Sessions()
        async with (
            running_sip_edge(sessions) as (_, address),
            SipClient(address, formats=[form], srtp="required") as client,
        ):
            call = await client.call()
            protect = outgoing_session(call.agreed.outgoing).protect
            await until(lambda: sessions.made and sessions.made[0].playout, "greeting")
            for index, payload in enumerate(in_packets(codec)):
                at = index * codec.ticks_per_packet
                call.media.send(call.remote, codec.payload_type, payload, timestamp=at, protect=protect)
            await until(lambda: sessions.made[0].loud_samples > 0.35 * 16_000, "heard")

    asyncio.run(scenario())


def test_call_n_plus_1_is_refused_and_the_n_are_kept():
    async def scenario():
        sessions = Sessions(greeting_s=0.05)
        async with running_sip_edge(sessions, trunk_calls=3, retry_after_s=7) as (edge, address):
            async with SipClient(address) as client:
                calls = [await client.call() for _ in range(3)]
                refused = await client.dial()
                failed = await client.until(events.Failed, refused)
                assert (failed.status, failed.retry_after_s, failed.cause) == (503, 7, "response")
                client.request("OPTIONS")
                told = await client.until(events.RequestAnswered)
                assert (told.status, told.response.get("X-Callquake-Trunk")) == (503, "active=3;limit=3")
                await until(lambda: sum(bool(s.playout) for s in sessions.made) == 3, "three greetings")
                for call in calls:
                    call.speak(in_packets(PCMU, 0.2))
                await until(lambda: all(s.loud_samples > 2500 for s in sessions.made), "the three still talk")
                calls[0].hang_up()
                await until(lambda: edge.counts.active_calls == 2, "a place free")
                client.request("OPTIONS")
                told = await client.until(events.RequestAnswered, count=2)
                assert (told.status, "INVITE" in told.response.get("Allow")) == (200, True)
                await client.call()
                assert [len(client.ends(call)) for call in calls] == [1, 0, 0]
                await until(lambda: len(sessions.made) == 4, "the fourth session")
            assert len({s.call_id for s in sessions.made}) == 4
        assert edge.counts.answers == {200: 4, 503: 1}
        assert edge.counts.options == {503: 1, 200: 1}

    asyncio.run(scenario())


def test_shutting_down_says_bye_to_all_and_takes_no_new_call():
    async def scenario():
        sessions = Sessions()
        edge_context = running_sip_edge(sessions)
        edge, address = await edge_context.__aenter__()
        async with SipClient(address) as client:
            calls = [await client.call() for _ in range(3)]
            await until(lambda: sum(s.starts for s in sessions.made) == 3, "three sessions")
            closing = asyncio.create_task(edge_context.__aexit__(None, None, None))
            await asyncio.sleep(0)
            late = await client.dial()
            assert (await client.until(events.Failed, late)).status == 503
            ends = [await client.until(events.Ended, call) for call in calls]
            await closing
            assert {end.cause for end in ends} == {"remote"}
            assert all("shutting down" in end.reason_header for end in ends)
        assert [s.closes for s in sessions.made] == [1, 1, 1]
        assert edge.counts.calls_ended == {EndReason.SHUTDOWN: 3}

    asyncio.run(scenario())


def test_hold_and_resume_and_an_offer_without_a_common_codec():
    async def scenario():
        sessions = Sessions(greeting_s=5.0)
        async with running_sip_edge(sessions) as (edge, address), SipClient(address) as client:
            call = await client.call()
            await until(call.media.packets, "spoken to")
            call.leg.reinvite(call.audio.offer("sendonly").encode(), monotonic_ns())
            client.endpoint.flush()
            answered = await client.until(events.OfferAnswered, call)
            assert b"a=recvonly" in answered.body
            call.audio.accept(answered.body.decode())
            await asyncio.sleep(0.05)
            held = len(call.media.packets())
            await asyncio.sleep(0.15)
            assert len(call.media.packets()) == held
            call.leg.reinvite(call.audio.offer("sendrecv").encode(), monotonic_ns())
            client.endpoint.flush()
            await client.until(events.OfferAnswered, call, 2)
            await until(lambda: len(call.media.packets()) > held + 3, "resumed")
            call.leg.reinvite(answered.body.replace(b"PCMU/8000", b"GSM/8000"), monotonic_ns())
            client.endpoint.flush()
            assert (await client.until(events.OfferRefused, call)).status == 488
            before = len(call.media.packets())
            await until(lambda: len(call.media.packets()) > before + 3, "still talking")
            assert edge.counts.renegotiations == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("early_media", ["ringback", "greeting"])
def test_early_media_before_the_200(early_media):
    async def scenario():
        sessions = Sessions(greeting_s=0.3)
        async with (
            running_sip_edge(sessions, early_media=early_media, ring_s=0.3) as (_, address),
            SipClient(address) as client,
        ):
            call = await client.dial()
            await client.until(events.Answered, call)
            ringing = next(e for e in client.told(events.Provisional, call) if e.status == 183)
            assert b"m=audio" in ringing.body
            early = [p.payload for p in call.media.packets()]
            ear = CallerAudio(PCMU)
            levels = [rms(ear.take(index, index * 160, payload)) for index, payload in enumerate(early)]
            assert sum(level > 500 for level in levels) >= 10
            await until(lambda: sessions.made and ("drained", 0) in sessions.made[0].playout, "greeted")

    asyncio.run(scenario())


def test_a_caller_that_gives_up_while_it_rings():
    async def scenario():
        sessions = Sessions()
        async with (
            running_sip_edge(sessions, early_media="ringback", ring_s=5.0) as (edge, address),
            SipClient(address) as client,
        ):
            call = await client.dial()
            await until(call.media.packets, "ringing")
            call.hang_up()
            assert (await client.until(events.Failed, call)).cause == "cancelled"
            await until(lambda: not edge.counts.active_calls, "the place is free")
        assert edge.counts.calls_ended == {EndReason.CANCELLED: 1}
        assert not sessions.made

    asyncio.run(scenario())


def test_an_invite_without_an_offer_gets_ours():
    async def scenario():
        sessions = Sessions()
        async with running_sip_edge(sessions) as (_, address), SipClient(address) as client:
            call = await client.call(with_offer=False)
            assert call.agreed.form.name == "PCMU"
            await until(lambda: sessions.made and sessions.made[0].playout, "greeting")
            call.speak(in_packets(PCMU, 0.2))
            await until(lambda: sessions.made[0].loud_samples > 2500, "heard")

    asyncio.run(scenario())


def test_keys_by_rtp_and_by_info_reach_the_session():
    async def scenario():
        sessions = Sessions()
        async with running_sip_edge(sessions) as (edge, address), SipClient(address) as client:
            call = await client.call()
            await until(lambda: sessions.made and sessions.made[0].playout, "greeting")
            for is_end in (False, True, True, True):
                payload = dtmf.pack(dtmf.EventPacket(4, 800, is_end=is_end))
                call.media.send(call.remote, call.agreed.events_out, payload, timestamp=9)
            call.leg.info(b"Signal=#\r\nDuration=250\r\n", "application/dtmf-relay", monotonic_ns())
            client.endpoint.flush()
            await until(lambda: len(sessions.made[0].digits) == 2, "two keys")
            assert sorted(sessions.made[0].digits) == [("#", 250.0), ("4", 100.0)]
            assert edge.counts.digits == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("password", "status", "digest"),
    [("right", None, "md5"), ("right", None, "both"), ("wrong", 401, "sha-256"), (None, 401, "md5")],
    ids=["MD5", "SHA-256", "wrong", "none"],
)
def test_callers_are_challenged_where_there_are_users(password, status, digest):
    async def scenario():
        sessions = Sessions()
        auth = ("alice", password) if password else None
        async with (
            running_sip_edge(sessions, users={"alice": "right"}, digest=digest) as (_, address),
            SipClient(address, auth=auth) as client,
        ):
            if status is None:
                call = await client.call()
                assert call.leg.challenges == 1
                await until(lambda: sessions.made, "a session")
            else:
                assert (await client.until(events.Failed, await client.dial())).status == status
        assert len(sessions.made) == (status is None)

    asyncio.run(scenario())


def test_offers_that_cannot_be_answered():
    async def scenario():
        sessions = Sessions()
        async with running_sip_edge(sessions, srtp="off") as (edge, address):
            async with SipClient(address, formats=[Format(3, "GSM", 8000)]) as client:
                failed = await client.until(events.Failed, await client.dial())
                assert failed.status == 488
                assert "no common codec" in failed.response.get("Warning")
            async with SipClient(address, srtp="required") as client:
                assert (await client.until(events.Failed, await client.dial())).status == 488
            await until(lambda: not edge.counts.active_calls, "places free")
        assert not sessions.made
        assert edge.counts.calls_ended == {EndReason.REFUSED: 2}

    asyncio.run(scenario())


def test_before_the_models_are_loaded_calls_are_refused():
    loading = Readiness(ready=False, stages={"stt": "loading"}, description={})

    async def scenario():
        async with running_sip_edge(Sessions(), readiness=loading) as (_, address), SipClient(address) as client:
            failed = await client.until(events.Failed, await client.dial())
            assert (failed.status, failed.retry_after_s) == (503, 5)

    asyncio.run(scenario())


def test_a_caller_that_falls_silent_gets_a_bye_and_one_on_hold_does_not():
    async def scenario():
        sessions = Sessions()
        limits = CallLimits(media_silence_s=0.4)
        async with running_sip_edge(sessions, limits=limits) as (edge, address), SipClient(address) as client:
            call = await client.call()
            call.leg.reinvite(call.audio.offer("inactive").encode(), monotonic_ns())
            client.endpoint.flush()
            call.audio.accept((await client.until(events.OfferAnswered, call)).body.decode())
            await asyncio.sleep(0.8)
            assert not client.ends(call)
            call.leg.reinvite(call.audio.offer("sendrecv").encode(), monotonic_ns())
            client.endpoint.flush()
            ended = await client.until(events.Ended, call)
            assert (ended.cause, "no RTP" in ended.reason_header) == ("remote", True)
        assert edge.counts.calls_ended == {EndReason.MEDIA_LOST: 1}

    asyncio.run(scenario())


def test_a_fatal_stage_failure_ends_the_call():
    async def scenario():
        sessions = Sessions()
        async with running_sip_edge(sessions) as (edge, address), SipClient(address) as client:
            call = await client.call()
            await until(lambda: sessions.made and sessions.made[0].playout, "greeting")
            sessions.made[0].fail()
            assert "cause=500" in (await client.until(events.Ended, call)).reason_header
        assert edge.counts.calls_ended == {EndReason.STAGE_FAILED: 1}

    asyncio.run(scenario())


def test_options_tell_a_harness_what_is_simulated():
    partly = Readiness(ready=True, stages={"llm": "ready"}, description={"llm": "script"}, simulated=("llm: scripted",))

    async def scenario():
        async with (
            running_sip_edge(Sessions(), readiness=partly, trunk_calls=2) as (_, address),
            SipClient(address) as client,
        ):
            client.request("OPTIONS", (("Accept", "application/sdp, application/json"),))
            answered = await client.until(events.RequestAnswered)
            health = json.loads(answered.response.body)
            assert (health["simulated"], health["max_calls"]) == (["llm: scripted"], 2)

    asyncio.run(scenario())
