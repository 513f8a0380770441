"""What this machine has run out of is its own failure, whichever step of a set-up met it."""

import asyncio
import errno
import os

import aiohttp
import pytest
from rtp_agent import RtpAgent
from rtp_bench import Bench

from harness.callers import addresses, audio_leg, http_signalling, sdp_signalling
from harness.callers.audio_leg import format_of
from harness.callers.exhaustion import raise_if_ours
from harness.callers.http_exchange import Requests
from harness.callers.setup_failure import SetupFailure
from harness.media.codecs import PCMU
from harness.model.errors import GeneratorError
from harness.model.plan import TargetSpec
from harness.model.records import Cause

pytestmark = pytest.mark.loopback

TARGET = TargetSpec("http://127.0.0.1:9/call")
OURS = ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL")


def failing(number):
    def fail(*_args):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("name", OURS)
def test_exhaustion_is_ours_and_named(name):
    with pytest.raises(GeneratorError, match=rf"connecting to x: .*\({name}\)"):
        raise_if_ours(OSError(getattr(errno, name), "said the kernel"), "connecting to x")


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ENETUNREACH, errno.EINVAL, None])
def test_everything_else_stays_the_targets(number):
    raise_if_ours(OSError(number, "refused"), "connecting to x")


@pytest.mark.parametrize("signalling", [http_signalling.exchange, sdp_signalling.offer])
@pytest.mark.parametrize(("number", "expected"), [(errno.EMFILE, GeneratorError), (errno.ECONNREFUSED, SetupFailure)])
def test_signalling_tells_our_exhaustion_from_a_closed_port(signalling, number, expected, monkeypatch):
    async def main():
        async def start_connection(*_args, **_named):
            failing(number)()

        monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", start_connection)
        async with aiohttp.ClientSession() as http:
            with pytest.raises((GeneratorError, SetupFailure)) as caught:
                await signalling(Requests(http, TARGET), "v=0", "call-1", 5.0)
        assert caught.type is expected, caught.value

    asyncio.run(main())


@pytest.mark.parametrize("url", ["rtp://127.0.0.1:9", "http://127.0.0.1:9/call"])
def test_no_socket_to_probe_the_way_with_is_ours(url, monkeypatch):
    async def main():
        async with Bench() as bench:
            monkeypatch.setattr(addresses, "local_address_towards", failing(errno.EMFILE))
            with pytest.raises(GeneratorError, match="EMFILE"):
                await bench.connect(url, codec="PCMU")
            monkeypatch.setattr(addresses, "local_address_towards", failing(errno.ENETUNREACH))
            with pytest.raises(SetupFailure, match="no way to"):
                await bench.connect(url, codec="PCMU")

    asyncio.run(main())


def test_no_socket_to_check_the_answers_address_with_is_ours(monkeypatch):
    async def main():
        async with Bench() as bench, RtpAgent([format_of(PCMU)]) as agent:
            monkeypatch.setattr(audio_leg, "check_reachable", failing(errno.ENFILE))
            with pytest.raises(GeneratorError, match="ENFILE"):
                await bench.connect(agent.url, codec="PCMU")
            monkeypatch.setattr(audio_leg, "check_reachable", failing(errno.EHOSTUNREACH))
            with pytest.raises(SetupFailure) as caught:
                await bench.connect(agent.url, codec="PCMU")
            assert caught.value.cause is Cause.SIGNALLING_REFUSED

    asyncio.run(main())
