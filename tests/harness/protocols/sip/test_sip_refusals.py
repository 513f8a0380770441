"""What an agent answers to requests that fit no call, break the rules, or come twice; bytes in, bytes out."""

import pytest
from sip_link import ANSWER, OFFER, A, B, S

from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.reading import parse
from harness.protocols.sip.user_agent import UserAgent

pytestmark = pytest.mark.unit

FLOW = Flow("udp", B, A)


def request(
    method="INVITE",
    *,
    uri="sip:bob@192.0.2.2",
    to="<sip:bob@192.0.2.2>",
    more="",
    branch="z9hG4bK1",
    cseq=1,
    via=None,
    body=b"",
    contact=True,
):
    via = via or f"SIP/2.0/UDP 192.0.2.1:5060;branch={branch}"
    fields = f"Contact: <sip:a@192.0.2.1>\r\n{more}" if contact else more
    return (
        f"{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:a@192.0.2.1>;tag=at\r\nTo: {to}\r\n"
        f"Call-ID: c1\r\nCSeq: {cseq} {method}\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def answers(data, config=None, *, ua=None, flow=FLOW, now_ns=0):
    ua = ua or UserAgent(config, seed=3)
    ua.receive(data, flow, now_ns)
    return [parse(sent) for _, sent in ua.take_outputs()]


def statuses(*args, **named):
    return [answer.status for answer in answers(*args, **named)]


@pytest.mark.parametrize(
    ("data", "status", "field"),
    [
        pytest.param(request("BYE", to="<sip:b@h>;tag=no"), 481, None, id="BYE of no call"),
        pytest.param(request("BYE"), 481, None, id="BYE without a tag"),
        pytest.param(request("INVITE", to="<sip:b@h>;tag=no"), 481, None, id="re-INVITE of no call"),
        pytest.param(request("OPTIONS", to="<sip:b@h>;tag=no"), 481, None, id="OPTIONS of no call"),
        pytest.param(request("PRACK", more="RAck: 1 1 INVITE\r\n"), 481, None, id="PRACK of no call"),
        pytest.param(request("CANCEL"), 481, None, id="CANCEL of nothing"),
        pytest.param(request("NOTIFY"), 405, ("allow", "INVITE"), id="method not taken"),
        pytest.param(request("WHAT"), 405, ("allow", "BYE"), id="method unknown"),
        pytest.param(request(uri="http://h/"), 416, None, id="scheme"),
        pytest.param(request(more="Require: 100rel, gold\r\n"), 420, ("unsupported", "gold"), id="extension"),
        pytest.param(request(more="Content-Encoding: gzip\r\n"), 415, ("accept-encoding", "identity"), id="encoding"),
        pytest.param(
            request(more="Session-Expires: 30\r\nSupported: timer\r\n"), 422, ("min-se", "90"), id="session interval"
        ),
        pytest.param(request(contact=False), 400, None, id="no Contact"),
        pytest.param(request(more="Session-Expires: soon\r\n"), 400, None, id="unreadable field"),
        pytest.param(request().replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"), 400, None, id="CSeq of another method"),
        pytest.param(request().replace(b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia"), 505, None, id="version"),
    ],
)
def test_a_request_gets_the_right_refusal(data, status, field):
    ua = UserAgent(seed=3)
    (answer,) = answers(data, ua=ua)
    assert answer.status == status
    assert answer.top_via.branch == "z9hG4bK1"
    assert answer.to.tag
    if field:
        assert field[1] in answer.get(field[0])
    assert not ua.take_events()
    ua.handle_timers(100 * S)
    assert ua.held == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"rubbish",
        b"\xff" * 100,
        request("ACK"),
        request("ACK", to="<sip:b@h>;tag=no"),
        b"SIP/2.0 200 OK\r\n\r\n",
    ],
)
def test_what_must_not_be_answered_is_counted(data):
    ua = UserAgent(seed=3)
    assert answers(data, ua=ua) == []
    assert ua.counts.malformed + ua.counts.strays == 1
    assert ua.held == 0


def test_a_stray_response_is_counted():
    ua = UserAgent(seed=3)
    data = request().replace(b"INVITE sip:bob@192.0.2.2 SIP/2.0", b"SIP/2.0 200 OK")
    assert answers(data, ua=ua) == []
    assert ua.counts.strays == 1


def test_max_forwards_0_is_for_proxies_to_refuse():
    # RFC 3261 16.3: 483 is a proxy's; the one a request is meant for answers it (8.2).
    data = request("OPTIONS").replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
    assert statuses(data) == [200]


def test_a_request_that_came_over_two_ways_gets_482():
    ua = UserAgent(seed=3)
    assert statuses(request(branch="z9hG4bK1"), ua=ua) == [100]
    assert statuses(request(branch="z9hG4bK2"), ua=ua) == [482]
    assert ua.counts.merged == 1
    assert len(ua.take_events()) == 1
    # The same one again is a retransmission.
    assert statuses(request(branch="z9hG4bK1"), ua=ua) == [100]
    assert ua.counts.repeated == 1


def test_a_pure_caller_takes_no_calls():
    assert statuses(request(), AgentConfig(invites=False)) == [405]


def test_options_says_what_is_supported():
    (answer,) = answers(request("OPTIONS"), AgentConfig(options_body=OFFER, server="s/1"))
    assert (answer.status, answer.body, answer.get("server")) == (200, OFFER, "s/1")
    assert "INVITE" in answer.get("allow")
    assert "100rel" in answer.get("supported")


@pytest.mark.parametrize(
    ("prack", "more", "status"),
    [("off", "Require: 100rel\r\n", 420), ("required", "", 421), ("required", "Supported: 100rel\r\n", 100)],
)
def test_reliable_responses_are_agreed_upon(prack, more, status):
    assert statuses(request(more=more), AgentConfig(prack=prack)) == [status]


def test_requests_the_application_wants_are_handed_up():
    ua = UserAgent(AgentConfig(requests=frozenset({"MESSAGE"})), seed=3)
    assert answers(request("MESSAGE", body=b"hi"), ua=ua) == []
    (event,) = ua.take_events()
    assert (type(event), event.request.message.body) == (events.RequestReceived, b"hi")
    event.request.respond(202, 0, headers=(("X-A", "b"),))
    (answer,) = [parse(data) for _, data in ua.take_outputs()]
    assert (answer.status, answer.get("x-a")) == (202, "b")
    assert statuses(request("MESSAGE", body=b"hi"), ua=ua) == [202]
    ua.handle_timers(40 * S)
    assert ua.held == 0


@pytest.mark.parametrize(
    ("via", "source", "to", "stamped"),
    [
        ("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1", ("192.0.2.1", 5060), ("192.0.2.1", 5060), None),
        ("SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1", ("192.0.2.1", 5060), ("192.0.2.1", 5070), None),
        ("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1", ("192.0.2.1", 999), ("192.0.2.1", 5070), "192.0.2.1"),
        ("SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bK1", ("192.0.2.1", 999), ("192.0.2.1", 999), "192.0.2.1"),
        ("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport", ("192.0.2.1", 999), ("192.0.2.1", 999), "192.0.2.1"),
        ("SIP/2.0/UDP node1;branch=z9hG4bK1;rport, SIP/2.0/UDP h", ("192.0.2.1", 999), ("192.0.2.1", 999), "192.0.2.1"),
        ("SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK1;rport", ("2001:db8::9", 999), ("2001:db8::9", 999), "2001:db8::9"),
    ],
)
def test_responses_go_where_via_says(via, source, to, stamped):
    ua = UserAgent(seed=3)
    ua.receive(request("OPTIONS", via=via), Flow("udp", B, source), 0)
    ((flow, data),) = ua.take_outputs()
    answer = parse(data)
    assert flow.remote == to
    assert answer.top_via.received == stamped
    assert len(answer.vias) == via.count("SIP/2.0")
    if "rport" in via:
        assert answer.top_via.rport == source[1]


def test_a_stream_answers_on_its_connection():
    ua = UserAgent(seed=3)
    flow = Flow("tcp", B, ("192.0.2.1", 40001), 9)
    ua.receive(request("OPTIONS", via="SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bK1"), flow, 0)
    assert [sent for sent, _ in ua.take_outputs()] == [flow]


def test_requests_of_rfc_2543_are_told_apart_without_a_branch():
    ua = UserAgent(seed=3)
    old = request(via="SIP/2.0/UDP 192.0.2.1:5060")
    assert statuses(old, ua=ua) == [100]
    assert statuses(old, ua=ua) == [100]
    (event,) = ua.take_events()
    event.call.reject(486, 0)
    ua.take_outputs()
    assert answers(request("ACK", via="SIP/2.0/UDP 192.0.2.1:5060", to="<sip:bob@192.0.2.2>;tag=x"), ua=ua) == []
    assert ua.counts.strays == 0


def accepted():
    ua = UserAgent(seed=3)
    ua.receive(
        request(more="Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\nRecord-Route: <sip:p3;lr>\r\n", body=OFFER), FLOW, 0
    )
    (event,) = ua.take_events()
    event.call.accept(ANSWER, 0)
    final = parse(ua.take_outputs()[-1][1])
    ua.receive(request("ACK", to=final.get("to"), branch="z9hG4bKack"), FLOW, 0)
    ua.take_events()
    return ua, event.call, final


def test_record_route_is_repeated_and_becomes_the_route():
    ua, call, final = accepted()
    assert final.values("record-route") == ["<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>"]
    call.hang_up(S)
    bye = parse(ua.take_outputs()[-1][1])
    assert bye.values("route") == ["<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>"]
    assert (bye.uri_text, bye.to.tag, bye.from_.tag) == ("sip:a@192.0.2.1", "at", call.local_tag)


def test_requests_out_of_order_get_500():
    ua, _call, final = accepted()
    to = final.get("to")
    assert statuses(request("INFO", to=to, branch="z9hG4bK5", cseq=5, more="Content-Type: text/plain\r\n"), ua=ua) == [
        200
    ]
    assert statuses(request("INFO", to=to, branch="z9hG4bK4", cseq=4, more="Content-Type: text/plain\r\n"), ua=ua) == [
        500
    ]
    assert statuses(request("NOTIFY", to=to, branch="z9hG4bK6", cseq=6), ua=ua) == [405]
    assert statuses(request("INFO", to=to, branch="z9hG4bK7", cseq=7, more="Require: gold\r\n"), ua=ua) == [420]
    assert statuses(request("OPTIONS", to=to, branch="z9hG4bK8", cseq=8), ua=ua) == [200]
    assert statuses(request("PRACK", to=to, branch="z9hG4bK9", cseq=9, more="RAck: 1 1 INVITE\r\n"), ua=ua) == [481]
    assert statuses(request("PRACK", to=to, branch="z9hG4bKa", cseq=10, more="RAck: x\r\n"), ua=ua) == [400]
    other = request("BYE", to=to, branch="z9hG4bKb", cseq=11).replace(b";tag=at", b";tag=other")
    assert statuses(other, ua=ua) == [481]


def test_bye_before_the_answer_ends_the_invite_with_487():
    ua = UserAgent(seed=3)
    ua.receive(request(), FLOW, 0)
    (event,) = ua.take_events()
    event.call.ring(0)
    ringing = parse(ua.take_outputs()[-1][1])
    assert statuses(request("BYE", to=ringing.get("to"), branch="z9hG4bK2", cseq=2), ua=ua) == [200, 487]
    (failed,) = ua.take_events()
    assert (type(failed), failed.cause) == (events.Failed, "cancelled")


def test_cancel_after_the_answer_changes_nothing():
    ua = UserAgent(seed=3)
    ua.receive(request(), FLOW, 0)
    (event,) = ua.take_events()
    event.call.accept(ANSWER, 0)
    ua.take_outputs()
    assert statuses(request("CANCEL"), ua=ua) == [200]
    assert event.call.state == "Answered"
