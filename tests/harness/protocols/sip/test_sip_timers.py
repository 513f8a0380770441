"""The wheel, and what RFC 3261's timers make two agents send when nothing comes back."""

import pytest
from sip_link import ANSWER, MS, OFFER, Link, S, answering, label

from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig, TimerValues
from harness.protocols.sip.message import Request, Response
from harness.protocols.sip.timers import TimerWheel

pytestmark = pytest.mark.unit

DOUBLING = [0, 500, 1500, 3500, 7500, 15500, 31500]
CAPPED = [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]


class Owner:
    def __init__(self):
        self.fired = []

    def on_timer(self, name, now_ns):
        self.fired.append((name, now_ns))


def test_timers_fire_in_order_and_never_early():
    wheel, owner = TimerWheel(), Owner()
    wheel.start(3 * MS, owner, "third")
    wheel.start(1 * MS + 1, owner, "first")
    wheel.start(2 * MS, owner, "second")
    assert wheel.next_ns() == 2 * MS
    wheel.fire(2 * MS - 1)
    assert owner.fired == []
    wheel.fire(2 * MS)
    assert [name for name, _ in owner.fired] == ["first", "second"]
    wheel.fire(9 * MS)
    assert owner.fired[-1] == ("third", 9 * MS)
    assert wheel.next_ns() is None


def test_a_cancelled_timer_leaves_nothing_behind():
    wheel, owner = TimerWheel(), Owner()
    kept = wheel.start(50 * MS, owner, "kept")
    for n in range(1000):
        timer = wheel.start((60 + n) * MS, owner, "gone")
        wheel.cancel(timer)
        wheel.cancel(timer)
        assert timer.owner is None
    assert len(wheel) == 1
    assert len(wheel._slots) == 1
    assert len(wheel._ticks) < 70
    wheel.fire(50 * MS)
    wheel.cancel(kept)
    wheel.cancel(None)
    assert owner.fired == [("kept", 50 * MS)]
    assert len(wheel) == 0


def test_a_timer_may_cancel_and_start_others_of_its_tick():
    wheel = TimerWheel()
    seen = []

    class Meddler:
        def on_timer(self, name, now_ns):
            seen.append(name)
            if name == "one":
                wheel.cancel(other)
                wheel.start(now_ns + 5 * MS, self, "later")

    meddler = Meddler()
    wheel.start(MS, meddler, "one")
    other = wheel.start(MS, meddler, "two")
    wheel.fire(MS)
    assert seen == ["one"]
    wheel.fire(6 * MS)
    assert seen == ["one", "later"]


def cut_off(**options):
    link = Link(**options)
    link.cut.add("b")
    return link


def test_invite_to_a_dead_peer_is_repeated_by_timer_a_and_ends_by_timer_b():
    link = cut_off()
    link.cut.add("a")
    link.invite()
    link.run(100)
    assert link.times_ms("a INVITE") == DOUBLING
    failed = link.a.last()
    assert (failed.status, failed.cause, failed.response, failed.at_ns) == (408, "timeout", None, 32 * S)
    assert link.a.call.resent == link.a.ua.counts.resent == 6
    link.assert_nothing_left()


def test_options_to_a_dead_peer_is_repeated_by_timer_e_and_ends_by_timer_f():
    link = Link()
    link.cut.add("a")
    link.a.ua.request("OPTIONS", "sip:bob@192.0.2.2", link.flow_a, 0)
    link.run(100)
    assert link.times_ms("a OPTIONS") == CAPPED
    answered = link.a.last(events.RequestAnswered)
    assert (answered.status, answered.cause, answered.response, answered.at_ns) == (408, "timeout", None, 32 * S)
    link.assert_nothing_left()


def test_other_timer_values_are_kept_to():
    link = Link(a=AgentConfig(timers=TimerValues(t1_ms=100, t2_ms=400)))
    link.cut.add("a")
    link.a.ua.request("OPTIONS", "sip:bob@192.0.2.2", link.flow_a, 0)
    link.run(100)
    assert link.times_ms("a OPTIONS")[:6] == [0, 100, 300, 700, 1100, 1500]
    assert link.a.last().at_ns == 6400 * MS


def test_a_stream_repeats_no_request_and_still_gives_up():
    link = Link(transport="tcp")
    link.cut.add("a")
    link.invite()
    link.run(100)
    assert link.lines() == ["a INVITE"]
    assert link.a.last().at_ns == 32 * S
    link.assert_nothing_left()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_2xx_whose_ack_never_comes_is_repeated_64_t1_and_then_hung_up(transport):
    # End to end: over a stream too, for hops behind it may be UDP (RFC 3261 13.3.1.4).
    link = Link(transport=transport, latency=0)
    link.drop = lambda side, message: label(message) == "ACK"
    answering(link)
    link.invite()
    link.run(200)
    assert link.times_ms("b 200 INVITE") == CAPPED
    assert link.times_ms("b BYE") == [32_000]
    assert link.b.last(events.Ended).cause == "no_ack"
    assert link.a.last(events.Ended).cause == "remote"
    assert link.b.call.resent >= 10
    assert link.b.ua.counts.unacknowledged == 1
    link.assert_nothing_left()


def test_a_refusal_whose_ack_never_comes_is_repeated_by_timer_g_until_timer_h():
    link = Link(latency=0)
    link.drop = lambda side, message: label(message) == "ACK"
    link.b.does[events.Incoming] = lambda event: event.call.reject(486, link.now)
    link.invite()
    link.run(200)
    assert link.times_ms("b 486 INVITE") == CAPPED
    assert link.a.last().status == 486
    assert link.b.ua.counts.unacknowledged == 1
    link.assert_nothing_left()


def test_a_stream_repeats_no_refusal():
    link = Link(transport="tcp", latency=0)
    link.drop = lambda side, message: label(message) == "ACK"
    link.b.does[events.Incoming] = lambda event: event.call.reject(486, link.now)
    link.invite()
    link.run(200)
    assert link.times_ms("b 486 INVITE") == [0]
    link.assert_nothing_left()


def test_a_reliable_ringing_without_prack_is_repeated_doubling_and_refused():
    link = Link(a=AgentConfig(prack="supported"), latency=0)
    link.drop = lambda side, message: label(message) == "PRACK"
    link.b.does[events.Incoming] = lambda event: event.call.ring(link.now, 183, body=ANSWER, reliable=True)
    link.invite()
    link.run(200)
    assert link.times_ms("b 183 INVITE") == DOUBLING
    assert (link.b.last().status, link.b.last().cause, link.b.last().at_ns) == (504, "timeout", 32 * S)
    assert link.a.last().status == 504
    assert len(link.a.told(events.Provisional)) == 2
    link.assert_nothing_left()


def test_bye_to_a_dead_peer_ends_the_call_after_64_t1():
    link = Link()
    answering(link)
    call = link.invite()
    link.run(1)
    link.cut.add("a")
    began = link.now
    call.hang_up(link.now)
    link.run(100)
    ended = link.a.last(events.Ended)
    assert (ended.cause, ended.message, ended.at_ns - began) == ("local", None, 32 * S)
    assert link.a.ua.held == 0


@pytest.mark.parametrize(("delay_ms", "at"), [(0, [0]), (200, [200]), (None, [])])
def test_trying_is_sent_when_nothing_else_is(delay_ms, at):
    link = Link(b=AgentConfig(trying_delay_ms=delay_ms), latency=0)
    link.invite()
    link.run(0.4)
    assert link.times_ms("b 100 INVITE") == at
    link.b.call.ring(link.now)
    assert link.b.call.state == "Ringing"


def test_no_trying_behind_another_response():
    link = Link(b=AgentConfig(trying_delay_ms=200), latency=0)
    answering(link)
    link.invite()
    link.run(3)
    assert link.times_ms("b 100 INVITE") == []


def test_silence_after_a_provisional_response_has_no_timer_of_the_transaction():
    link = Link(latency=0)
    link.b.does[events.Incoming] = lambda event: event.call.ring(link.now)
    link.invite()
    link.run(600)
    assert link.lines() == ["a INVITE", "b 100 INVITE", "b 180 INVITE"]
    assert link.a.call.state == "Ringing"


def test_messages_are_of_the_expected_kind():
    link = Link()
    answering(link)
    link.invite()
    link.run(1)
    kinds = {type(message) for _, _, message in link.sent}
    assert kinds == {Request, Response}
    assert link.sent[0][2].body == OFFER
