"""Calls without audio over loopback, placed both ways: as plain ones and as the user agent's; one record, one story."""

import asyncio
import contextlib
import socket

import pytest
from plain_bench import WholeCalls, shape
from sip_agent import SipAgent, answer, ignore, refuse, sdp

from harness.callers import sip as sip_module
from harness.callers.plain import desk as desk_module
from harness.model.clock import monotonic_ns
from harness.model.plan import CallLimits
from harness.protocols.sip import events

pytestmark = pytest.mark.loopback

SOON = CallLimits(connect_timeout_ms=300)


def rings(agent, event):
    if isinstance(event, events.Incoming):
        event.call.ring(agent.now())
    answer(agent, event)


def only_rings(agent, event):
    if isinstance(event, events.Incoming):
        event.call.ring(agent.now())


def hangs_up(agent, event):
    answer(agent, event)
    if isinstance(event, events.Confirmed):
        event.call.hang_up(agent.now(), headers=(("Reason", 'Q.850;cause=16;text="done"'),))


def offers(agent, event):
    answer(agent, event)
    if isinstance(event, events.Confirmed):
        event.call.reinvite(sdp(4000, "sendrecv"), agent.now())


def asks_reliably(agent, event):
    if isinstance(event, events.Incoming):
        event.call.ring(agent.now(), 183, body=sdp(), reliable=True)
    answer(agent, event)


def wants_a_timer(agent, event):
    if isinstance(event, events.Incoming):
        event.call.accept(sdp(), agent.now(), headers=(("Session-Expires", "90;refresher=uas"),))


def has_a_side_channel(agent, event):
    if isinstance(event, events.Incoming):
        event.call.accept(sdp(), agent.now(), headers=(("X-Callquake-Events", "not a socket"),))


def elsewhere(agent, event):
    """Redirect to itself by another user."""
    if isinstance(event, events.Incoming):
        if "@" in event.request.uri_text and "agent@" in event.request.uri_text:
            contact = (("Contact", f"<sip:other@127.0.0.1:{agent.port}>"),)
            event.call.reject(302, agent.now(), headers=contact)
        else:
            event.call.accept(sdp(), agent.now())


SCRIPTS = {
    "answers": (answer, {}),
    "rings": (rings, {}),
    "holds": (rings, {"hold_ms": 60.0}),
    "busy": (refuse(486), {}),
    "gone": (refuse(404), {}),
    "declines": (refuse(603), {}),
    "overloaded": (refuse(503, ("Retry-After", "60")), {}),
    "unauthorised": (refuse(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n"')), {}),
    "redirects": (elsewhere, {}),
    "hangs up": (hangs_up, {"hold_ms": 5_000.0}),
    "offers": (offers, {"hold_ms": 150.0}),
    "reliable": (asks_reliably, {}),
    "session timer": (wants_a_timer, {"hold_ms": 60.0}),
    "side channel": (has_a_side_channel, {}),
    "only rings": (only_rings, {"limits": SOON}),
    "silent": (ignore, {"limits": SOON}),
}
# Whose calls are nobody's but the tables'.
PLAIN = {"answers", "rings", "holds"}


async def one(script, settings, *, is_plain):
    async with WholeCalls(is_plain=is_plain) as calls, SipAgent(script) as agent:
        where = await calls.place(agent.url, "call-1", headers={"X-Campaign": "spring"}, **settings)
        assert (where is not None) == is_plain
        record = await calls.record("call-1")
        invite = agent.calls[0].request
        told = [(name, value) for name, value in invite.headers if name not in ("Via", "From", "To", "Call-ID")]
        return record, calls, told


# Near to others that are run.
SLOW = {"gone", "declines", "unauthorised", "redirects", "side channel", "silent", "holds"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SCRIPTS]
)
def test_one_record_either_way(name):
    async def main():
        script, settings = SCRIPTS[name]
        slow, slow_calls, slow_told = await one(script, settings, is_plain=False)
        plain, plain_calls, plain_told = await one(script, settings, is_plain=True)
        assert shape(plain) == shape(slow)
        assert plain_calls.milestones == slow_calls.milestones
        assert [(n, v) for n, v in plain_told if n != "Contact"] == [(n, v) for n, v in slow_told if n != "Contact"]
        assert bool(plain_calls.handed) == (name not in PLAIN)

    asyncio.run(main())


def test_times_are_what_they_say():
    async def main():
        async with WholeCalls(is_plain=True) as calls, SipAgent(rings) as agent:
            due = monotonic_ns() + 50_000_000
            await calls.place(agent.url, "call-1", due_at_ns=due, hold_ms=40.0)
            record = await calls.record("call-1")
            sip = record["sip"]
            assert record["due_at_ns"] == due
            assert due <= record["started_at_ns"] <= record["connected_at_ns"] <= record["ended_at_ns"]
            assert record["arrival_lateness_ms"] == (record["started_at_ns"] - due) / 1e6
            assert record["setup"]["total_ms"] == (record["connected_at_ns"] - due) / 1e6
            assert 0 < sip["request_delay_ms"] <= sip["answer_delay_ms"] <= record["setup"]["signalling_ms"]
            assert sip["session_ms"] >= 40.0
            assert sip["disconnect_delay_ms"] > 0

    asyncio.run(main())


def test_many_at_once_each_have_their_own():
    async def main():
        async with WholeCalls(is_plain=True, t1_ms=20) as calls, SipAgent(rings) as agent:
            names = [f"call-{i}" for i in range(60)]
            await calls.place(agent.url, *names)
            records = [await calls.record(name) for name in names]
            assert [record["index"] for record in records] == list(range(60))
            assert {record["sip"]["bye"] for record in records} == {"answered"}
            by_name = {call.request.get("x-call-id"): call.id for call in agent.calls}
            assert {name: record["sip"]["call_id"] for name, record in zip(names, records, strict=True)} == by_name
            assert len({call.request.from_.tag for call in agent.calls}) == 60
            await calls.until_quiet()

    asyncio.run(main())


def test_calls_for_which_there_is_no_row_go_the_other_way():
    async def main():
        async with WholeCalls(is_plain=True, rows=4) as calls, SipAgent(rings) as agent:
            names = [*(f"call-{i}" for i in range(9)), "näme"]
            await calls.place(agent.url, *names)
            records = [await calls.record(name) for name in names]
            assert {record["outcome"] for record in records} == {"completed"}

    asyncio.run(main())


def test_what_may_not_be_plain_is_not():
    async def main():
        async with WholeCalls(is_plain=True) as calls, SipAgent(answer) as agent:
            for settings in ({"media": True}, {"username": "a"}, {"session_expires_s": 90}, {"proxy": agent.url}):
                assert await calls.plain.open(calls_like(agent.url, **settings), "w") is None
            assert await calls.plain.open(calls_like(f"{agent.url};transport=tcp"), "w") is None
            assert await calls.plain.open(calls_like("sip:a@[::1]:5060"), "w") is None
            assert await calls.plain.open(calls_like("sip:a@nowhere.invalid"), "w") is None
            assert await calls.plain.open(calls_like(agent.url, headers={"X": "${SECRET}"}), "w") is None
            assert await calls.plain.open(calls_like(agent.url), "w") is not None

    asyncio.run(main())


def calls_like(url, **settings):
    from sip_bench import plan

    return plan(url, "", **{"media": False, **settings})


def test_after_retry_after_nobody_is_asked_again_until_then():
    async def main():
        async with WholeCalls(is_plain=True) as calls, SipAgent(refuse(503, ("Retry-After", "60"))) as agent:
            await calls.place(agent.url, "call-1")
            first = await calls.record("call-1")
            assert (first["cause"], first["sip"]["retry_after_s"]) == ("sip_overloaded", 60)
            await calls.place(agent.url, "call-2")
            second = await calls.record("call-2")
            assert (second["cause"], second["sip"]["held_back"]) == ("sip_overloaded", True)
            assert len(agent.calls) == 1
            await calls.place(agent.url, "call-3", honour_retry_after=False)
            await calls.record("call-3")
            assert len(agent.calls) == 2

    asyncio.run(main())


def test_nobody_there_is_known_at_once():
    async def main():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        records = []
        for is_plain in (False, True):
            async with WholeCalls(is_plain=is_plain) as calls:
                await calls.place(f"sip:a@127.0.0.1:{port}", "call-1")
                records.append(await calls.record("call-1"))
                await calls.until_quiet()
        assert shape(records[0]) == shape(records[1])
        assert records[1]["cause"] == "signalling_unreachable"

    asyncio.run(main())


def test_a_bye_without_an_answer(monkeypatch):
    monkeypatch.setattr(sip_module, "BYE_WAIT_S", 0.2)
    monkeypatch.setattr(desk_module, "BYE_WAIT_S", 0.2)

    def deaf(agent, event):
        answer(agent, event)
        if isinstance(event, events.Confirmed):
            agent.endpoint._sockets[0]._on_datagram = lambda *_: None

    async def main():
        records = []
        for is_plain in (False, True):
            async with WholeCalls(is_plain=is_plain, t1_ms=15) as calls, SipAgent(deaf) as agent:
                await calls.place(agent.url, "call-1", hold_ms=50.0)
                records.append(await calls.record("call-1"))
                await calls.until_quiet()
        slow, plain = records
        assert shape({**slow, "sip": {**slow["sip"], "retransmissions": 0}}) == shape(
            {**plain, "sip": {**plain["sip"], "retransmissions": 0}}
        )
        assert plain["sip"]["bye"] == "unanswered"
        assert plain["sip"]["retransmissions"] > 0
        assert slow["sip"]["retransmissions"] > 0

    asyncio.run(main())


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize("name", ["only rings", "silent", "holds"])
def test_the_operator_ends_it(name, is_plain):
    async def main():
        script, _ = SCRIPTS[name]
        async with WholeCalls(is_plain=is_plain, t1_ms=30) as calls, SipAgent(script) as agent:
            await calls.place(agent.url, "call-1", hold_ms=60_000.0)
            await agent.until_seen(events.Confirmed if name == "holds" else events.Incoming)
            if name != "silent":
                # Until our side has read what it was sent.
                await asyncio.sleep(0.05)
            calls.interrupt("call-1")
            record = await calls.record("call-1")
            assert (record["outcome"], record["cause"], record["detail"]) == ("interrupted", "operator", "stopped")
            assert record["sip"]["bye"] == ("answered" if name == "holds" else "none")
            await agent.until_seen(events.Ended if name == "holds" else events.Failed)
            assert calls.plain.active == calls.host.agent.calls == 0

    asyncio.run(main())


def test_all_calls_are_ended_and_those_not_due_forgotten():
    async def main():
        async with WholeCalls(is_plain=True, t1_ms=30) as calls, SipAgent(answer) as agent:
            await calls.place(agent.url, "call-1", "call-2", hold_ms=60_000.0)
            await calls.place(agent.url, "call-3", hold_ms=60_000.0, due_at_ns=monotonic_ns() + 60_000_000_000)
            await agent.until(lambda agent: agent.names().count("Confirmed") == 2)
            await asyncio.sleep(0.05)
            calls.plain.interrupt_all(("interrupted", "operator", "stopped"))
            await calls.plain.until_over(10.0)
            assert sorted(calls.records) == ["call-1", "call-2"]
            assert {record["outcome"] for record in calls.records.values()} == {"interrupted"}
            await calls.until_quiet()

    asyncio.run(main())


def test_two_agents_behind_one_socket():
    async def main():
        async with WholeCalls(is_plain=True) as calls, SipAgent(rings) as one, SipAgent(refuse(486)) as other:
            await calls.place(one.url, "call-1")
            await calls.place(other.url, "call-2")
            await calls.place(one.url, "call-3")
            assert (await calls.record("call-1"))["outcome"] == "completed"
            assert (await calls.record("call-2"))["cause"] == "sip_busy"
            assert (await calls.record("call-3"))["outcome"] == "completed"
            assert len(calls.plain.lines) == 1

    asyncio.run(main())


def test_strangers_are_answered_by_the_user_agent():
    async def main():
        async with WholeCalls(is_plain=True) as calls, SipAgent(rings) as agent:
            await calls.place(agent.url, "call-1")
            await calls.record("call-1")
            [line] = calls.plain.lines
            port = calls.host.endpoint._sockets[0].address[1]
            with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as stranger:
                stranger.bind(("127.0.0.1", 0))
                stranger.setblocking(False)
                own = stranger.getsockname()[1]
                text = (
                    f"OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK1\r\n"
                    "From: <sip:x@y>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"
                )
                for data in (text.encode(), b"\r\n\r\n", b"\0" * 100, line.desk.stem.encode()):
                    stranger.sendto(data, ("127.0.0.1", port))
                answered = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(stranger, 4096), 10)
            assert answered.startswith(b"SIP/2.0 200")
            await calls.place(agent.url, "call-2")
            assert (await calls.record("call-2"))["outcome"] == "completed"

    asyncio.run(main())
