"""What a caller's conduct makes of its messages, and what it counts of that."""

import asyncio

import pytest

from harness.callers import conduct_endpoint
from harness.callers.conduct import ACKS_WITHHELD, DELAYED, MALFORMED, WITHHELD, Conduct
from harness.callers.http_exchange import Requests
from harness.callers.setup_failure import SetupFailure
from harness.callers.sip_host import SipHost
from harness.model.plan import PROPER, Misconduct, TargetSpec

pytestmark = pytest.mark.unit

INVITE = b"INVITE sip:a SIP/2.0\r\nVia: x\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n"
ACK = b"ACK sip:a SIP/2.0\r\nVia: x\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n"


def left(conduct, message=INVITE, *, is_datagram=True):
    return conduct.outgoing(message, is_datagram=is_datagram)


def test_a_proper_callers_messages_leave_as_they_are():
    conduct = Conduct(PROPER, "1")
    assert conduct.is_proper
    assert left(conduct) == (INVITE, 0)
    assert not conduct.counts


def test_slow_ones_leave_late_and_are_counted():
    conduct = Conduct(Misconduct(signalling_delay_ms=700), "1")
    assert not conduct.is_proper
    assert left(conduct) == (INVITE, 700_000_000)
    assert conduct.counts == {DELAYED: 1}


def test_a_request_that_was_given_up_before_it_left_is_none_that_left_late():
    conduct = Conduct(Misconduct(signalling_delay_ms=700), "1")
    requests = Requests(None, TargetSpec("http://127.0.0.1:9"), conduct=conduct)
    with pytest.raises(SetupFailure, match="no answer"):
        asyncio.run(requests.send("DELETE", "http://127.0.0.1:9", {}, None, 0.01))
    assert not conduct.counts


def test_acknowledgements_alone_are_withheld():
    conduct = Conduct(Misconduct(never_acks=True), "1")
    assert left(conduct) == (INVITE, 0)
    assert left(conduct, ACK) is None
    assert conduct.counts == {ACKS_WITHHELD: 1}


def test_a_share_of_the_datagrams_is_malformed_and_nothing_on_a_connection():
    conduct = Conduct(Misconduct(malformed_ratio=0.5), "1")
    broken = sum(left(conduct)[0] != INVITE for _ in range(400))
    assert conduct.counts == {MALFORMED: broken}
    assert 150 < broken < 250
    assert all(left(conduct, is_datagram=False) == (INVITE, 0) for _ in range(50))
    assert not sum(left(Conduct(Misconduct(malformed_ratio=0.0), "1"))[0] != INVITE for _ in range(50))


def test_of_one_that_has_vanished_nothing_leaves():
    conduct = Conduct(PROPER, "1")
    conduct.is_gone = True
    assert not conduct.is_proper
    assert left(conduct) is left(conduct, ACK) is None
    assert conduct.counts == {WITHHELD: 2}


@pytest.mark.parametrize("is_gone", [False, True])
def test_of_a_caller_that_was_sent_on_nothing_is_kept(is_gone, monkeypatch):
    monkeypatch.setattr(conduct_endpoint, "_FORGET_AFTER_S", 0.0)

    async def main():
        host = SipHost()
        conduct, other = (Conduct(Misconduct(never_acks=True), name) for name in "12")
        for call_id in ("first", "second"):
            host.mind(call_id, conduct)
        host.mind("other", other)
        conduct.is_gone = is_gone
        host.endpoint.forget("second")
        await asyncio.sleep(0.01)
        left = list(host.endpoint._conducts)
        await host.aclose()
        return left

    assert asyncio.run(main()) == [b"other"]
