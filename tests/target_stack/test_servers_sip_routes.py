"""Which media server has which SIP call: what of a message decides, and for how long."""

import pytest

from harness.model.clock import NS_PER_S
from target_stack.servers.sip_routes import LOCAL, Heading, SipRoutes, heading

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("INVITE sip:a@b SIP/2.0\r\nCall-ID: x-1@h\r\nTo: <sip:a@b>\r\n\r\n", Heading("x-1@h", "INVITE", False)),
        # Compact names, in capitals, with white space before the colon (RFC 3261 7.3.1).
        ("ACK sip:a@b SIP/2.0\r\nI :  7 \r\nT : A <sip:a@b> ; TAG=3\r\n\r\n", Heading("7", "ACK", True)),
        ("SIP/2.0 200 OK\r\nt:<sip:a@b>;tag=3\r\ni:7\r\n\r\n", Heading("7", "", True)),
        # A parameter of the URI is no tag of the dialog.
        ("INVITE sip:a@b SIP/2.0\r\nCall-ID: 1\r\nTo: <sip:a@b;tag=9>\r\n\r\n", Heading("1", "INVITE", False)),
        ("BYE sip:a@b SIP/2.0\nCall-ID: 1\nTo: sip:a@b;tag=9\n\n", Heading("1", "BYE", True)),
        # What the body says is no header.
        ("INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\nCall-ID: 5\r\n", None),
        ("INVITE sip:a@b SIP/2.0\r\nCall-ID: 5\r\n\r\n", None),
        ("\r\n\r\n", None),
    ],
)
def test_headings(text, found):
    assert heading(text.encode()) == found


def test_only_an_invite_outside_of_a_dialog_begins_a_call():
    assert Heading("1", "INVITE", is_in_dialog=False).begins_a_call
    assert not Heading("1", "INVITE", is_in_dialog=True).begins_a_call
    assert not Heading("1", "BYE", is_in_dialog=False).begins_a_call


def test_a_call_that_lasts_is_found_for_as_long_as_it_does_and_a_little_longer():
    routes = SipRoutes()
    routes.take("a", "s1", 0)
    routes.pin("a")
    hour = 3600 * NS_PER_S
    assert routes.server_of("a", hour) == "s1"
    routes.over("a", hour)
    assert routes.server_of("a", hour + 39 * NS_PER_S) == "s1"
    assert routes.server_of("a", hour + 40 * NS_PER_S) is None
    assert len(routes) == 0


def test_a_call_that_never_came_to_be_is_forgotten():
    routes = SipRoutes()
    routes.take("challenged", "s1", 0)
    routes.take("refused", LOCAL, 0)
    assert routes.server_of("refused", NS_PER_S) == LOCAL
    assert routes.server_of("challenged", 40 * NS_PER_S) is None
    assert len(routes) == 0


def test_a_name_that_is_used_again_is_not_forgotten_with_its_first_call():
    routes = SipRoutes()
    routes.take("a", "s1", 0)
    routes.take("a", "s2", 10 * NS_PER_S)
    routes.pin("a")
    assert routes.server_of("a", 45 * NS_PER_S) == "s2"


def test_of_a_dead_servers_calls_those_that_were_answered_are_refused_and_the_others_begin_anew():
    routes = SipRoutes()
    for name in ("up", "unanswered", "elsewhere"):
        routes.take(name, "s1" if name != "elsewhere" else "s2", 0)
        routes.pin(name)
    routes.answered("up")
    routes.gone("s1", NS_PER_S)
    assert routes.server_of("up", 2 * NS_PER_S) == LOCAL
    assert routes.server_of("unanswered", 2 * NS_PER_S) is None
    assert routes.server_of("elsewhere", 2 * NS_PER_S) == "s2"
    assert routes.server_of("up", 50 * NS_PER_S) is None


def test_a_server_may_go_when_some_of_its_calls_are_due_to_be_forgotten():
    routes = SipRoutes()
    for name in ("lasts", "ended"):
        routes.take(name, "s1", 0)
        routes.answered(name)
    routes.pin("lasts")
    routes.gone("s1", 60 * NS_PER_S)
    assert routes.server_of("lasts", 60 * NS_PER_S) == LOCAL
    assert routes.server_of("ended", 60 * NS_PER_S) is None
