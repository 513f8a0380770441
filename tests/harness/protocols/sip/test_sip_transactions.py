"""Every transition of every transaction table, against a second copy of RFC 3261's figures 5 to 8 and RFC 6026."""

import pytest
from sip_link import A, B

from harness.model.errors import LocalProtocolError
from harness.protocols.sip import transaction_tables as tables
from harness.protocols.sip.config import TimerValues
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.reading import parse
from harness.protocols.sip.timers import TimerWheel
from harness.protocols.sip.transaction import Transaction

pytestmark = pytest.mark.unit

# state, event, next state over UDP, messages sent, told to the user, timers running afterwards with their delay in ms.
# Before each, the timers a state has are running: the resending one at its first interval.
CLIENT_INVITE = """
Initial    | send INVITE     | Calling    | 1 |          | A 500 B 32000
Calling    | A               | Calling    | 1 |          | A 1000 B 32000
Calling    | B               | Terminated | 0 | 408      |
Calling    | 1xx             | Proceeding | 0 | response |
Calling    | 2xx             | Accepted   | 0 | response | M 32000
Calling    | 3xx-6xx         | Completed  | 1 | response | D 32000
Calling    | transport error | Terminated | 0 | 503      |
Proceeding | 1xx             | Proceeding | 0 | response |
Proceeding | 2xx             | Accepted   | 0 | response | M 32000
Proceeding | 3xx-6xx         | Completed  | 1 | response | D 32000
Proceeding | transport error | Terminated | 0 | 503      |
Accepted   | 1xx             | Accepted   | 0 |          | M 32000
Accepted   | 2xx             | Accepted   | 0 | response | M 32000
Accepted   | 3xx-6xx         | Accepted   | 0 |          | M 32000
Accepted   | transport error | Accepted   | 0 |          | M 32000
Accepted   | M               | Terminated | 0 |          |
Completed  | 1xx             | Completed  | 0 |          | D 32000
Completed  | 2xx             | Completed  | 0 |          | D 32000
Completed  | 3xx-6xx         | Completed  | 1 |          | D 32000
Completed  | transport error | Terminated | 0 |          |
Completed  | D               | Terminated | 0 |          |
"""
CLIENT_NON_INVITE = """
Initial    | send request    | Trying     | 1 |          | E 500 F 32000
Trying     | E               | Trying     | 1 |          | E 1000 F 32000
Trying     | F               | Terminated | 0 | 408      |
Trying     | 1xx             | Proceeding | 0 | response | E 500 F 32000
Trying     | 2xx             | Completed  | 0 | response | K 5000
Trying     | 3xx-6xx         | Completed  | 0 | response | K 5000
Trying     | transport error | Terminated | 0 | 503      |
Proceeding | E               | Proceeding | 1 |          | E 4000 F 32000
Proceeding | F               | Terminated | 0 | 408      |
Proceeding | 1xx             | Proceeding | 0 | response | E 500 F 32000
Proceeding | 2xx             | Completed  | 0 | response | K 5000
Proceeding | 3xx-6xx         | Completed  | 0 | response | K 5000
Proceeding | transport error | Terminated | 0 | 503      |
Completed  | 1xx             | Completed  | 0 |          | K 5000
Completed  | 2xx             | Completed  | 0 |          | K 5000
Completed  | 3xx-6xx         | Completed  | 0 |          | K 5000
Completed  | transport error | Completed  | 0 |          | K 5000
Completed  | K               | Terminated | 0 |          |
"""
SERVER_INVITE = """
Initial    | INVITE          | Proceeding | 0 |          |
Proceeding | INVITE          | Proceeding | 1 |          |
Proceeding | ACK             | Proceeding | 0 |          |
Proceeding | send 1xx        | Proceeding | 1 |          |
Proceeding | send 2xx        | Accepted   | 1 |          | L 32000
Proceeding | send 3xx-6xx    | Completed  | 1 |          | G 500 H 32000
Proceeding | transport error | Proceeding | 0 | 503      |
Accepted   | INVITE          | Accepted   | 0 |          | L 32000
Accepted   | ACK             | Accepted   | 0 |          | L 32000
Accepted   | send 2xx        | Accepted   | 1 |          | L 32000
Accepted   | transport error | Accepted   | 0 |          | L 32000
Accepted   | L               | Terminated | 0 |          |
Completed  | INVITE          | Completed  | 1 |          | G 500 H 32000
Completed  | ACK             | Confirmed  | 0 |          | I 5000
Completed  | G               | Completed  | 1 |          | G 1000 H 32000
Completed  | H               | Terminated | 0 | 408      |
Completed  | transport error | Completed  | 0 |          | G 500 H 32000
Confirmed  | INVITE          | Confirmed  | 0 |          | I 5000
Confirmed  | ACK             | Confirmed  | 0 |          | I 5000
Confirmed  | transport error | Confirmed  | 0 |          | I 5000
Confirmed  | I               | Terminated | 0 |          |
"""
SERVER_NON_INVITE = """
Initial    | request         | Trying     | 0 |          |
Trying     | request         | Trying     | 0 |          |
Trying     | send 1xx        | Proceeding | 1 |          |
Trying     | send 2xx        | Completed  | 1 |          | J 32000
Trying     | send 3xx-6xx    | Completed  | 1 |          | J 32000
Trying     | transport error | Trying     | 0 | 503      |
Proceeding | request         | Proceeding | 1 |          |
Proceeding | send 1xx        | Proceeding | 1 |          |
Proceeding | send 2xx        | Completed  | 1 |          | J 32000
Proceeding | send 3xx-6xx    | Completed  | 1 |          | J 32000
Proceeding | transport error | Proceeding | 0 | 503      |
Completed  | request         | Completed  | 1 |          | J 32000
Completed  | transport error | Completed  | 0 |          | J 32000
Completed  | J               | Terminated | 0 |          |
"""
TABLES = {
    "CLIENT_INVITE": CLIENT_INVITE,
    "CLIENT_NON_INVITE": CLIENT_NON_INVITE,
    "SERVER_INVITE": SERVER_INVITE,
    "SERVER_NON_INVITE": SERVER_NON_INVITE,
}
# What runs when a state is entered the usual way.
RUNNING = {
    "CLIENT_INVITE": {"Calling": ("A", "B"), "Accepted": (None, "M"), "Completed": (None, "D")},
    "CLIENT_NON_INVITE": {"Trying": ("E", "F"), "Proceeding": ("E", "F"), "Completed": (None, "K")},
    "SERVER_INVITE": {"Accepted": (None, "L"), "Completed": ("G", "H"), "Confirmed": (None, "I")},
    "SERVER_NON_INVITE": {"Completed": (None, "J")},
}
DELAY_MS = {"A": 500, "E": 500, "G": 500, "I": 5000, "K": 5000}
# States in which something may still be told, by (INVITE, client).
HEARS = {
    (True, True): ("Calling", "Proceeding", "Accepted"),
    (False, True): ("Trying", "Proceeding"),
    (True, False): ("Proceeding", "Completed"),
    (False, False): ("Trying", "Proceeding"),
}
INVITE = (
    b"INVITE sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
    b"From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:b@192.0.2.2>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
    b"Route: <sip:192.0.2.9;lr>\r\nContent-Length: 0\r\n\r\n"
)
MS = 1_000_000


def rows():
    for name, text in TABLES.items():
        for line in text.strip().splitlines():
            yield pytest.param(name, *[cell.strip() for cell in line.split("|")], id=f"{name}-{line[:30].strip()}")


class Host:
    def __init__(self):
        self.wheel = TimerWheel()
        self.times = TimerValues()
        self.outputs = []
        self.forgotten = []
        self.resent = 0

    def forget(self, transaction):
        self.forgotten.append(transaction)

    def count_resent(self, transaction):
        self.resent += 1


class User:
    resent = 0

    def __init__(self):
        self.told = []

    def on_response(self, transaction, response, now_ns):
        self.told.append("response")

    def on_failure(self, transaction, status, reason, now_ns):
        self.told.append(str(status))


def response(status):
    lines = f"SIP/2.0 {status} X\r\n" + INVITE.decode().partition("\r\n")[2]
    return parse(lines.replace("<sip:b@192.0.2.2>", "<sip:b@192.0.2.2>;tag=2").encode())


def made(name, state, transport="udp"):
    host, user = Host(), User()
    method = "OPTIONS" if "NON" in name else "INVITE"
    connection = Flow(transport, A, B)
    transaction = Transaction(host, getattr(tables, name), "key", method, connection, user)
    transaction.state = state
    if state != "Initial":
        transaction.data = INVITE
        transaction.interval_ns = host.times.t1_ns
        resend, end = RUNNING[name].get(state, (None, None))
        if resend and transport == "udp":
            transaction.resend = host.wheel.start(DELAY_MS[resend] * MS, transaction, resend)
        if end:
            transaction.end = host.wheel.start(DELAY_MS.get(end, 32000) * MS, transaction, end)
    return host, user, transaction


def happen(transaction, event, now_ns=0):
    what = None
    if event.startswith("send"):
        what = INVITE
    elif event[1:3] == "xx":
        what = response({"1": 180, "2": 200, "3": 486}[event[0]])
    elif event == "transport error":
        what = "refused"
    for timer in (transaction.resend, transaction.end):
        if timer is not None and timer.name == event:
            # As the wheel does when it fires one.
            transaction.host.wheel.cancel(timer)
    transaction.step(event, now_ns, what)


def running(transaction, now_ms=0):
    timers = [timer for slot in transaction.host.wheel._slots.values() for timer in slot]
    return " ".join(f"{timer.name} {timer.tick - now_ms}" for timer in sorted(timers, key=lambda timer: timer.name))


@pytest.mark.parametrize(("name", "state", "event", "next_state", "sent", "told", "timers"), list(rows()))
def test_transition(name, state, event, next_state, sent, told, timers):
    host, user, transaction = made(name, state)
    hearing = HEARS[name.partition("_")[2] == "INVITE", name.startswith("CLIENT")]
    if state not in hearing and state != tables.INITIAL:
        # It was let go on the way here.
        transaction.user = None
    happen(transaction, event)
    assert transaction.state == next_state
    assert len(host.outputs) == int(sent)
    assert " ".join(user.told) == told
    assert running(transaction) == timers
    assert bool(host.forgotten) == (next_state == "Terminated")
    if state != next_state:
        # Whoever will be told nothing more is not held.
        assert (transaction.user is not None) == (next_state in hearing)


@pytest.mark.parametrize("name", TABLES)
def test_the_table_has_these_transitions_and_no_other(name):
    table = getattr(tables, name)
    expected = {tuple(cell.strip() for cell in line.split("|")[:2]) for line in TABLES[name].strip().splitlines()}
    assert {(state, event) for state, row in table.items() for event in row} == expected
    assert table["Terminated"] == {}


@pytest.mark.parametrize(
    ("name", "state", "event"),
    [
        ("CLIENT_INVITE", "Calling", "3xx-6xx"),
        ("CLIENT_INVITE", "Proceeding", "3xx-6xx"),
        ("CLIENT_NON_INVITE", "Trying", "2xx"),
        ("CLIENT_NON_INVITE", "Proceeding", "3xx-6xx"),
        ("SERVER_INVITE", "Completed", "ACK"),
        ("SERVER_NON_INVITE", "Trying", "send 2xx"),
    ],
)
def test_a_reliable_transport_waits_for_no_repetitions(name, state, event):
    host, user, transaction = made(name, state, "tcp")
    happen(transaction, event)
    assert transaction.state == "Terminated"
    assert host.forgotten == [transaction]
    assert running(transaction) == ""
    assert user.told == (["response"] if name.startswith("CLIENT") else [])


@pytest.mark.parametrize(
    ("name", "event", "end"),
    [("CLIENT_INVITE", "send INVITE", "B 32000"), ("CLIENT_NON_INVITE", "send request", "F 32000")],
)
def test_a_reliable_transport_repeats_nothing(name, event, end):
    _host, _user, transaction = made(name, "Initial", "tcp")
    happen(transaction, event)
    assert running(transaction) == end


def test_the_ack_of_a_refusal_is_the_invites_hop():
    host, _user, transaction = made("CLIENT_INVITE", "Proceeding")
    happen(transaction, "3xx-6xx")
    ack = parse(host.outputs[0][1])
    assert (ack.method, ack.uri_text, ack.cseq.number) == ("ACK", "sip:b@192.0.2.2", 1)
    assert ack.top_via.branch == "z9hG4bK1"
    assert ack.to.tag == "2"
    assert ack.get("route") == "<sip:192.0.2.9;lr>"
    happen(transaction, "3xx-6xx")
    assert host.outputs[1] == host.outputs[0]


@pytest.mark.parametrize(
    ("name", "state", "event"),
    [
        ("SERVER_INVITE", "Accepted", "send 3xx-6xx"),
        ("SERVER_NON_INVITE", "Completed", "send 2xx"),
        ("SERVER_INVITE", "Terminated", "send 2xx"),
    ],
)
def test_a_user_that_answers_twice_is_told_so(name, state, event):
    _host, _user, transaction = made(name, state)
    with pytest.raises(LocalProtocolError, match=f"'{event}' in state {state}"):
        transaction.step(event, 0, INVITE)
