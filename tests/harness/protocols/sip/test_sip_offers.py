"""Offers within a call: glare, refusals, early and late offers, session timers; calls in virtual time."""

import pytest
from sip_link import ANSWER, HELD_ANSWER, HOLD, MS, OFFER, Link, S, answering, label

from harness.model.errors import LocalProtocolError
from harness.protocols.sip import events, handles
from harness.protocols.sip.config import AgentConfig

pytestmark = pytest.mark.unit


def up(**options):
    link = Link(**options)
    answering(link)
    link.invite()
    link.run(1)
    assert link.a.call.state == link.b.call.state == handles.UP
    return link


def ended_cleanly(link):
    link.a.call.hang_up(link.now)
    link.run(100)
    link.assert_nothing_left()


def test_glare_is_waited_out_as_rfc_3261_14_1_says():
    link = up()
    began = link.now
    link.a.call.reinvite(HOLD, began)
    link.b.call.reinvite(HELD_ANSWER, began)
    link.run(20)
    assert link.lines().count("a 491 INVITE") == link.lines().count("b 491 INVITE") == 1
    again_a, again_b = (link.times_ms(f"{side} INVITE")[-1] - began // MS for side in "ab")
    # The owner of the Call-ID waits 2.1 to 4 s, the other up to 2 s; 10 ms for the 491 to come.
    assert 2110 <= again_a <= 4010
    assert 10 <= again_b <= 2010
    assert (again_a - 10) % 10 == (again_b - 10) % 10 == 0
    assert len(link.a.told(events.OfferAnswered)) == len(link.b.told(events.OfferAnswered)) == 1
    assert not link.a.told(events.OfferRefused)
    ended_cleanly(link)


def test_hanging_up_while_a_491_is_waited_out():
    link = up()
    link.a.call.reinvite(HOLD, link.now)
    link.b.call.reinvite(HELD_ANSWER, link.now)
    link.run(0.05)
    ended_cleanly(link)


def test_a_second_offer_of_ours_is_a_bug_of_ours():
    link = up()
    link.a.call.reinvite(HOLD, link.now)
    assert not link.a.call.can_offer
    with pytest.raises(LocalProtocolError, match="offer open"):
        link.a.call.update(HOLD, link.now)
    ended_cleanly(link)


@pytest.mark.parametrize("verb", ["reinvite", "update"])
def test_a_refused_offer_leaves_the_session_as_it_was(verb):
    link = up()
    link.b.does[events.Offered] = lambda event: event.call.refuse_offer(488, link.now)
    getattr(link.a.call, verb)(HOLD, link.now)
    link.run(1)
    assert link.a.last(events.OfferRefused).status == 488
    assert link.b.last(events.Offered).method == ("INVITE" if verb == "reinvite" else "UPDATE")
    assert link.a.call.state == handles.UP
    assert link.a.call.local_body == OFFER
    ended_cleanly(link)


def test_an_offer_while_another_waits_gets_500_with_retry_after():
    link = up()
    link.b.does.clear()
    link.a.call.reinvite(HOLD, link.now)
    link.run(1)
    link.a.call._offering = None
    link.a.call.update(HOLD, link.now)
    link.run(1)
    refusal = next(message for _, _, message in link.sent if label(message) == "500 UPDATE")
    assert 0 <= int(refusal.get("retry-after")) <= 10
    link.b.call.answer_offer(HELD_ANSWER, link.now)
    link.run(1)
    ended_cleanly(link)


def test_an_unanswered_reinvite_gets_487_when_the_call_ends():
    link = up()
    link.b.does.clear()
    link.a.call.reinvite(HOLD, link.now)
    link.run(1)
    link.b.call.hang_up(link.now)
    link.run(100)
    assert "b 487 INVITE" in link.lines()
    link.assert_nothing_left()


def test_a_repeated_sdp_is_answered_without_the_application():
    link = up()
    link.a.call.reinvite(OFFER, link.now)
    link.run(1)
    assert not link.b.told(events.Offered)
    assert link.a.last(events.OfferAnswered).body == ANSWER
    ended_cleanly(link)


def test_a_reinvite_moves_the_remote_target():
    link = up()
    link.b.call.contact_user = "moved"
    link.a.call.reinvite(HOLD, link.now)
    link.run(1)
    assert link.a.call.remote_target == "sip:moved@192.0.2.2:5060"
    link.a.call.hang_up(link.now)
    link.run(100)
    assert [m.uri_text for _, _, m in link.sent if label(m) == "BYE"] == ["sip:moved@192.0.2.2:5060"]
    link.assert_nothing_left()


def test_an_offerless_call_carries_its_answer_in_the_ack():
    link = Link()
    answering(link, body=OFFER)
    link.a.does[events.Answered] = lambda event: event.call.acknowledge(ANSWER, link.now)
    link.invite(body=b"")
    link.run(1)
    assert link.a.last(events.Answered).body == OFFER
    assert link.b.last(events.Confirmed).body == ANSWER
    assert link.a.call.state == link.b.call.state == handles.UP
    ended_cleanly(link)


def test_an_offerless_call_is_acknowledged_when_it_is_hung_up_instead():
    link = Link()
    answering(link, body=OFFER)
    link.a.does[events.Answered] = lambda event: event.call.hang_up(link.now)
    link.invite(body=b"")
    link.run(100)
    assert link.lines()[-3:] == ["a ACK", "a BYE", "b 200 BYE"]
    link.assert_nothing_left()


def test_an_offerless_reinvite_asks_for_an_offer():
    link = up()
    link.a.call.reinvite(b"", link.now)
    link.run(1)
    assert link.b.last(events.Offered).body == b""
    assert link.a.last(events.OfferAnswered).body == HELD_ANSWER
    ended_cleanly(link)


def test_early_media_answered_reliably_and_updated_before_the_answer():
    link = Link(a=AgentConfig(prack="required"))
    link.b.does[events.Incoming] = lambda event: event.call.ring(link.now, 183, body=ANSWER)
    link.b.does[events.Offered] = lambda event: event.call.answer_offer(HELD_ANSWER, link.now)
    link.invite()
    link.run(1)
    early = link.a.told(events.Provisional)[-1]
    assert (early.status, early.body, early.reliable) == (183, ANSWER, True)
    link.a.call.update(HOLD, link.now)
    link.run(1)
    assert link.a.last(events.OfferAnswered).body == HELD_ANSWER
    assert link.a.call.state == handles.RINGING
    link.b.call.accept(b"", link.now)
    link.run(1)
    assert link.a.call.state == link.b.call.state == handles.UP
    ended_cleanly(link)


def test_update_in_an_unreliable_early_dialog_is_a_bug_of_ours():
    link = Link()
    link.b.does[events.Incoming] = lambda event: event.call.ring(link.now)
    link.invite()
    link.run(1)
    with pytest.raises(LocalProtocolError, match="before a reliable provisional response"):
        link.a.call.update(HOLD, link.now)


def test_an_offer_in_a_reliable_183_is_answered_in_its_prack():
    link = Link(a=AgentConfig(prack="required"))
    link.b.does[events.Incoming] = lambda event: event.call.ring(link.now, 183, body=OFFER)
    link.invite(body=b"")
    link.then(
        lambda: link.a.told(events.Provisional)[-1:] and link.a.told(events.Provisional)[-1].body,
        lambda: link.a.call.acknowledge(ANSWER, link.now),
    )
    link.run(1)
    assert link.b.last(events.AnswerReceived).body == ANSWER
    link.b.call.accept(b"", link.now)
    link.run(1)
    assert link.b.call.state == handles.UP
    ended_cleanly(link)


def test_the_200_waits_for_the_prack_of_a_183_with_sdp():
    link = Link(a=AgentConfig(prack="required"))

    def incoming(event):
        event.call.ring(link.now, 180)
        event.call.ring(link.now, 183, body=ANSWER)

    link.b.does[events.Incoming] = incoming
    link.then(lambda: "b 183 INVITE" in link.lines(), lambda: link.b.call.accept(b"", link.now))
    link.invite()
    link.run(1)
    # The 183 waited for the PRACK of the 180, and the 200 for the PRACK of the 183.
    assert link.lines()[2:] == [
        "b 180 INVITE", "a PRACK", "b 200 PRACK", "b 183 INVITE", "a PRACK", "b 200 PRACK", "b 200 INVITE", "a ACK",
    ]  # fmt: skip
    assert link.a.call.state == handles.UP
    ended_cleanly(link)


def test_info_is_answered_and_handed_up():
    link = up()
    sent = link.a.call.info(b"Signal=5\r\nDuration=160\r\n", "application/dtmf-relay", link.now)
    link.run(1)
    received = link.b.last(events.InfoReceived)
    assert (received.content_type, received.body) == ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n")
    answered = link.a.last(events.RequestAnswered)
    assert (answered.request, answered.status) == (sent, 200)
    ended_cleanly(link)


def timed(expires=100, *, a_min=90, b_min=90, **options):
    link = Link(a=AgentConfig(min_se_s=a_min), b=AgentConfig(min_se_s=b_min), **options)
    answering(link)
    link.invite(session_expires_s=expires)
    link.run(1)
    return link


def test_the_caller_refreshes_at_half_of_the_interval_and_neither_application_hears_of_it():
    link = timed(100)
    began = link.a.last(events.Answered).at_ns // MS
    link.run(400)
    # Each refresh begins the interval anew when its answer comes, 10 ms later.
    assert [at - began for at in link.times_ms("a UPDATE")] == [50_000 + n * 50_010 for n in range(8)]
    assert not link.a.told(events.OfferAnswered)
    assert not link.b.told(events.Offered)
    assert link.a.call.state == link.b.call.state == handles.UP
    ended_cleanly(link)


def test_a_peer_that_allows_no_update_is_refreshed_by_reinvite():
    link = timed(100)
    link.a.call.peer_updates = False
    link.run(60)
    assert link.lines().count("a INVITE") == 2
    assert not link.b.told(events.Offered)
    ended_cleanly(link)


def test_a_session_nobody_refreshes_ends_before_its_time():
    link = timed(90)
    link.cut.add("a")
    began = link.b.last(events.Incoming).at_ns
    link.run(200)
    ended = link.b.last(events.Ended)
    # 90 s less the smaller of 32 s and a third.
    assert (ended.cause, ended.at_ns - began) == ("session_expired", 60 * S)
    assert "b BYE" in link.lines()


def test_a_refresh_into_the_void_ends_the_call_as_gone():
    link = timed(90)
    link.cut.add("a")
    link.drop = lambda side, message: True
    link.run(200)
    assert link.a.last(events.Ended).cause in ("gone", "session_expired")
    link.run(200)
    assert link.a.ua.held == 0


def test_too_short_an_interval_gets_422_and_is_asked_for_anew():
    link = timed(100, b_min=300)
    assert "b 422 INVITE" in link.lines()
    invite = [m for _, s, m in link.sent if label(m) == "INVITE"][-1]
    assert (invite.get("session-expires"), invite.get("min-se")) == ("300", "300")
    assert link.a.call.state == handles.UP
    assert link.b.call._timer.agreed.expires_s == 300
    ended_cleanly(link)


def test_the_callee_may_ask_for_the_session_timer():
    link = Link(b=AgentConfig(session_expires_s=120))
    answering(link)
    link.invite()
    link.run(1)
    assert link.b.call._timer.agreed.we_refresh
    assert not link.a.call._timer.agreed.we_refresh
    link.run(70)
    assert "b UPDATE" in link.lines()
    ended_cleanly(link)


def test_a_dialog_the_peer_forgot_ends_as_gone():
    link = up()
    link.b.ua._endpoint.calls.clear()
    link.a.call.info(b"x", "text/plain", link.now)
    link.run(100)
    ended = link.a.last(events.Ended)
    assert (ended.cause, ended.message.status) == ("gone", 481)
    assert link.a.ua.held == 0
