"""Two real user agents joined by a link of our own, in virtual time: messages are lost, doubled, overtaken."""

import heapq
from itertools import count

from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.reading import parse
from harness.protocols.sip.user_agent import UserAgent

MS = 1_000_000
S = 1_000_000_000
LATENCY = 5 * MS
# A message that waits for the next one is let go after this long if none comes.
HELD = 900 * MS
A, B = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = OFFER.replace(b"192.0.2.1", b"192.0.2.2")
HOLD = OFFER + b"a=sendonly\r\n"
HELD_ANSWER = ANSWER + b"a=recvonly\r\n"


class Side:
    """One agent, what it was told, and what its application does: a function by event class."""

    def __init__(self, name, config, seed):
        self.name = name
        self.ua = UserAgent(config or AgentConfig(), seed=seed)
        self.events = []
        self.does = {}
        self.call = None

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def last(self, kind=events.Event):
        return self.told(kind)[-1]


class Link:
    """`faults`: number of the message in the order sent -> "lose", "double", "overtake"."""

    def __init__(self, *, a=None, b=None, transport="udp", faults=None, latency=LATENCY):
        self.a, self.b = Side("a", a, 1), Side("b", b, 2)
        connection = 0 if transport == "udp" else 7
        self.flow_a = Flow(transport, A, B, connection)
        self.flow_b = Flow(transport, B, A, connection)
        self.now = 0
        self.latency = latency
        self.faults = faults or {}
        # (ns, side that sent it, message)
        self.sent = []
        # Whose messages do not arrive at all.
        self.cut = set()
        self.drop = lambda side, message: False
        self.steps = []
        self._queue = []
        self._order = count()
        self._held = {}

    def invite(self, **options):
        options.setdefault("body", OFFER)
        self.a.call = self.a.ua.invite("sip:bob@192.0.2.2", self.flow_a, self.now, **options)
        self.settle()
        return self.a.call

    def then(self, condition, action):
        """Do `action` once `condition` holds and every step before it was done."""
        self.steps.append((condition, action))

    def run(self, seconds):
        end = self.now + int(seconds * S)
        self.settle()
        while (when := self._next()) is not None and when <= end:
            self.now = max(self.now, when)
            while self._queue and self._queue[0][0] <= self.now:
                _, _, receiver, data = heapq.heappop(self._queue)
                if receiver == "timeout":
                    self._release(data)
                else:
                    side = self.a if receiver == "a" else self.b
                    side.ua.receive(data, self.flow_a if receiver == "a" else self.flow_b, self.now)
                self.settle()
            for side in (self.a, self.b):
                side.ua.handle_timers(self.now)
            self.settle()
        self.now = end

    def _next(self):
        whens = [side.ua.next_timer_ns() for side in (self.a, self.b)]
        whens.append(self._queue[0][0] if self._queue else None)
        return min((when for when in whens if when is not None), default=None)

    def settle(self):
        """Carry what was sent, tell the applications, do the steps whose time has come."""
        busy = True
        while busy:
            busy = False
            for side in (self.a, self.b):
                for flow, data in side.ua.take_outputs():
                    busy = True
                    self._carry(side, flow, data)
                for event in side.ua.take_events():
                    busy = True
                    side.events.append(event)
                    side.call = getattr(event, "call", side.call)
                    action = side.does.get(type(event))
                    if action:
                        action(event)
            if self.steps and self.steps[0][0]():
                busy = True
                self.steps.pop(0)[1]()

    def _carry(self, side, flow, data):
        number = len(self.sent)
        message = parse(data)
        self.sent.append((self.now, side.name, message))
        other = "b" if side.name == "a" else "a"
        if side.name in self.cut or self.drop(side.name, message):
            return
        fault = self.faults.get(number)
        if fault == "lose":
            return
        if fault == "overtake":
            self._held[number] = (other, data)
            self._put(self.now + HELD, "timeout", number)
            return
        self._put(self.now + self.latency, other, data)
        if fault == "double":
            self._put(self.now + self.latency + MS, other, data)
        for held, (receiver, _) in list(self._held.items()):
            if receiver == other:
                self._release(held, 2 * MS)

    def _release(self, number, extra=0):
        if number in self._held:
            receiver, data = self._held.pop(number)
            self._put(self.now + (self.latency + extra if extra else 0), receiver, data)

    def _put(self, when, receiver, data):
        heapq.heappush(self._queue, (when, next(self._order), receiver, data))

    def lines(self):
        """What was sent, as "a INVITE" and "b 200 INVITE"."""
        return [f"{side} {label(message)}" for _, side, message in self.sent]

    def times_ms(self, text):
        """When messages with that label were sent."""
        return [when // MS for when, side, message in self.sent if f"{side} {label(message)}" == text]

    def assert_nothing_left(self):
        for side in (self.a, self.b):
            assert side.ua.calls == 0, side.name
            assert side.ua.held == 0, side.name
            assert side.ua.next_timer_ns() is None, side.name


def label(message):
    status = getattr(message, "status", None)
    return message.method if status is None else f"{status} {message.cseq.method}"


def answering(link, *, ring=True, reliable=None, body=ANSWER):
    """Let b ring and accept at once, and answer every offer."""

    def incoming(event):
        if ring:
            event.call.ring(link.now, reliable=reliable)
        event.call.accept(body, link.now)

    link.b.does[events.Incoming] = incoming
    for side in (link.a, link.b):
        side.does[events.Offered] = lambda event: event.call.answer_offer(HELD_ANSWER, link.now)
