"""Our WebRTC caller and Pion's echo server: each SRTP profile, many calls from one port, and a UDP mux."""

import asyncio
import urllib.request

import pytest
from interop_call import PROFILES, assert_good, callers, one_call, talk
from pion_server import build, serving

from harness.callers.setup_failure import SetupFailure
from harness.model.records import Cause

# Pion's srtp 2.0 has the other two.
PION_LACKS = "SRTP_AEAD_AES_256_GCM"
pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    return build(tmp_path_factory.mktemp("pion"))


@pytest.fixture(scope="module")
def url(binary):
    with serving(binary) as url:
        yield url


@pytest.mark.parametrize("profile", [p for p in PROFILES if p != PION_LACKS])
def test_a_call_talks_and_listens(url, profile):
    assert_good(one_call(url, profile))


def test_a_whip_call_talks_and_leaves_no_session(url):
    whip = url.replace("/offer", "/whip")
    assert_good(one_call(whip, dialect="whip"))
    with urllib.request.urlopen(whip) as reply:
        assert reply.read() == b"0"


def test_a_profile_that_pion_lacks_fails_the_handshake_and_says_so(url):
    with pytest.raises(SetupFailure, match=r"the DTLS handshake failed: .*insufficient security") as failed:
        one_call(url, PION_LACKS)
    assert failed.value.cause is Cause.DTLS_FAILED


def several(url, count, **target):
    """Hold `count` calls at once, each begun while the ones before it live; returns what each saw, and its port."""

    async def scenario():
        async with callers() as ours:
            up = []
            try:
                for i in range(count):
                    up.append(ours.caller(url, f"call-{i}", **target))
                    await ours.connect(up[-1])
                ports = [caller._peer.link.ice.selected.port.address for caller in up]
                return await asyncio.gather(*(talk(caller) for caller in up)), ports
            finally:
                for caller in up:
                    await caller.close()

    return asyncio.run(scenario())


def test_calls_share_a_port_once_pion_is_known_to_have_one_for_each(url):
    seen, ports = several(url, 6)
    for each in seen:
        assert_good(each)
    assert len(set(ports)) == 3


def test_calls_to_a_mux_have_a_port_each(binary):
    with serving(binary, "mux") as url:
        seen, ports = several(url, 4)
    for each in seen:
        assert_good(each)
    assert len(set(ports)) == 4
