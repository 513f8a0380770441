"""A call between two real agents, and the same call with every single message lost, doubled or overtaken."""

import gc
import weakref

import pytest
from sip_link import ANSWER, HELD_ANSWER, HOLD, MS, OFFER, Link, answering

from harness.protocols.sip import events, handles
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.digest import DigestClient, Verifier

pytestmark = pytest.mark.unit

WHOLE_CALL = [
    "a INVITE", "b 401 INVITE", "a ACK",
    "a INVITE", "b 100 INVITE", "b 180 INVITE", "a PRACK", "b 200 PRACK", "b 200 INVITE", "a ACK",
    "a INVITE", "b 100 INVITE", "b 200 INVITE", "a ACK",
    "b UPDATE", "a 200 UPDATE",
    "a BYE", "b 200 BYE",
]  # fmt: skip
CANCELLED_CALL = ["a INVITE", "b 100 INVITE", "b 180 INVITE", "a CANCEL", "b 200 CANCEL", "b 487 INVITE", "a ACK"]
FAULTS = ["lose", "double", "overtake"]


def whole_call(transport="udp", faults=None):
    """INVITE with digest, reliable 180, 200; re-INVITE by the caller, UPDATE by the callee; BYE."""
    verifier = Verifier("here", {"alice": "secret"}, secret=b"k")
    link = Link(a=AgentConfig(prack="required"), b=AgentConfig(verifier=verifier), transport=transport, faults=faults)
    a, b = link.a, link.b
    b.does[events.Incoming] = lambda event: event.call.ring(link.now)
    for side in (a, b):
        side.does[events.Offered] = lambda event: event.call.answer_offer(HELD_ANSWER, link.now)
    link.invite(auth=DigestClient("alice", "secret"))
    link.then(
        lambda: b.call and "a PRACK" in link.lines() and b.ua.counts.received > 3 and pracked(b),
        lambda: b.call.accept(ANSWER, link.now),
    )
    link.then(lambda: a.told(events.Answered), lambda: a.call.reinvite(HOLD, link.now))
    link.then(
        lambda: a.told(events.OfferAnswered) and b.call.can_offer,
        lambda: b.call.update(HELD_ANSWER + b"a=x\r\n", link.now),
    )
    link.then(lambda: b.told(events.OfferAnswered), lambda: a.call.hang_up(link.now))
    link.run(200)
    return link


def pracked(side):
    return side.call._reliable is None and side.call.state == handles.RINGING


def assert_whole(link):
    a, b = link.a, link.b
    assert [event.cause for event in a.told(events.Ended)] == ["local"]
    assert [event.cause for event in b.told(events.Ended)] == ["remote"]
    assert a.events[-1] is a.last(events.Ended)
    assert b.events[-1] is b.last(events.Ended)
    assert not a.told(events.Failed)
    assert not b.told(events.Failed)
    assert [event.body for event in a.told(events.Answered)] == [ANSWER]
    assert [event.body for event in b.told(events.Incoming)] == [OFFER]
    assert len(b.told(events.Confirmed)) == 1
    assert [event.body for event in a.told(events.OfferAnswered)] == [HELD_ANSWER]
    assert [event.body for event in b.told(events.OfferAnswered)] == [HELD_ANSWER]
    link.assert_nothing_left()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_whole_call_sends_each_message_once(transport):
    link = whole_call(transport)
    assert_whole(link)
    assert link.lines() == WHOLE_CALL
    assert link.a.ua.counts.resent == link.b.ua.counts.resent == 0
    assert link.a.call.challenges == 1


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", range(len(WHOLE_CALL)), ids=[f"{n}-{line}" for n, line in enumerate(WHOLE_CALL)])
def test_a_call_survives_a_fault_on_any_one_message(number, fault):
    assert_whole(whole_call(faults={number: fault}))


@pytest.mark.parametrize("number", range(len(WHOLE_CALL)))
def test_a_call_survives_the_loss_of_any_two_messages_in_a_row(number):
    assert_whole(whole_call(faults={number: "lose", number + 1: "lose"}))


def cancelled_call(transport="udp", faults=None):
    link = Link(transport=transport, faults=faults)
    link.b.does[events.Incoming] = lambda event: event.call.ring(link.now)
    call = link.invite()
    # 180 or, where that was lost, what came before it: an unreliable provisional response is sent once.
    link.then(lambda: link.a.told(events.Provisional), lambda: None)
    link.run(2)
    call.hang_up(link.now)
    link.run(200)
    return link


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_cancel_sends_each_message_once(transport):
    link = cancelled_call(transport)
    assert link.lines() == CANCELLED_CALL
    assert_cancelled(link)


def assert_cancelled(link):
    for side in (link.a, link.b):
        assert [(event.status, event.cause) for event in side.told(events.Failed)] == [(487, "cancelled")]
        assert side.events[-1] is side.last(events.Failed)
        assert not side.told(events.Ended)
    link.assert_nothing_left()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", range(len(CANCELLED_CALL)))
def test_cancel_survives_a_fault_on_any_one_message(number, fault):
    assert_cancelled(cancelled_call(faults={number: fault}))


def test_cancel_before_any_response_waits_for_one():
    link = Link()
    link.b.does[events.Incoming] = lambda event: event.call.ring(link.now)
    link.invite().hang_up(link.now)
    link.run(100)
    assert link.lines().index("a CANCEL") > link.lines().index("b 100 INVITE")
    assert_cancelled(link)


def test_cancel_that_crosses_the_200_is_followed_by_ack_and_bye():
    link = Link()
    link.b.does[events.Incoming] = lambda event: event.call.ring(link.now)
    call = link.invite()
    link.run(0.05)
    link.b.call.accept(ANSWER, link.now)
    call.hang_up(link.now)
    link.run(100)
    sent = link.lines()
    assert sorted(sent[3:]) == ["a ACK", "a BYE", "a CANCEL", "b 200 BYE", "b 200 CANCEL", "b 200 INVITE"]
    assert sent.index("a ACK") < sent.index("a BYE")
    assert [(event.status, event.cause) for event in link.a.told(events.Failed)] == [(487, "cancelled")]
    assert [event.cause for event in link.b.told(events.Ended)] == ["remote"]
    assert not link.a.told(events.Answered)
    link.assert_nothing_left()


def test_cancel_without_a_final_response_ends_after_64_t1():
    link = Link()
    link.b.does[events.Incoming] = lambda event: event.call.ring(link.now)
    call = link.invite()
    link.run(1)
    link.cut.add("b")
    call.hang_up(link.now)
    began = link.now
    link.run(200)
    failed = link.a.last(events.Failed)
    assert (failed.status, failed.cause, failed.at_ns - began) == (487, "cancelled", 32_000 * MS)
    assert link.a.ua.held == 0


def test_both_sides_hang_up_at_once():
    link = Link()
    answering(link)
    call = link.invite()
    link.run(1)
    call.hang_up(link.now)
    link.b.call.hang_up(link.now)
    link.run(100)
    assert [event.cause for event in link.a.told(events.Ended)] == ["local"]
    assert [event.cause for event in link.b.told(events.Ended)] == ["local"]
    link.assert_nothing_left()


def test_the_callee_hangs_up_only_after_the_ack():
    link = Link()
    answering(link)
    link.invite()
    link.then(lambda: link.b.told(events.Incoming), lambda: link.b.call.hang_up(link.now))
    link.run(100)
    assert link.lines().index("b BYE") > link.lines().index("a ACK")
    assert link.a.last(events.Ended).cause == "remote"
    assert link.b.last(events.Ended).cause == "local"
    link.assert_nothing_left()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_leaves_nothing_to_the_collector(transport):
    gc.collect()
    gc.disable()
    try:
        link = Link(transport=transport)
        answering(link)
        call = link.invite()
        link.run(1)
        call.hang_up(link.now)
        watched = [weakref.ref(call), weakref.ref(link.b.call)]
        link.run(100)
        link.a.call = link.b.call = call = None
        link.a.events.clear()
        link.b.events.clear()
        link.b.does.clear()
        assert [ref() for ref in watched] == [None, None]
    finally:
        gc.enable()
