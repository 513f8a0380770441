"""A caller against answers written by hand: forks, routes, redirects, dead connections; registration."""

import pytest
from sip_link import ANSWER, MS, OFFER, A, B, Link, S, answering

from harness.model.errors import LocalProtocolError
from harness.protocols.sip import events, handles
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.digest import DigestClient, Verifier
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.reading import parse
from harness.protocols.sip.user_agent import UserAgent

pytestmark = pytest.mark.unit

FLOW = Flow("udp", A, B)


def calling(config=None, flow=FLOW, **options):
    ua = UserAgent(config, seed=5)
    call = ua.invite("sip:bob@192.0.2.2", flow, 0, body=OFFER, **options)
    ((_, data),) = ua.take_outputs()
    return ua, call, parse(data)


def answer(invite, status, *, tag="t1", contact="<sip:bob@192.0.2.2:5062>", more="", body=b""):
    to = f"{invite.get('to')};tag={tag}" if tag else invite.get("to")
    contact = f"Contact: {contact}\r\n" if contact else ""
    return (
        f"SIP/2.0 {status} X\r\nVia: {invite.get('via')}\r\nFrom: {invite.get('from')}\r\nTo: {to}\r\n"
        f"Call-ID: {invite.call_id}\r\nCSeq: {invite.cseq}\r\n{contact}{more}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def sent(ua):
    return [(flow, parse(data)) for flow, data in ua.take_outputs()]


def kinds(ua):
    return [type(event) for event in ua.take_events()]


def test_a_second_fork_that_answers_is_acknowledged_and_hung_up():
    ua, call, invite = calling()
    for tag in ("t1", "t2", "t3"):
        ua.receive(answer(invite, 180, tag=tag, contact=f"<sip:{tag}@192.0.2.2>"), FLOW, 0)
    ua.receive(answer(invite, 200, tag="t2", contact="<sip:t2@192.0.2.2>", body=ANSWER), FLOW, 0)
    assert [(m.method, m.uri_text, m.to.tag) for _, m in sent(ua)] == [("ACK", "sip:t2@192.0.2.2", "t2")]
    assert call.remote_tag == "t2"
    second = answer(invite, 200, tag="t3", contact="<sip:t3@192.0.2.2>", body=ANSWER)
    ua.receive(second, FLOW, 0)
    first = sent(ua)
    assert [(m.method, m.uri_text, m.to.tag) for _, m in first] == [
        ("ACK", "sip:t3@192.0.2.2", "t3"),
        ("BYE", "sip:t3@192.0.2.2", "t3"),
    ]
    ua.receive(second, FLOW, 0)
    assert [m.top_via.branch for _, m in sent(ua)] == [first[0][1].top_via.branch]
    assert ua.counts.forks_dropped == 1
    ua.receive(answer(first[1][1], 200, tag=""), FLOW, 0)
    assert kinds(ua) == [events.Provisional] * 3 + [events.Answered]
    assert call.state == handles.UP


def test_a_fork_that_answers_after_the_call_is_hung_up_too():
    ua, call, invite = calling()
    ua.receive(answer(invite, 200, body=ANSWER), FLOW, 0)
    call.hang_up(0)
    bye = sent(ua)[-1][1]
    ua.receive(answer(bye, 200, tag=""), FLOW, 0)
    assert call.state == handles.ENDED
    ua.receive(answer(invite, 200, tag="late", body=ANSWER), FLOW, S)
    assert [m.method for _, m in sent(ua)] == ["ACK", "BYE"]
    ua.receive(answer(invite, 200, body=ANSWER), FLOW, S)
    assert [m.method for _, m in sent(ua)] == ["ACK"]
    assert kinds(ua) == [events.Answered, events.Ended]
    for second in range(2, 200):
        ua.handle_timers(second * S)
    assert ua.held == 0


def test_ack_and_bye_take_the_route_of_the_200_and_a_branch_of_their_own():
    ua, call, invite = calling()
    routes = "Record-Route: <sip:192.0.2.9;lr>\r\nRecord-Route: <sip:192.0.2.8:5080;lr>\r\n"
    ua.receive(answer(invite, 200, more=routes, body=ANSWER), FLOW, 0)
    ((flow, ack),) = sent(ua)
    assert ack.get_all("route") == ["<sip:192.0.2.8:5080;lr>", "<sip:192.0.2.9;lr>"]
    assert ack.uri_text == "sip:bob@192.0.2.2:5062"
    assert ack.top_via.branch != invite.top_via.branch
    assert (ack.cseq.number, flow.remote) == (invite.cseq.number, ("192.0.2.8", 5080))
    call.hang_up(0)
    ((flow, bye),) = sent(ua)
    assert (bye.cseq.number, flow.remote) == (invite.cseq.number + 1, ("192.0.2.8", 5080))


def test_a_strict_router_takes_the_start_line():
    ua, _call, invite = calling()
    ua.receive(answer(invite, 200, more="Record-Route: <sip:192.0.2.9>\r\n", body=ANSWER), FLOW, 0)
    ((flow, ack),) = sent(ua)
    assert (ack.uri_text, ack.get_all("route")) == ("sip:192.0.2.9", ["<sip:bob@192.0.2.2:5062>"])
    assert flow.remote == ("192.0.2.9", 5060)


@pytest.mark.parametrize(
    ("config", "contact", "remote"),
    [
        (AgentConfig(), "<sip:bob@192.0.2.7:5099>", ("192.0.2.7", 5099)),
        (AgentConfig(), "<sip:bob@agent.example>", B),
        (AgentConfig(follow_contact=False), "<sip:bob@192.0.2.7:5099>", B),
    ],
)
def test_requests_go_to_the_contact_where_it_is_an_address(config, contact, remote):
    ua, _call, invite = calling(config)
    ua.receive(answer(invite, 200, contact=contact, body=ANSWER), FLOW, 0)
    assert [flow.remote for flow, _ in sent(ua)] == [remote]


def test_a_stream_call_stays_on_its_connection():
    flow = Flow("tls", A, B, 4)
    ua, call, invite = calling(flow=flow)
    assert invite.get("via").startswith("SIP/2.0/TLS 192.0.2.1:5060")
    assert "transport=tls" in invite.get("contact")
    ua.receive(answer(invite, 200, contact="<sip:x@192.0.2.7:5099>", body=ANSWER), flow, 0)
    call.hang_up(0)
    assert [found for found, _ in sent(ua)] == [flow, flow]


def test_a_redirect_and_a_busy_trunk_are_handed_up():
    ua, _call, invite = calling()
    more = "Contact: <sip:c@192.0.2.4>;q=0.5\r\nRetry-After: 18 (soon);duration=3600\r\n"
    ua.receive(answer(invite, 302, contact="<sip:b@192.0.2.3>", more=more), FLOW, 0)
    (failed,) = ua.take_events()
    assert (failed.status, failed.cause, failed.retry_after_s) == (302, "response", 18)
    assert failed.contacts == ("sip:b@192.0.2.3", "sip:c@192.0.2.4")
    assert [m.method for _, m in sent(ua)] == ["ACK"]


@pytest.mark.parametrize("more", ["Retry-After: soon\r\n", "Contact: <\r\n", ""])
def test_a_refusal_with_unreadable_fields_is_still_one(more):
    ua, _call, invite = calling()
    ua.receive(answer(invite, 503, contact="", more=more), FLOW, 0)
    (failed,) = ua.take_events()
    assert (failed.status, failed.retry_after_s, failed.contacts) == (503, None, ())


@pytest.mark.parametrize(
    "field", ["Contact: <", "Session-Expires: soon", "Record-Route: <<>", 'Require: ,"', "RSeq: x"]
)
def test_a_200_with_an_unreadable_field_is_one_without_it(field):
    ua, call, invite = calling()
    ua.receive(answer(invite, 200, contact="", more=f"{field}\r\n", body=ANSWER), FLOW, 0)
    assert kinds(ua) == [events.Answered]
    assert [m.uri_text for _, m in sent(ua)] == ["sip:bob@192.0.2.2"]
    assert ua.counts.malformed == 1
    assert call.state == handles.UP


def test_a_connection_that_fails_ends_what_waits_on_it_with_503():
    flow = Flow("tcp", A, B, 4)
    ua, call, _invite = calling(flow=flow)
    ua.flow_failed(Flow("tcp", A, B, 5), 0, "other")
    assert ua.take_events() == []
    ua.flow_failed(flow, 0, "refused")
    (failed,) = ua.take_events()
    assert (failed.status, failed.cause, failed.reason) == (503, "transport", "refused")
    assert call.state == handles.ENDED
    assert ua.held == ua.calls == 0


def test_a_call_outlives_its_connection_and_asks_for_a_new_one():
    flow = Flow("tcp", A, B, 4)
    ua, call, invite = calling(flow=flow)
    ua.receive(answer(invite, 200, body=ANSWER), flow, 0)
    sent(ua)
    ua.flow_failed(flow, 0, "closed")
    assert call.state == handles.UP
    call.hang_up(0)
    ((wanted, bye),) = sent(ua)
    assert (bye.method, wanted) == ("BYE", Flow("tcp", A, B, 0))
    ua.flow_failed(wanted, 0, "refused")
    assert kinds(ua) == [events.Answered, events.Ended]


def test_a_bye_before_the_lost_200_ends_the_call():
    ua, call, invite = calling()
    ua.receive(answer(invite, 180), FLOW, 0)
    bye = (
        f"BYE sip:callquake@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx\r\n"
        f"From: {invite.get('to')};tag=t1\r\nTo: {invite.get('from')}\r\n"
        f"Call-ID: {invite.call_id}\r\nCSeq: 9 BYE\r\n\r\n"
    ).encode()
    ua.receive(bye, FLOW, 0)
    assert [m.status for _, m in sent(ua)] == [200]
    assert kinds(ua) == [events.Provisional, events.Failed]
    ua.handle_timers(40 * S)
    assert (call.state, ua.held) == (handles.ENDED, 0)


def test_reliable_responses_are_taken_once_and_in_turn():
    ua, _call, invite = calling()

    def ringing(rseq):
        return answer(invite, 183, more=f"Require: 100rel\r\nRSeq: {rseq}\r\n", body=ANSWER)

    for rseq in (7, 7, 9, 8, 9):
        ua.receive(ringing(rseq), FLOW, 0)
    assert [m.get("rack") for _, m in sent(ua)] == ["7 1 INVITE", "8 1 INVITE", "9 1 INVITE"]
    assert len(kinds(ua)) == 3


def test_what_the_application_adds_is_in_the_invite():
    _ua, _call, invite = calling(
        headers=(("X-Call", "7"),), routes=("<sip:proxy;lr>",), from_='"A" <sip:a@h>', call_id="mine", contact_user="me"
    )
    assert (invite.get("x-call"), invite.get("route"), invite.call_id) == ("7", "<sip:proxy;lr>", "mine")
    assert invite.from_.display == "A"
    assert invite.get("contact") == "<sip:me@192.0.2.1:5060>"
    assert (invite.get("max-forwards"), invite.get("user-agent"), invite.body) == ("70", "callquake", OFFER)


@pytest.mark.parametrize(
    "options",
    [
        {"headers": (("X", "a\r\nb"),)},
        {"headers": (("X Y", "a"),)},
        {"from_": "<sip:a>\n"},
        {"routes": ("a\r",)},
        {"call_id": "\n"},
        {"content_type": "a\nb"},
        {"prack": "maybe"},
    ],
)
def test_what_would_break_a_message_is_refused(options):
    ua = UserAgent(seed=5)
    with pytest.raises(LocalProtocolError):
        ua.invite("sip:b@h", FLOW, 0, **options)
    assert ua.take_outputs() == []
    assert ua.calls == 0


def test_a_wrong_uri_or_method_or_setting_is_refused():
    ua = UserAgent(seed=5)
    with pytest.raises(LocalProtocolError, match="cannot send to"):
        ua.invite("bob", FLOW, 0)
    with pytest.raises(LocalProtocolError, match="BYE is no request of its own"):
        ua.request("BYE", "sip:b@h", FLOW, 0)
    with pytest.raises(LocalProtocolError, match="legal: off, supported, required"):
        UserAgent(AgentConfig(prack="x"))


def test_verbs_of_the_other_direction_or_state_are_bugs_of_ours():
    link = Link()
    link.invite()
    link.run(0.1)
    for verb in (lambda: link.a.call.accept(b"", 0), lambda: link.a.call.ring(0), lambda: link.a.call.reject(486, 0),
                 lambda: link.b.call.acknowledge(b"", 0), lambda: link.b.call.answer_offer(b"", 0),
                 lambda: link.a.call.info(b"", "a/b", 0), lambda: link.a.call.acknowledge(b"", 0),
                 lambda: link.b.call.ring(0, 200), lambda: link.b.call.reject(200, 0)):  # fmt: skip
        with pytest.raises(LocalProtocolError):
            verb()
    link.b.call.accept(ANSWER, link.now)
    with pytest.raises(LocalProtocolError, match="Answered"):
        link.b.call.accept(ANSWER, link.now)


def test_identities_are_unique_and_repeatable():
    made = [calling()[2] for _ in range(2)]
    assert made[0].get("from") == made[1].get("from")
    ua = UserAgent(seed=6)
    ids = set()
    for _ in range(500):
        call = ua.invite("sip:b@192.0.2.2", FLOW, 0)
        ids |= {call.id, call.local_tag, parse(call.last_request).top_via.branch}
    assert len(ids) == 1500


def registering(expires_s=600, **options):
    verifier = Verifier("r", {"alice": "secret"}, secret=b"k")
    link = Link(b=AgentConfig(requests=frozenset({"REGISTER"}), verifier=verifier))
    granted = options.pop("granted", 100)

    def register(event):
        contact = event.request.message.get("contact")
        wanted = event.request.message.expires
        event.request.respond(200, link.now, headers=(("Contact", f"{contact};expires={min(granted, wanted)}"),))

    link.b.does[events.RequestReceived] = register
    link.registration = link.a.ua.register(
        "sip:192.0.2.2", link.flow_a, 0, aor="<sip:alice@h>", expires_s=expires_s,
        auth=DigestClient("alice", options.pop("password", "secret")), **options,
    )  # fmt: skip
    return link


def test_a_binding_is_made_refreshed_and_removed():
    link = registering()
    link.run(120)
    registered = link.a.told(events.Registered)
    assert [event.expires_s for event in registered] == [100, 100, 100]
    assert [event.at_ns // MS for event in registered] == [20, 50_030, 100_040]
    requests = [m for _, side, m in link.sent if side == "a"]
    assert len({m.call_id for m in requests}) == 1
    assert [m.cseq.number for m in requests] == list(range(1, len(requests) + 1))
    link.registration.remove(link.now)
    link.run(100)
    assert link.a.told(events.Unregistered)
    assert link.sent[-2][2].expires == 0
    link.assert_nothing_left()


def test_a_short_binding_is_refreshed_when_a_third_is_left():
    link = registering(granted=30)
    link.run(45)
    assert [event.at_ns // MS for event in link.a.told(events.Registered)] == [20, 20_030, 40_040]


def test_a_binding_removed_at_once_is_waited_for():
    link = registering()
    link.registration.remove(0)
    link.run(100)
    assert len(link.a.told(events.Unregistered)) == 1
    assert not link.a.told(events.Registered)
    link.assert_nothing_left()


def test_a_wrong_password_fails_the_registration_once():
    link = registering(password="no")
    link.run(100)
    failed = link.a.last(events.RegistrationFailed)
    assert (failed.status, "refused" in failed.reason) == (401, True)
    assert link.lines().count("a REGISTER") == 2
    link.assert_nothing_left()


def test_a_registrar_that_wants_longer_bindings_gets_them():
    link = Link(b=AgentConfig(requests=frozenset({"REGISTER"})))

    def register(event):
        wanted = event.request.message.expires
        brief = (423, (("Min-Expires", "60"),))
        status, headers = brief if wanted < 60 else (200, (("Expires", str(wanted)),))
        event.request.respond(status, link.now, headers=headers)

    link.b.does[events.RequestReceived] = register
    link.a.ua.register("sip:192.0.2.2", link.flow_a, 0, aor="<sip:alice@h>", expires_s=10)
    link.run(1)
    assert link.a.last(events.Registered).expires_s == 60


def test_options_is_answered():
    link = Link()
    request = link.a.ua.request("OPTIONS", "sip:192.0.2.2", link.flow_a, 0, owner="me")
    link.run(100)
    answered = link.a.last(events.RequestAnswered)
    assert (answered.request, answered.status, request.owner) == (request, 200, "me")
    link.assert_nothing_left()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_many_calls_at_once_leave_nothing(transport):
    link = Link(transport=transport)
    answering(link)
    link.a.does[events.Answered] = lambda event: event.call.hang_up(link.now)
    for _ in range(200):
        link.invite()
    link.run(100)
    assert len(link.a.told(events.Ended)) == len(link.b.told(events.Ended)) == 200
    link.assert_nothing_left()
