"""Our WebRTC caller through coturn: relayed over UDP, TCP and TLS, to our own edge and to a stock aiortc server."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from coturn import PASSWORD, USER, free_port, running_coturn
from edge_peer import Sessions, running_edge
from interop_call import callers, talk, until

from harness.callers.exchange import Disconnected
from harness.callers.setup_failure import SetupFailure
from harness.media.events import MediaLost
from harness.model.plan import IceServer, IceSpec
from harness.model.records import Cause

pytestmark = pytest.mark.peer

TRANSPORTS = ["udp", "tcp", "tls"]


@pytest.fixture(scope="module")
def coturn():
    with running_coturn() as server:
        yield server


@pytest.fixture(scope="module")
def aiortc_url():
    words = [sys.executable, str(Path(__file__).with_name("aiortc_echo.py"))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def relay_only(*urls, user=USER, password=PASSWORD, ca=None):
    return IceSpec("relay", (IceServer(urls, user, password),), ca)


async def gone(peers):
    await until(lambda: not peers._relays, "let go of every allocation")


async def relayed_call(url, ice, **target):
    """Call once; returns what the call saw and the relay's part in it, all of it released."""
    async with callers() as ours:
        caller = ours.caller(url, ice=ice, **target)
        try:
            await ours.connect(caller)
            seen = await talk(caller)
            return seen, caller.relay
        finally:
            await caller.close()
            await gone(ours.peers)


def assert_relayed(seen, used, url, transport):
    assert seen.heard
    assert seen.spoken
    assert seen.candidate_types == ("relay", "host")
    assert seen.stats.packets_received > 20
    assert (seen.stats.packets_discarded, seen.stats.send_errors) == (0, 0)
    assert seen.stats.round_trip_ms is not None
    assert seen.setup.gather_ms > 0
    assert used.server == url
    assert used.bridge_dropped == 0
    if transport == "udp":
        assert used.bridge_mean_ms is None
    else:
        assert 0 < used.bridge_mean_ms <= used.bridge_max_ms


@pytest.mark.parametrize("dialect", ["json", "pipecat"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_relay_only_call_to_our_edge_completes(coturn, transport, dialect):
    async def scenario():
        async with running_edge(Sessions(greeting_s=0.4)) as (_, base):
            ice = relay_only(coturn.url(transport), ca=coturn.ca)
            return await relayed_call(f"{base}/api/offer", ice, dialect=dialect)

    released = coturn.log.count("refreshed")
    assert_relayed(*asyncio.run(scenario()), coturn.url(transport), transport)
    # RFC 8656 7.2: with a lifetime of zero, and not by a time-out.
    coturn.logged("lifetime=0", 1)
    assert coturn.log.count("refreshed") > released


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_relay_only_call_to_stock_aiortc_completes(coturn, aiortc_url, transport):
    ice = relay_only(coturn.url(transport), ca=coturn.ca)
    assert_relayed(*asyncio.run(relayed_call(aiortc_url, ice)), coturn.url(transport), transport)


def test_calls_at_once_have_an_allocation_each(coturn):
    async def scenario():
        async with running_edge(Sessions(greeting_s=0.4)) as (_, base), callers() as ours:
            made = [
                ours.caller(f"{base}/api/offer", f"c{i}", ice=relay_only(coturn.url(t), ca=coturn.ca))
                for i, t in enumerate(TRANSPORTS * 2)
            ]
            await asyncio.gather(*(ours.connect(caller) for caller in made))
            assert len(ours.peers._relays) == 6
            seen = await asyncio.gather(*(talk(caller) for caller in made))
            await gone(ours.peers)
            return seen

    for seen in asyncio.run(scenario()):
        assert seen.heard
        assert seen.candidate_types == ("relay", "host")


def test_a_direct_way_is_taken_where_there_is_one_and_the_allocation_given_back(coturn):
    async def scenario():
        async with running_edge(Sessions(greeting_s=0.4)) as (_, base), callers() as ours:
            servers = (IceServer((f"stun:127.0.0.1:{coturn.port}", coturn.url("udp")), USER, PASSWORD),)
            caller = ours.caller(f"{base}/api/offer", ice=IceSpec("all", servers))
            await ours.connect(caller)
            await gone(ours.peers)
            assert caller.relay is None
            seen = await talk(caller)
            assert seen.candidate_types == ("host", "host")

    asyncio.run(scenario())


def test_host_only_asks_nobody():
    async def scenario():
        async with running_edge(Sessions(greeting_s=0.4)) as (_, base):
            seen, used = await relayed_call(f"{base}/api/offer", IceSpec("host"))
            assert seen.candidate_types == ("host", "host")
            assert (used, seen.setup.gather_ms) == (None, None)

    asyncio.run(scenario())


def test_a_dead_server_beside_a_live_one_costs_a_little_time_only(coturn):
    async def scenario():
        async with running_edge(Sessions(greeting_s=0.4)) as (_, base):
            ice = relay_only(f"turn:127.0.0.1:{free_port()}?transport=udp", coturn.url("udp"))
            return await relayed_call(f"{base}/api/offer", ice)

    seen, used = asyncio.run(scenario())
    assert used.server == coturn.url("udp")
    assert seen.setup.gather_ms >= 2000


# --- calls that cannot be set up -------------------------------------------------------------------------------------


def failure(ice):
    """Return why a call cannot be set up."""

    async def scenario():
        async with running_edge(Sessions()) as (_, base), callers() as ours:
            caller = ours.caller(f"{base}/api/offer", ice=ice)
            try:
                with pytest.raises(SetupFailure) as failed:
                    await ours.connect(caller)
            finally:
                await caller.close()
            await gone(ours.peers)
            assert failed.value.cause is Cause.ICE_FAILED
            return failed.value.detail

    return asyncio.run(scenario())


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("account", [{"password": "wrong"}, {"user": "nobody"}], ids=["password", "user"])
def test_wrong_credentials_are_named(coturn, transport, account):
    detail = failure(relay_only(coturn.url(transport), ca=coturn.ca, **account))
    assert detail == f"no relay candidate: TURN {coturn.url(transport)} refused the credentials: 401 Unauthorized"


@pytest.mark.parametrize(
    ("transport", "words"), [("udp", "did not answer in time"), ("tcp", "cannot be connected to: Connection refused")]
)
def test_a_server_that_is_not_there_is_named(transport, words):
    url = f"turn:127.0.0.1:{free_port()}?transport={transport}"
    assert failure(relay_only(url)) == f"no relay candidate: TURN {url} {words}"


def test_a_server_that_hangs_is_named():
    with running_coturn() as server:
        server.process.send_signal(signal.SIGSTOP)
        for transport in TRANSPORTS:
            detail = failure(relay_only(server.url(transport), ca=server.ca))
            assert detail == f"no relay candidate: TURN {server.url(transport)} did not answer in time"


def test_a_certificate_that_is_not_trusted_is_named(coturn):
    detail = failure(relay_only(coturn.url("tls")))
    assert "has a certificate that is not trusted: self-signed certificate" in detail
    assert "ice.tls_ca" in detail


def test_a_certificate_for_another_host_is_named():
    with running_coturn(certified="192.0.2.1") as server:
        detail = failure(relay_only(server.url("tls"), ca=server.ca))
        assert "has a certificate that is not trusted: IP address mismatch" in detail


def test_a_name_that_cannot_be_resolved_is_named():
    detail = failure(relay_only("turn:nowhere.invalid"))
    assert "the name nowhere.invalid cannot be resolved" in detail


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["user-quota=1"], "has given this user all the allocations it may have: 486"),
        (["min-port=49970", "max-port=49970"], "has no relay port left: 508"),
    ],
    ids=["quota", "ports"],
)
def test_the_call_that_is_too_many_says_so_and_the_others_go_on(option, words):
    async def scenario(server, ice):
        async with running_edge(Sessions(greeting_s=0.4)) as (_, base), callers() as ours:
            first = ours.caller(f"{base}/api/offer", ice=ice)
            await ours.connect(first)
            second = ours.caller(f"{base}/api/offer", "second", ice=ice)
            with pytest.raises(SetupFailure, match=words):
                await ours.connect(second)
            await second.close()
            assert (await talk(first)).heard
            await gone(ours.peers)
            # What the first gave back, the next one gets, once coturn has swept up.
            await asyncio.to_thread(server.logged, "closed (2nd stage), user <load>")
            third = ours.caller(f"{base}/api/offer", "third", ice=ice)
            await ours.connect(third)
            await third.close()
            await gone(ours.peers)

    with running_coturn(*option) as server:
        asyncio.run(scenario(server, relay_only(server.url("udp"))))


# --- relays that go away in a call -----------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_connection_that_the_server_cuts_ends_the_call_at_once(transport):
    async def scenario(server):
        async with running_edge(Sessions(greeting_s=0.4)) as (_, base), callers() as ours:
            caller = ours.caller(f"{base}/api/offer", ice=relay_only(server.url(transport), ca=server.ca))
            await ours.connect(caller)
            server.process.kill()
            await until(lambda: [e for e in caller.events if isinstance(e, Disconnected)], "told")
            (told,) = [e for e in caller.events if isinstance(e, Disconnected)]
            assert told.cause is Cause.RELAY_LOST
            assert told.detail.startswith(f"the relay is gone: TURN {server.url(transport)} ")
            await caller.close()
            await gone(ours.peers)

    with running_coturn() as server:
        asyncio.run(scenario(server))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_hangs_in_a_call_is_noticed_by_the_media_watchdog(transport):
    async def scenario(server):
        async with running_edge(Sessions(greeting_s=0.4)) as (_, base), callers() as ours:
            caller = ours.caller(f"{base}/api/offer", ice=relay_only(server.url(transport), ca=server.ca))
            await ours.connect(caller)
            await until(lambda: caller.media.stats().packets_received > 10, "heard")
            server.process.send_signal(signal.SIGSTOP)
            await until(lambda: any(isinstance(e, MediaLost) for e in caller.events), "told")
            # Nobody answers the goodbye, and still nothing stays.
            await caller.close()
            await gone(ours.peers)

    with running_coturn() as server:
        asyncio.run(scenario(server))
