"""What a SIP call's record keeps of its signalling, how refusals are counted, and where redirects lead."""

from types import SimpleNamespace

import pytest

from harness.callers.setup_failure import SetupFailure
from harness.callers.sip_causes import cause_of, end_of, refusal
from harness.callers.sip_hop import Hop, first_hop, hop_of, read_uri
from harness.callers.sip_identity import account_of, from_of
from harness.callers.sip_log import SipLog
from harness.callers.sip_redirects import Redirects
from harness.model.plan import SipSpec
from harness.model.records import Cause
from harness.model.sip_facts import Bye
from harness.protocols.sip.events import Answered, Ended, Failed
from harness.protocols.sip.events import Provisional as ProvisionalArrived
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.message import Request, Response
from harness.protocols.sip.uri import parse_uri

pytestmark = pytest.mark.unit

MS = 1_000_000
CALL = SimpleNamespace(resent=0, challenges=0)


def response(status, *headers):
    return Response(status, None, list(headers))


def provisional(at_ms, status):
    return ProvisionalArrived(at_ms * MS, CALL, response(status, ("Server", "agent 1")), status, b"", False)


def answered_at(log, at_ms=300):
    log.answered(Answered(at_ms * MS, CALL, response(200), b""))


def test_times_run_from_the_first_invite():
    log = SipLog("udp")
    log.invited("id", 100 * MS)
    log.provisional(provisional(110, 100))
    log.provisional(provisional(150, 180))
    # A redirect: the second INVITE belongs to the same attempt.
    log.invited("id", 200 * MS)
    answered_at(log, 400)
    log.hung_up(1_400 * MS)
    log.ended(Ended(1_405 * MS, CALL, "local", "hung up", response(200)))
    facts = log.facts()
    assert [(p.status, p.at_ms) for p in facts.provisionals] == [(100, 10.0), (180, 50.0)]
    assert (facts.request_delay_ms, facts.answer_delay_ms, facts.session_ms) == (50.0, 300.0, 1_000.0)
    assert (facts.bye, facts.disconnect_delay_ms, facts.agent) == (Bye.ANSWERED, 5.0, "agent 1")


def test_a_call_placed_again_is_measured_by_its_last_session():
    log = SipLog("udp")
    log.invited("shared", 0)
    answered_at(log, 100)
    log.hung_up(101 * MS)
    log.ended(Ended(103 * MS, CALL, "local", "hung up", response(200)))
    log.invited("alone", 104 * MS)
    answered_at(log, 200)
    log.hung_up(60_200 * MS)
    log.ended(Ended(60_205 * MS, CALL, "local", "hung up", response(200)))
    facts = log.facts()
    assert (facts.call_id, facts.answer_delay_ms, facts.session_ms) == ("alone", 200.0, 60_000.0)
    assert (facts.bye, facts.disconnect_delay_ms) == (Bye.ANSWERED, 5.0)


def test_a_redirect_to_where_nobody_answers_has_no_final_response():
    log = SipLog("udp")
    log.invited("first", 0)
    log.failed(Failed(10 * MS, CALL, 302, "Moved", response(302), "response"))
    log.invited("second", 11 * MS)
    assert (log.facts().status, log.facts().reason) == (None, "")


def test_an_answer_without_a_1xx_is_the_first_sign():
    log = SipLog("udp")
    log.invited("id", 0)
    answered_at(log)
    assert log.facts().request_delay_ms == 300.0


@pytest.mark.parametrize(
    ("cause", "reason", "message", "bye"),
    [
        ("local", "hung up", response(200), Bye.ANSWERED),
        ("local", "hung up", response(481), Bye.REFUSED),
        ("local", "no answer", None, Bye.UNANSWERED),
        ("local", "hung up by both sides", None, Bye.RECEIVED),
        ("remote", "hung up by the peer", Request("BYE", "sip:a@b", [("Max-Forwards", "67")]), Bye.RECEIVED),
        ("transport", "cut", None, Bye.NONE),
        ("session_expired", "", None, Bye.NONE),
    ],
)
def test_every_end_is_told_apart(cause, reason, message, bye):
    log = SipLog("udp")
    log.invited("id", 0)
    answered_at(log)
    if cause == "local":
        log.hung_up(400 * MS)
    log.ended(Ended(450 * MS, CALL, cause, reason, message))
    facts = log.facts()
    assert facts.bye is bye
    assert facts.hops == (3 if isinstance(message, Request) else None)
    assert facts.session_ms == (100.0 if cause == "local" else 150.0)


def test_a_487_to_our_own_cancel_is_no_answer_of_the_agents():
    log = SipLog("udp")
    log.invited("id", 0)
    log.failed(Failed(10 * MS, CALL, 487, "Request Terminated", response(487), "cancelled"))
    assert (log.facts().status, log.facts().request_delay_ms) == (None, None)


def test_a_3xx_is_no_sign_yet_of_what_becomes_of_the_call():
    log = SipLog("udp")
    log.invited("id", 0)
    log.failed(Failed(10 * MS, CALL, 302, "Moved", response(302), "response"))
    answered_at(log)
    assert (log.facts().request_delay_ms, log.facts().status) == (300.0, 200)


@pytest.mark.parametrize(
    ("status", "failure", "challenges", "cause"),
    [
        (403, "response", 0, Cause.SIP_REJECTED),
        (403, "response", 1, Cause.SIP_AUTH),
        (407, "auth", 1, Cause.SIP_AUTH),
        (408, "timeout", 0, Cause.SIP_TIMEOUT),
        (503, "transport", 0, Cause.SIGNALLING_UNREACHABLE),
        (503, "response", 0, Cause.SIP_OVERLOADED),
        (504, "response", 0, Cause.SIP_SERVER_ERROR),
        (604, "response", 0, Cause.SIP_GLOBAL_FAILURE),
        (305, "response", 0, Cause.SIP_REDIRECTED),
    ],
)
def test_causes_by_class(status, failure, challenges, cause):
    assert cause_of(status, failure, challenges) is cause


def test_ends_have_their_words():
    assert end_of("session_expired", "", None)[0] is Cause.SIP_SESSION_EXPIRED
    assert end_of("gone", "INVITE: 481", None) == (
        Cause.SIP_DIALOG_GONE,
        "the agent does not know the call any more: INVITE: 481",
    )
    assert end_of("remote", "", "Q.850;cause=16\r\n")[1].isprintable()
    assert refusal("INVITE to x", 401, "Unauthorized", has_account=False).endswith("target.sip.password")


def failed(status, contacts=""):
    headers = [("Contact", contacts)] if contacts else []
    return Failed(0, CALL, status, "", response(status, *headers), "response")


def test_redirects_go_by_q_and_never_twice():
    first = parse_uri("sip:a@h")
    redirects = Redirects(first)
    assert (
        str(redirects.after(failed(302, "<sip:b@h>;q=0.1, <sip:c@h>;q=0.8, <sip:A@H;x=1>, <tel:1>"))) == "sip:A@H;x=1"
    )
    assert str(redirects.after(failed(404))) == "sip:c@h"
    # A redirect to where we were, with others left to try: those.
    assert str(redirects.after(failed(302, "<sip:a@h>"))) == "sip:b@h"
    assert redirects.after(failed(404)) is None


@pytest.mark.parametrize(("status", "onward"), [(486, "sip:c@h"), (600, None)])
def test_a_6xx_ends_the_search(status, onward):
    redirects = Redirects(parse_uri("sip:a@h"))
    redirects.after(failed(300, "<sip:b@h>, <sip:c@h>"))
    found = redirects.after(failed(status))
    assert (None if found is None else str(found)) == onward


def test_hops_by_address_parameter_and_proxy():
    spec = SipSpec(transport="udp")
    assert hop_of(parse_uri("sip:a@h"), "udp") == Hop("udp", "h", 5060)
    assert hop_of(parse_uri("sip:a@h;transport=TCP"), "udp") == Hop("tcp", "h", 5060)
    assert hop_of(parse_uri("sips:a@[::1]"), "udp") == Hop("tls", "::1", 5061)
    assert str(Hop("udp", "::1", 5060)) == "[::1]:5060 over udp"
    assert first_hop(parse_uri("sip:a@h"), SipSpec(transport="tcp", proxy="sip:p:5070;lr")) == Hop("tcp", "p", 5070)
    assert first_hop(parse_uri("sip:a@h:99"), spec) == Hop("udp", "h", 99)
    with pytest.raises(SetupFailure, match="legal: udp, tcp, tls"):
        hop_of(parse_uri("sip:a@h;transport=sctp"), "udp")
    with pytest.raises(SetupFailure, match="nowhere to call"):
        read_uri("tel:123", "a Contact")


def test_who_calls():
    flow = Flow("udp", ("127.0.0.1", 5062), ("127.0.0.1", 5060))
    uri = parse_uri("sip:agent@example.org:5070")
    assert from_of(SipSpec(), uri, flow) == "<sip:callquake@127.0.0.1:5062>"
    assert from_of(SipSpec(username="al"), uri, flow) == "<sip:al@example.org>"
    assert from_of(SipSpec(from_uri="sip:me@x"), uri, flow) == "<sip:me@x>"
    account = account_of(SipSpec(username="al", proxy="sip:p;lr"), uri)
    assert (account.registrar, account.address_of_record) == ("sip:example.org:5070", "sip:al@example.org")
    assert account.routes == ("<sip:p;lr>",)
