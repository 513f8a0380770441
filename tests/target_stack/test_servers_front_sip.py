"""Two servers and one call: whose it is when the first one was silent, and who may speak of it. No sockets."""

import pytest

from harness.model.clock import NS_PER_MS, monotonic_ns
from harness.protocols.sip.flow import Flow
from target_stack.edge.sip_options import SipOptions
from target_stack.servers.counts import FrontCounts
from target_stack.servers.front_sip import FrontSip
from target_stack.servers.link import Frame
from target_stack.servers.registry import Load, Registry
from target_stack.servers.routing import Desk
from target_stack.servers.sip_routes import heading

pytestmark = pytest.mark.unit

FLOW = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 40000), 0)
FIELDS = ["udp", ["127.0.0.1", 5060], ["127.0.0.1", 40000], 0]
LATE = 2000 * NS_PER_MS


def message(start, tag=""):
    ids = f"From: <sip:c@h>;tag=1\r\nTo: <sip:agent@h>{tag}\r\nCall-ID: a@h\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
    return f"{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n{ids}\r\n".encode()


INVITE = message("INVITE sip:agent@h SIP/2.0")
OK = message("SIP/2.0 200 OK", ";tag=9")
BYE = message("BYE sip:agent@h SIP/2.0", ";tag=9")


class Line:
    """A server's line: keeps what is sent by it."""

    def __init__(self):
        self.sent = []

    def send(self, kind, payload=b"", **_fields):
        self.sent.append((kind, payload))
        return True


class Silent:
    """In place of the sockets: what is to be sent is looked for where it waits."""

    def flush(self):
        pass


class Bench:
    """s1 has the call; s2 is heard as the test wants it."""

    def __init__(self):
        self.registry = Registry()
        self.desk = Desk(self.registry, FrontCounts(), {})
        self.lines = {"s1": Line(), "s2": Line()}
        for name, line in self.lines.items():
            self.registry.register(name, 10, 0)
            self.hear(name, 0)
            self.desk.connect(name, line)
        self.front = FrontSip(SipOptions(), self.desk, FrontCounts(), dict)
        self.front._endpoint = Silent()
        self.ask(INVITE)
        assert len(self.lines["s1"].sent) == 1

    def hear(self, name, at_ns):
        self.registry.heard(name, Load(is_ready=True), at_ns)

    def ask(self, data):
        assert self.front._steer(heading(data), data, FLOW, monotonic_ns())

    def say(self, server, data):
        self.front.frame_arrived(server, Frame("sip", {"flow": FIELDS}, data))

    def tell(self, server, *, is_over):
        self.front.frame_arrived(server, Frame("sip_call", {"call_id": "a@h", "is_over": is_over}))

    @property
    def relayed(self):
        return [data for _flow, data in self.front._agent._relayed]


def test_a_call_that_moved_away_from_a_silent_server_is_heard_of_from_one_server_only():
    bench = Bench()
    bench.hear("s2", LATE)
    bench.registry.expire(LATE)
    bench.ask(INVITE)
    assert bench.lines["s2"].sent == [("sip", INVITE)]
    # The first one finds behind the INVITE that it is called off.
    (_, first), (_, called_off) = bench.lines["s1"].sent
    assert first == INVITE
    assert called_off.startswith(b"CANCEL sip:agent@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n")
    bench.say("s2", OK)
    bench.tell("s2", is_over=False)
    # The first one is awake again: its answer, and later its giving up, are nobody's.
    bench.say("s1", OK)
    bench.say("s1", BYE)
    bench.tell("s1", is_over=True)
    assert bench.relayed == [OK]
    route = bench.front._routes._routes["a@h"]
    assert (route.server, route.forget_at_ns) == ("s2", None)
    bench.ask(BYE)
    assert bench.lines["s2"].sent[-1] == ("sip", BYE)


def test_a_call_that_its_server_has_answered_stays_there_however_silent_that_is():
    bench = Bench()
    bench.say("s1", OK)
    bench.hear("s2", LATE)
    bench.registry.expire(LATE)
    bench.ask(INVITE)
    assert (len(bench.lines["s1"].sent), bench.lines["s2"].sent) == (2, [])


def test_where_all_are_late_a_call_that_is_asked_for_again_stays_where_it_is():
    bench = Bench()
    assert bench.registry.expire(LATE) == ["s1", "s2"]
    bench.ask(INVITE)
    assert (len(bench.lines["s1"].sent), bench.lines["s2"].sent) == (2, [])
    # And a new one is not refused.
    other = INVITE.replace(b"a@h", b"b@h")
    bench.ask(other)
    assert bench.lines["s2"].sent == [("sip", other)]
