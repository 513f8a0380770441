"""Calls over a link that loses, doubles and delays at random: each call ends once and leaves nothing behind."""

import random

import pytest
from sip_link import ANSWER, HELD_ANSWER, HOLD, OFFER, Link

from harness.model.errors import LocalProtocolError
from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.digest import DigestClient, Verifier

pytestmark = pytest.mark.unit

# The last ones: a peer that is silent after its 100 to a re-INVITE.
SEEDS = [*range(100), 1414, 1665, 2724, 2827]
OVER = (events.Failed, events.Ended)


class Chaos:
    """Two applications that do anything at any time, over a bad link."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        pick = self.random.choice
        verifier = pick([None, Verifier("r", {"alice": "secret"}, secret=b"k")])
        timer = pick([None, 90])
        self.link = Link(
            a=AgentConfig(prack=pick(["off", "supported", "required"]), session_expires_s=timer),
            b=AgentConfig(verifier=verifier, trying_delay_ms=pick([0, 200, None])),
            transport=pick(["udp", "udp", "tcp"]),
        )
        loss = pick([0.0, 0.1, 0.3]) if self.link.flow_a.transport == "udp" else 0.0
        self.link.drop = lambda side, message: self.random.random() < loss
        if loss:
            self.link.faults = {n: pick(["double", "overtake"]) for n in self.random.sample(range(60), 12)}
        self.link.b.does[events.Incoming] = lambda event: self.ring(event.call)

    def ring(self, call):
        if self.random.random() < 0.7:
            call.ring(
                self.link.now, 183, body=self.random.choice([b"", ANSWER]), reliable=self.random.choice([None, True])
            )

    def act(self):
        side = self.random.choice([self.link.a, self.link.b])
        if side.call is None:
            return
        call, now = side.call, self.link.now
        verbs = [
            lambda: call.accept(ANSWER, now),
            lambda: call.accept(ANSWER, now),
            lambda: call.reinvite(self.random.choice([HOLD, OFFER, b""]), now),
            lambda: call.update(HOLD, now),
            lambda: call.answer_offer(HELD_ANSWER, now),
            lambda: call.refuse_offer(488, now),
            lambda: call.info(b"5", "application/dtmf", now),
            lambda: call.reject(486, now),
            lambda: call.hang_up(now),
        ]
        weights = [6, 6, 3, 3, 6, 1, 2, 0.3, 0.6]
        try:
            self.random.choices(verbs, weights)[0]()
        except LocalProtocolError:
            # Not now, or not that side: the agent says so and changes nothing.
            return

    def run(self):
        self.link.invite(auth=DigestClient("alice", "secret"))
        for _ in range(60):
            self.link.run(self.random.choice([0.01, 0.3, 2.5, 20]))
            self.act()
            self.link.settle()
        for side in (self.link.a, self.link.b):
            if side.call is not None:
                side.call.hang_up(self.link.now)
        self.link.run(400)
        for side in (self.link.a, self.link.b):
            # A callee that never heard of its caller's end still rings: its application gives up.
            if side.call is not None:
                side.call.hang_up(self.link.now)
        self.link.run(400)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_call_ends_once_and_leaves_nothing(seed):
    chaos = Chaos(seed)
    chaos.run()
    for side in (chaos.link.a, chaos.link.b):
        calls = {id(event.call): event.call for event in side.told(events.CallEvent)}
        for call in calls.values():
            told = [event for event in side.told(events.CallEvent) if event.call is call]
            assert [event for event in told if isinstance(event, OVER)] == told[-1:]
    chaos.link.assert_nothing_left()
