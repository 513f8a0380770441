"""Plain calls (harness/callers/plain) to SIPp, baresip and kamailio: the same records as of the user agent's calls."""

import asyncio

import pytest
from baresip_phone import baresip
from edge_peer import Sessions
from kamailio_proxy import kamailio
from plain_bench import WholeCalls, shape
from sip_peer import running_sip_edge
from sipp_scenarios import ANSWERED, HUNG_UP, answer, done, expect, invited, pause, recv, request, sdp, sipp_agent

from harness.model.plan import CallLimits

pytestmark = pytest.mark.peer

LIMITS = CallLimits(connect_timeout_ms=15_000)


async def records(url, count, *, is_plain, **settings):
    names = [f"call-{i}" for i in range(count)]
    async with WholeCalls(is_plain=is_plain, rows=max(64, count)) as calls:
        await calls.place(url, *names, limits=LIMITS, **settings)
        return [await calls.record(name) for name in names], calls.handed


@pytest.mark.parametrize("hold_ms", [0.0, 250.0])
def test_two_hundred_calls_to_sipps_own_uas(tmp_path, hold_ms):
    async def main(agent, url):
        found, handed = await records(url, 200, is_plain=True, hold_ms=hold_ms)
        assert handed == []
        assert {(r["outcome"], r["sip"]["bye"], r["sip"]["status"]) for r in found} == {("completed", "answered", 200)}
        assert all([p["status"] for p in r["sip"]["provisionals"]][-1] == 180 for r in found)
        assert await agent.ended() == 0

    with sipp_agent(tmp_path, calls=200) as (agent, url):
        asyncio.run(main(agent, url))


AGENTS = {
    "rings, answers": [invited(), answer("180 Ringing"), pause(150), ANSWERED, HUNG_UP],
    "100, 183, answers": [
        invited(), answer("100 Trying"), answer("183 Session Progress", body=sdp()), pause(50), ANSWERED, HUNG_UP,
    ],
    "is busy": [invited(), answer("486 Busy Here", again=True), recv("ACK")],
    "redirects to itself": [
        invited(), answer("302 Moved", "Contact: <sip:other@[local_ip]:[local_port]>", again=True), recv("ACK"),
    ],
    "hangs up": [invited(), ANSWERED, pause(200), request("BYE", 1), expect(200)],
    "offers anew": [
        invited(), ANSWERED, pause(100), request("INVITE", 1, body=sdp(version=2)), expect(100, optional=True),
        expect(200), request("ACK", 1, again=False), HUNG_UP,
    ],
    "asks": [invited(), ANSWERED, pause(100), request("OPTIONS", 1), expect(200), HUNG_UP],
    "does not know the BYE": [invited(), ANSWERED, recv("BYE"), done("481 Gone")],
    "stands behind a route": [
        invited(), answer("200 OK", "Record-Route: <sip:[local_ip]:[local_port];lr>", body=sdp(), again=True),
        recv("ACK"), HUNG_UP,
    ],
}  # fmt: skip
PLAIN = {"rings, answers", "100, 183, answers", "does not know the BYE"}


@pytest.mark.parametrize("name", AGENTS)
def test_one_record_either_way(tmp_path, name):
    def one(*, is_plain):
        folder = tmp_path / ("plain" if is_plain else "agent")
        folder.mkdir()
        with sipp_agent(folder, *AGENTS[name], calls=1) as (agent, url):

            async def main():
                found, handed = await records(url, 1, is_plain=is_plain, hold_ms=600.0)
                assert name == "redirects to itself" or await agent.ended() == 0
                return found[0], handed

            return asyncio.run(main())

    (plain, handed), (slow, _) = one(is_plain=True), one(is_plain=False)
    if name == "redirects to itself":
        # SIPp is leaving by then: the call it sent to itself ends when its port is closed, before or after T1.
        assert {plain["sip"].pop("retransmissions"), slow["sip"].pop("retransmissions")} <= {0, 1}
    assert shape(plain) == shape(slow)
    assert bool(handed) == (name not in PLAIN)


def test_baresip_is_called(tmp_path):
    async def main(phone):
        async with phone:
            found, _handed = await records(phone.url(), 1, is_plain=True, hold_ms=300.0)
            await phone.until("CALL_CLOSED")
        return found[0]

    with baresip(tmp_path) as phone:
        record = asyncio.run(main(phone))
    assert (record["outcome"], record["sip"]["bye"]) == ("completed", "answered")
    assert record["sip"]["agent"].startswith("baresip")


def test_kamailio_refuses_a_stranger(tmp_path):
    async def main():
        async with running_sip_edge(Sessions()) as (edge, address):
            with kamailio(tmp_path, address[1], "udp") as proxy:
                url = f"sip:agent@127.0.0.1:{proxy.port}"
                both = [await records(url, 1, is_plain=is_plain) for is_plain in (True, False)]
            assert edge.counts.answers == {}
        (plain, handed), (slow, _) = both
        assert shape(plain) == shape(slow)
        assert handed == ["call-0"]
        assert plain[0]["sip"]["agent"].startswith("kamailio")
        assert plain[0]["cause"].startswith("sip_")

    asyncio.run(main())
