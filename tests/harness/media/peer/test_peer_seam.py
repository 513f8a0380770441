"""The seam into aiortc and aioice: every private name is used here, so a release that moves one fails loudly."""

import asyncio
import gc
import weakref
from importlib.metadata import version

import pytest
from peer_pair import ends, until

from harness.media.peer import seam
from harness.media.peer.seam import DataChannel
from harness.model.errors import GeneratorError

pytestmark = pytest.mark.loopback


def test_a_data_channel_carries_text_both_ways_and_ends_with_the_call():
    async def scenario():
        async with ends() as both:
            agent_heard, caller_heard, closed, opened = [], [], [], asyncio.Event()
            ours, theirs, *_ = await both.pair({"with_data": True}, {"on_message": agent_heard.append})
            assert ours.takes_data
            channel = ours.open_channel(opened.set, caller_heard.append, lambda: closed.append(True))
            await asyncio.wait_for(opened.wait(), 30)
            channel.send("hello agent")
            await until(lambda: agent_heard)
            theirs.channel.send("hello caller")
            await until(lambda: caller_heard)
            assert (agent_heard, caller_heard) == (["hello agent"], ["hello caller"])
            theirs.close()
            await until(lambda: closed)
            assert not channel.is_open

    asyncio.run(scenario())


def test_a_channel_of_ours_that_we_close_tells_nobody_here():
    async def scenario():
        async with ends() as both:
            closed, opened = [], asyncio.Event()
            ours, *_ = await both.pair({"with_data": True}, {"on_message": print})
            ours.open_channel(opened.set, print, lambda: closed.append(True))
            await asyncio.wait_for(opened.wait(), 30)
            ours.close()
            assert not closed

    asyncio.run(scenario())


class Listener:
    """Holds the channel that it listens to, as a call does."""

    def __init__(self, peer):
        self.is_open = asyncio.Event()
        self.channel = peer.open_channel(self.is_open.set, self.heard, self.closed)

    def heard(self, text):
        raise AssertionError(text)

    def closed(self):
        raise AssertionError


def test_who_listens_to_a_channel_is_not_left_to_the_collector():
    async def scenario():
        async with ends() as both:
            ours, *_ = await both.pair({"with_data": True}, {"on_message": print})
            listener = Listener(ours)
            await asyncio.wait_for(listener.is_open.wait(), 30)
            gc.disable()
            try:
                ours.close()
                listener = weakref.ref(listener)
                await asyncio.sleep(0)
                assert listener() is None
            finally:
                gc.enable()

    asyncio.run(scenario())


def test_an_offer_without_a_data_channel_has_no_section_for_it():
    async def scenario():
        async with ends() as both:
            ours, *_ = await both.pair()
            assert "m=application" not in ours.offer_sdp
            assert not ours.takes_data

    asyncio.run(scenario())


def test_addresses_for_aioice_are_those_chosen_here():
    import aioice.ice

    seam.use_host_addresses(["127.0.0.1", "::1"])
    assert aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=False) == ["127.0.0.1"]
    assert aioice.ice.get_host_addresses(use_ipv4=False, use_ipv6=True) == ["::1"]
    seam.use_host_addresses(None)
    assert "127.0.0.1" not in aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True)


def test_sctp_that_began_to_wait_would_be_noticed():
    async def scenario():
        async def waits():
            await asyncio.sleep(1)

        with pytest.raises(GeneratorError, match="versions have moved"):
            seam._finish(waits())

    asyncio.run(scenario())


def test_unproven_versions_are_refused(monkeypatch):
    seam.guard_versions()
    monkeypatch.setattr(seam, "PROVEN", {"aiortc": "9.9"})
    with pytest.raises(
        GeneratorError, match=rf"aiortc {version('aiortc')} is installed.*pip install 'aiortc==9\.9\.\*'"
    ):
        seam.guard_versions()


def test_a_closed_session_refuses_to_send():
    async def scenario():
        async with ends() as both:
            ours, *_ = await both.pair({"with_data": True})
            dtls = ours.link.dtls
            ours.close()
            with pytest.raises(ConnectionError, match="DTLS is closed"):
                dtls.send(b"late")
            with pytest.raises(ConnectionError, match="DTLS is closed"):
                DataChannel(dtls)

    asyncio.run(scenario())
