"""Set-up between two peers of ours: keys agree, ports are shared where they can be, failures say why."""

import asyncio

import pytest
from peer_pair import ends, keys_agree, until

from harness.media.peer import ice, link
from harness.media.peer.connected import DtlsError, IceError
from harness.media.peer.source_ports import Answers
from harness.model.errors import RemoteProtocolError, ScenarioError

pytestmark = pytest.mark.loopback

PROFILES = ["SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM", "SRTP_AES128_CM_SHA1_80"]


@pytest.mark.parametrize("profile", PROFILES)
def test_keys_agree_in_each_profile(profile):
    async def scenario():
        async with ends(agent_profiles=[profile]) as both:
            ours, theirs, ours_media, theirs_media = await both.pair()
            assert (ours_media.srtp_profile, theirs_media.srtp_profile) == (profile, profile)
            assert keys_agree(ours_media, theirs_media)
            assert (ours_media.remote, theirs_media.remote) == (theirs_media.port.address, ours_media.port.address)
            assert (ours_media.remote_ssrc, theirs_media.remote_ssrc) == (theirs.ssrc, ours.ssrc)
            assert ours_media.candidate_types == ("host", "host")

    asyncio.run(scenario())


def test_an_unknown_profile_names_the_legal_ones():
    async def scenario():
        async with ends(caller_profiles=["SRTP_NULL"]):
            pass

    with pytest.raises(ScenarioError, match="'SRTP_NULL' is unknown; legal: SRTP_AEAD_AES_128_GCM"):
        asyncio.run(scenario())


def test_calls_connect_over_ipv6():
    async def scenario():
        async with ends() as both:
            *_, ours, theirs = await both.pair({"address": "::1"}, {"address": "::1"})
            assert keys_agree(ours, theirs)

    asyncio.run(scenario())


def test_a_caller_that_is_active_is_answered_passively():
    async def scenario():
        async with ends() as both:
            ours = both.offer()
            theirs = both.answer(ours.offer_sdp.replace("actpass", "active"))
            assert "a=setup:passive" in theirs.answer_sdp
            ours.accept(theirs.answer_sdp)
            assert keys_agree(*await asyncio.gather(ours.connect(30), theirs.connect(30)))

    asyncio.run(scenario())


# --- ports ---------------------------------------------------------------------------------------------------------


def test_a_target_with_a_port_for_each_call_is_called_from_one_port():
    async def scenario():
        async with ends() as both:
            pairs = [await both.pair() for _ in range(8)]
            assert all(keys_agree(ours, theirs) for *_, ours, theirs in pairs)
            ports = [ours.port.address for *_, ours, theirs in pairs]
            # The first two find out what the target does.
            assert len(set(ports[:3])) == 3
            assert len(set(ports[2:])) == 1

    asyncio.run(scenario())


def test_a_target_behind_a_mux_is_called_from_a_port_for_each_call():
    async def scenario():
        async with ends() as both:
            pairs = [await both.pair(None, {"source_ports": "shared"}) for _ in range(4)]
            assert all(keys_agree(ours, theirs) for *_, ours, theirs in pairs)
            assert len({theirs.port.address for *_, theirs in pairs}) == 1
            assert len({ours.port.address for *_, ours, theirs in pairs}) == 4

    asyncio.run(scenario())


def test_a_call_that_meets_another_s_address_on_a_shared_port_moves_to_one_of_its_own():
    """Two muxes behind one URL: the agent learns of the new port by our checks, as behind a NAT."""

    async def scenario():
        async with ends() as both:
            first = await both.pair({"source_ports": "shared"})
            address = first[2].remote
            ours = both.offer(source_ports="shared")
            theirs = both.answer(ours.offer_sdp)
            # What came from the first call's address before is not ours to give away.
            shared = both.caller.shared_port("127.0.0.1")
            own = theirs.link.ice.candidates[0]
            assert shared.claim((own.host, own.port), object())
            ours.accept(theirs.answer_sdp)
            media = await asyncio.gather(ours.connect(30), theirs.connect(30))
            assert keys_agree(*media)
            assert media[0].port.address != shared.address
            assert first[2].port.address == shared.address
            assert address in shared.claims

    asyncio.run(scenario())


def test_closed_peers_leave_no_trace_on_a_shared_port():
    async def scenario():
        async with ends() as both:
            pairs = [await both.pair({"source_ports": "shared"}) for _ in range(3)]
            (port,) = both.caller._shared["127.0.0.1"]
            assert len(port.owners) == 3
            for ours, theirs, *_ in pairs:
                ours.close()
                theirs.close()
            assert (port.owners, port.checks, port.claims) == ({}, {}, {})
            assert both.caller.source_ports.answers("http://agent/offer") is Answers.FROM_A_PORT_EACH
            assert not both.caller.source_ports._targets["http://agent/offer"].live

    asyncio.run(scenario())


def test_five_hundred_calls_at_once_all_connect():
    async def scenario():
        async with ends() as both:
            pairs = await asyncio.gather(*(both.pair({"source_ports": "shared"}) for _ in range(500)))
            assert all(keys_agree(ours, theirs) for *_, ours, theirs in pairs)
            assert len(both.caller_ports.ports) == 1

    asyncio.run(scenario())


# --- bad networks and bad peers ------------------------------------------------------------------------------------


# One lost flight of a handshake costs a second (RFC 6347 4.2.4.1).
@pytest.mark.parametrize(("kind", "count"), [("stun", 3), ("dtls", 1)])
def test_lost_datagrams_are_sent_again(kind, count):
    async def scenario():
        async with ends() as both:
            ours = both.offer()
            theirs = both.answer(ours.offer_sdp)
            lost = []

            def loses(data):
                is_kind = (data[0] < 4) == (kind == "stun")
                if is_kind and len(lost) < count:
                    lost.append(data)
                    return True
                return False

            for port in both.caller_ports.ports + both.agent_ports.ports:
                port.loses = loses
            ours.accept(theirs.answer_sdp)
            assert keys_agree(*await asyncio.gather(ours.connect(30), theirs.connect(30)))
            assert len(lost) == count

    asyncio.run(scenario())


def test_an_agent_that_answers_no_check_is_named_with_what_was_tried():
    async def scenario():
        async with ends() as both:
            ours = both.offer()
            theirs = both.answer(ours.offer_sdp)
            for port in both.agent_ports.ports:
                port.loses = lambda data: True
            ours.accept(theirs.answer_sdp)
            host, port = theirs.link.ice.candidates[0].host, theirs.link.ice.candidates[0].port
            with pytest.raises(IceError, match=rf"within 0 s: 127.0.0.1 -> {host}:{port} in progress"):
                await ours.connect(0.1)

    asyncio.run(scenario())


def test_a_wrong_ice_password_fails_ice():
    async def scenario():
        async with ends() as both:
            ours = both.offer()
            theirs = both.answer(ours.offer_sdp)
            ours.accept(theirs.answer_sdp.replace(theirs.link.ice.password, "0" * 32))
            with pytest.raises(IceError, match="in progress"):
                await ours.connect(0.3)

    asyncio.run(scenario())


def test_an_answer_with_names_only_says_that_it_has_no_usable_candidate():
    async def scenario():
        async with ends() as both:
            ours = both.offer()
            # The agent checks the other call, not ours.
            theirs = both.answer(both.offer().offer_sdp)
            ours.accept(theirs.answer_sdp.replace("127.0.0.1", "1b2c.local"))
            with pytest.raises(IceError, match="no usable candidate"):
                await ours.connect(0.1)

    asyncio.run(scenario())


def test_a_certificate_that_is_not_the_announced_one_fails_dtls():
    async def scenario():
        async with ends() as both:
            ours = both.offer()
            theirs = both.answer(ours.offer_sdp)
            digest = both.agent.identity.fingerprint[1]
            ours.accept(
                theirs.answer_sdp.replace(digest, "00:" + digest[3:] if digest[:2] != "00" else "01" + digest[2:])
            )
            with pytest.raises(DtlsError, match="does not match the sha-256 fingerprint"):
                await ours.connect(30)

    asyncio.run(scenario())


def test_peers_without_a_common_profile_fail_dtls():
    async def scenario():
        async with ends(caller_profiles=PROFILES[:1], agent_profiles=PROFILES[1:2]) as both:
            with pytest.raises(DtlsError, match="SRTP profile"):
                await both.pair()

    asyncio.run(scenario())


def test_a_peer_that_says_goodbye_is_heard_once():
    async def scenario():
        async with ends() as both:
            said = []
            ours, theirs, *_ = await both.pair({"on_closed": said.append})
            theirs.close()
            await until(lambda: said)
            ours.close()
            theirs.close()
            assert said == ["the agent closed the connection (DTLS close_notify)"]

    asyncio.run(scenario())


def test_consent_is_asked_for_and_its_loss_is_told(monkeypatch):
    monkeypatch.setattr(ice, "CONSENT_INTERVAL_S", 0.02)
    monkeypatch.setattr(ice, "CONSENT_LOST_S", 0.4)

    async def scenario():
        async with ends() as both:
            said, asked = [], []
            _, theirs, ours_media, _ = await both.pair({"on_closed": said.append})
            ours_media.port.loses = lambda data: asked.append(data) and False
            await until(lambda: len(asked) >= 10)
            assert not said
            for port in both.agent_ports.ports:
                port.loses = lambda data: True
            await until(lambda: said)
            assert said == ["the agent stopped answering consent checks (RFC 7675)"]
            assert theirs.link.ice.selected is not None

    asyncio.run(scenario())


def test_two_controlling_sides_settle_it_by_their_tie_breakers():
    async def scenario():
        async with ends() as both:
            ours = both.offer()
            theirs = both.answer(ours.offer_sdp.replace("s=-\r\n", "s=-\r\na=ice-lite\r\n"))
            ours.accept(theirs.answer_sdp)
            assert keys_agree(*await asyncio.gather(ours.connect(30), theirs.connect(30)))
            assert ours.link.ice._is_controlling != theirs.link.ice._is_controlling

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a=sendrecv", "a=sendonly", r"does not accept our audio \(its audio is sendonly\)"),
        ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 telephone-event/8000", r"shares no codec with ours .*opus/48000/2"),
        ("m=audio ", "m=video ", "no m=audio"),
    ],
)
def test_an_unusable_answer_says_why(old, new, said):
    async def scenario():
        async with ends() as both:
            ours = both.offer()
            theirs = both.answer(ours.offer_sdp)
            with pytest.raises(RemoteProtocolError, match=said):
                ours.accept(theirs.answer_sdp.replace(old, new))

    asyncio.run(scenario())


def test_datagrams_from_strangers_change_nothing():
    async def scenario():
        async with ends() as both:
            ours = both.offer(source_ports="shared")
            port = both.caller._shared["127.0.0.1"][0]
            for data in (b"", b"\x00" * 20, bytes(range(64)), b"\x16" * 40, b"\x80" * 12):
                port._arrived(data, ("127.0.0.1", 9), 0)
            theirs = both.answer(ours.offer_sdp)
            ours.accept(theirs.answer_sdp)
            assert keys_agree(*await asyncio.gather(ours.connect(30), theirs.connect(30)))
            assert link._MOST_EARLY == 8

    asyncio.run(scenario())
