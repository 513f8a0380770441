"""SIP calls without audio over loopback: answers, refusals, redirects, credentials, and agents that vanish."""

import asyncio
import contextlib
import socket

import pytest
from sip_agent import SipAgent, answer, ignore, refuse, sdp
from sip_bench import SipBench, plan

from harness.callers import sip as sip_module
from harness.callers.exchange import Disconnected
from harness.callers.setup_failure import SetupFailure
from harness.model.plan import CallLimits
from harness.model.records import Cause
from harness.model.sip_facts import Bye
from harness.protocols.sip import events
from harness.protocols.sip.digest import Verifier

pytestmark = pytest.mark.loopback

SOON = CallLimits(connect_timeout_ms=300)


async def fails(bench, url, **settings):
    with pytest.raises(SetupFailure) as caught:
        await bench.connect(url, **settings)
    caller = bench.callers[-1]
    await caller.close()
    return caught.value, caller.facts()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_is_answered_held_and_hung_up(transport):
    def ring_then_answer(agent, event):
        if isinstance(event, events.Incoming):
            event.call.ring(agent.now())
        answer(agent, event)

    async def main():
        async with SipAgent(ring_then_answer, transport=transport) as agent, SipBench() as bench:
            caller, heard = await bench.connect(agent.url, headers={"X-Campaign": "spring"})
            await caller.close()
            facts = caller.facts()
            invite = agent.calls[0].request
            assert (invite.get("X-Call-Id"), invite.get("X-Campaign")) == ("call-1", "spring")
            assert (facts.transport, facts.status, facts.agent) == (transport, 200, "test agent")
            assert facts.call_id == agent.calls[0].id
            assert [p.status for p in facts.provisionals] in ([180], [100, 180])
            assert 0 < facts.request_delay_ms <= facts.answer_delay_ms
            assert (facts.bye, facts.retransmissions, facts.media) == (Bye.ANSWERED, 0, False)
            assert facts.disconnect_delay_ms > 0
            assert facts.session_ms > 0
            assert heard.empty()
            assert agent.names()[-1] == "Ended"
            assert bench.host.agent.calls == 0

    asyncio.run(main())


def test_the_agent_hangs_up():
    def hang_up(agent, event):
        answer(agent, event)
        if isinstance(event, events.Confirmed):
            event.call.hang_up(agent.now(), headers=(("Reason", 'Q.850;cause=16;text="done"'),))

    async def main():
        async with SipAgent(hang_up) as agent, SipBench() as bench:
            caller, heard = await bench.connect(agent.url)
            ended = await asyncio.wait_for(heard.get(), 10)
            assert ended.cause is Cause.AGENT_HUNG_UP
            assert "BYE" in ended.detail
            assert "done" in ended.detail
            await caller.close()
            facts = caller.facts()
            assert (facts.bye, facts.hops, facts.disconnect_delay_ms) == (Bye.RECEIVED, 0, None)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (486, Cause.SIP_BUSY),
        (600, Cause.SIP_BUSY),
        (404, Cause.SIP_REJECTED),
        (488, Cause.SIP_REJECTED),
        (401, Cause.SIP_AUTH),
        (500, Cause.SIP_SERVER_ERROR),
        (503, Cause.SIP_OVERLOADED),
        (603, Cause.SIP_GLOBAL_FAILURE),
        (408, Cause.SIP_TIMEOUT),
    ],
)
def test_a_refusal_is_counted_by_its_class(status, cause):
    async def main():
        headers = (("WWW-Authenticate", 'Digest realm="r", nonce="n"'),) if status == 401 else ()
        async with SipAgent(refuse(status, *headers)) as agent, SipBench() as bench:
            error, facts = await fails(bench, agent.url)
            assert (error.cause, facts.status, facts.bye) == (cause, status, Bye.NONE)
            assert str(status) in error.detail
            assert facts.request_delay_ms > 0
            assert ("target.sip.username" in error.detail) == (status == 401)

    asyncio.run(main())


def test_after_retry_after_nobody_is_asked_again_until_then():
    async def main():
        async with SipAgent(refuse(503, ("Retry-After", "60"))) as agent, SipBench() as bench:
            error, facts = await fails(bench, agent.url)
            assert (error.cause, facts.retry_after_s, facts.held_back) == (Cause.SIP_OVERLOADED, 60, False)
            assert "Retry-After 60 s" in error.detail
            error, facts = await fails(bench, agent.url, call_id="call-2")
            assert (error.cause, facts.held_back, facts.call_id) == (Cause.SIP_OVERLOADED, True, "")
            assert "not sent" in error.detail
            assert len(agent.calls) == 1
            # Another agent is another matter, and so is a scenario that says so.
            async with SipAgent() as other:
                await bench.connect(other.url, call_id="call-3")
            await fails(bench, agent.url, call_id="call-4", honour_retry_after=False)
            assert len(agent.calls) == 2

    asyncio.run(main())


def test_redirects_are_followed_best_first():
    async def main():
        async with SipAgent() as last, SipAgent(refuse(404)) as gone, SipBench() as bench:
            contacts = (("Contact", f"<{last.url}>;q=0.5, <{gone.url}>;q=0.9"),)
            async with SipAgent(refuse(302, *contacts)) as first:
                caller, _heard = await bench.connect(first.url)
                facts = caller.facts()
                assert (facts.status, facts.redirects) == (200, 2)
                assert (len(gone.calls), len(last.calls)) == (1, 1)
                await caller.close()

    asyncio.run(main())


def test_redirects_in_a_loop_or_to_nowhere_are_told():
    async def main():
        async with SipBench() as bench, SipAgent() as one, SipAgent() as other:
            one.script = refuse(302, ("Contact", f"<{other.url}>"))
            other.script = refuse(301, ("Contact", f"<{one.url}>"))
            error, facts = await fails(bench, one.url)
            assert (error.cause, facts.status, facts.redirects) == (Cause.SIP_REDIRECTED, 301, 1)
            assert "in a loop" in error.detail
            one.script = refuse(302)
            error, _facts = await fails(bench, one.url)
            assert "without a Contact" in error.detail
            one.script = lambda agent, event: refuse(
                302, ("Contact", f"<sip:a{len(agent.calls)}@127.0.0.1:{agent.port}>")
            )(agent, event)
            error, facts = await fails(bench, one.url)
            assert "more than 5 times" in error.detail
            assert facts.redirects == 5

    asyncio.run(main())


def test_a_silent_hop_is_not_waited_for_because_another_has_rung(monkeypatch):
    monkeypatch.setattr(sip_module, "BYE_WAIT_S", 60.0)

    def ring_then_redirect(agent, event):
        if isinstance(event, events.Incoming):
            event.call.ring(agent.now())
            event.call.reject(302, agent.now(), headers=(("Contact", agent.onward),))

    async def main():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            async with SipBench(t1_ms=5_000) as bench, SipAgent(ring_then_redirect) as agent:
                agent.onward = f"<sip:a@127.0.0.1:{deaf.getsockname()[1]}>"
                async with asyncio.timeout(20):
                    error, facts = await fails(bench, agent.url, limits=SOON)
                assert (error.cause, facts.redirects) == (Cause.SIP_TIMEOUT, 1)
                assert "not even a 100" in error.detail
                assert 180 in [p.status for p in facts.provisionals]

    asyncio.run(main())


def test_credentials_are_shown_when_asked_for():
    async def main():
        verifier = Verifier(realm="r", passwords={"alice": "secret"}, secret=b"k")
        async with SipAgent(verifier=verifier) as agent, SipBench() as bench:
            caller, _heard = await bench.connect(agent.url, username="alice", password="secret")
            assert (caller.facts().challenges, caller.facts().status) == (1, 200)
            error, _facts = await fails(bench, agent.url, username="alice", password="wrong")
            assert error.cause is Cause.SIP_AUTH
            assert "wrong" not in error.detail
            error, _facts = await fails(bench, agent.url)
            assert "target.sip.username" in error.detail

    asyncio.run(main())


def test_nobody_there_is_known_at_once():
    async def main():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        async with SipBench() as bench:
            error, _facts = await fails(bench, f"sip:a@127.0.0.1:{port}")
            assert error.cause is Cause.SIGNALLING_UNREACHABLE
            error, facts = await fails(bench, f"sip:a@127.0.0.1:{port};transport=tcp")
            assert (error.cause, facts.call_id) == (Cause.SIGNALLING_UNREACHABLE, "")
            assert "refused" in error.detail.lower()
            error, _facts = await fails(bench, "sip:a@nowhere.invalid")
            assert "does not resolve" in error.detail

    asyncio.run(main())


def test_an_agent_that_only_rings_is_cancelled():
    def ring(agent, event):
        if isinstance(event, events.Incoming):
            event.call.ring(agent.now())

    async def main():
        async with SipAgent(ring) as agent, SipBench() as bench:
            error, facts = await fails(bench, agent.url, limits=SOON)
            assert (error.cause, facts.status) == (Cause.SIP_TIMEOUT, None)
            assert "the last word was 180" in error.detail
            await agent.until_seen(events.Failed)
            assert bench.host.agent.calls == 0

    asyncio.run(main())


def test_an_agent_without_a_word_is_given_up_and_forgotten():
    async def main():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            # T1 of 5 ms: the INVITE's Timer B is over after 0.3 s.
            async with SipBench(t1_ms=5) as bench:
                limits = CallLimits(connect_timeout_ms=100)
                error, facts = await fails(bench, f"sip:a@127.0.0.1:{deaf.getsockname()[1]}", limits=limits)
                assert error.cause is Cause.SIP_TIMEOUT
                assert "not even a 100" in error.detail
                assert facts.request_delay_ms is None
                await bench.until_quiet()

    asyncio.run(main())


def test_a_bye_without_an_answer_is_noticed_and_nothing_stays(monkeypatch):
    monkeypatch.setattr(sip_module, "BYE_WAIT_S", 0.1)

    async def main():
        async with SipBench(t1_ms=20) as bench, SipAgent() as agent:
            caller, _heard = await bench.connect(agent.url)
            agent.endpoint._sockets[0]._on_datagram = lambda *_: None
            await caller.close()
            facts = caller.facts()
            assert facts.bye is Bye.UNANSWERED
            assert facts.disconnect_delay_ms >= 99
            await bench.until_quiet()

    asyncio.run(main())


def test_a_cut_connection_ends_its_calls_with_a_cause():
    async def main():
        async with SipAgent(transport="tcp") as agent, SipBench(t1_ms=20) as bench:
            one, heard = await bench.connect(agent.url)
            other, _heard = await bench.connect(agent.url, call_id="call-2")
            assert agent.endpoint.counts.connections == 1, "calls to one agent share a connection"
            for stream in list(agent.endpoint._streams.values()):
                stream.abort("test")
            ended = await asyncio.wait_for(heard.get(), 10)
            assert isinstance(ended, Disconnected)
            assert ended.cause is Cause.SIP_TRANSPORT_LOST
            await one.close()
            await other.close()
            assert one.facts().bye is Bye.NONE
            await bench.until_quiet()
            # The next call has a connection of its own again.
            await bench.connect(agent.url, call_id="call-3")

    asyncio.run(main())


def test_the_agent_offers_anew_and_is_answered_without_audio():
    def offer(agent, event):
        answer(agent, event)
        if isinstance(event, events.Confirmed):
            event.call.reinvite(sdp(4000, "sendrecv"), agent.now())

    async def main():
        async with SipAgent(offer) as agent, SipBench() as bench:
            caller, _heard = await bench.connect(agent.url)
            await agent.until_seen(events.OfferAnswered)
            answered = next(e for e in agent.seen if isinstance(e, events.OfferAnswered))
            assert b"a=inactive" in answered.body
            assert caller.facts().changes == 1

    asyncio.run(main())


def test_an_account_registers_once_and_says_goodbye():
    async def main():
        requests = []

        def script(agent, event):
            answer(agent, event)
            if isinstance(event, events.RequestReceived):
                message = event.request.message
                requests.append((message.method, message.get("expires")))
                contact = (("Contact", f"{message.get('contact')};expires=3600"),)
                event.request.respond(200, agent.now(), headers=contact)

        async with SipAgent(script, requests=frozenset({"REGISTER"})) as agent:
            async with SipBench() as bench:
                calls = [bench.connect(agent.url, f"call-{i}", register=True, username="alice") for i in range(3)]
                callers = [caller for caller, _heard in await asyncio.gather(*calls)]
                for caller in callers:
                    await caller.close()
                made = [r for caller in callers for r in caller.facts().registrations]
                assert len(made) == 1
                assert made[0].status == 200
                assert made[0].delay_ms > 0
                invite = agent.calls[0].request
                assert invite.get("from").startswith("<sip:alice@127.0.0.1>")
            assert [method for method, _expires in requests] == ["REGISTER", "REGISTER"]
            assert requests[-1][1] == "0"

    asyncio.run(main())


def test_a_registration_that_is_refused_fails_its_calls_and_is_not_hammered():
    async def main():
        requests = []

        def script(agent, event):
            if isinstance(event, events.RequestReceived):
                requests.append(event)
                event.request.respond(403, agent.now())

        async with SipAgent(script, requests=frozenset({"REGISTER"})) as agent, SipBench() as bench:
            for i in range(3):
                error, facts = await fails(bench, agent.url, call_id=f"call-{i}", register=True)
                assert error.cause is Cause.SIP_AUTH
                assert "REGISTER: 403" in error.detail
                assert facts.call_id == ""
                assert len(facts.registrations) == (i == 0)
            assert len(requests) == 1

    asyncio.run(main())


def test_an_operator_may_stop_a_call_that_rings():
    async def main():
        async with SipAgent(ignore) as agent, SipBench() as bench:
            caller, _heard = bench.caller(plan(agent.url, media=False))

            async def connect():
                async with bench.queue.turn(None) as turn:
                    await caller.connect(turn)

            task = asyncio.create_task(connect())
            await agent.until_seen(events.Incoming)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await caller.close()
            await agent.until_seen(events.Failed)
            assert bench.host.agent.calls == 0
            assert caller.facts().status is None

    asyncio.run(main())


def test_an_agent_that_refreshes_no_session_is_noticed():
    async def main():
        short = {"min_se_s": 1}
        async with SipAgent(**short) as agent, SipBench(t1_ms=20, **short) as bench:
            _caller, heard = await bench.connect(agent.url, session_expires_s=2)
            # Deaf and dumb: its own timer would have it say BYE.
            agent.endpoint._sockets[0]._on_datagram = lambda *_: None
            agent.endpoint._sockets[0].send = lambda *_: True
            ended = await asyncio.wait_for(heard.get(), 20)
            assert ended.cause in (Cause.SIP_SESSION_EXPIRED, Cause.SIP_DIALOG_GONE)
            await bench.callers[0].close()
            await bench.until_quiet()

    asyncio.run(main())
