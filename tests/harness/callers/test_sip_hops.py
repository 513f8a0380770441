"""What is kept of hops: no more of them than there is room for, however many addresses redirects name."""

import asyncio
from types import SimpleNamespace

import pytest

from harness.callers import sip_hop, sip_host
from harness.callers.sip_hop import Hop, Hops
from harness.callers.sip_host import SipHost
from harness.model.plan import SipSpec

pytestmark = pytest.mark.unit


def hops(count):
    return [Hop("udp", f"127.0.{n // 256}.{n % 256}", 5060) for n in range(count)]


def test_flows_to_addresses_without_number_are_not_all_kept(monkeypatch):
    monkeypatch.setattr(sip_hop, "MOST_KEPT", 4)
    opened = []

    async def open_flow(_transport, remote, **_):
        opened.append(remote)
        return remote

    async def main():
        known = Hops(SimpleNamespace(open_flow=open_flow))
        for hop in hops(6):
            await known.flow(hop, SipSpec())
        assert len(known._datagrams) == len(known._local) == 4
        # The last are still known; the first is opened anew.
        await known.flow(hops(6)[-1], SipSpec())
        assert len(opened) == 6
        await known.flow(hops(6)[0], SipSpec())
        assert len(opened) == 7

    asyncio.run(main())


def test_silences_without_number_are_not_all_kept(monkeypatch):
    monkeypatch.setattr(sip_host, "MOST_KEPT", 4)

    async def main():
        host = SipHost()
        first, *others = hops(6)
        for hop in others:
            host.ask_silence(hop, 60)
        host.ask_silence(first, 90)
        assert len(host._silent_until_ns) == 4
        assert host.silence_left_s(first) > 60
        assert host.silence_left_s(others[0]) == 0
        await host.aclose()

    asyncio.run(main())
