"""Fuzz target: two SIP user agents, and a network between them that changes, doubles, swaps and loses what they say."""

import contextlib
import random
from collections import Counter

from fuzz_mutation import Mutator
from fuzz_sip import MESSAGES, WORDS

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.digest import DigestClient, Verifier
from harness.protocols.sip.events import Answered, CallEvent, Confirmed, Ended, Failed, Incoming, Offered
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.grammar import BadMessage
from harness.protocols.sip.reading import parse
from harness.protocols.sip.user_agent import UserAgent

ALICE, BOB = ("127.0.0.1", 5060), ("127.0.0.2", 5060)
SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
# More rounds than any conversation has; a bound, so that two agents that never fall silent are found out.
_MOST_ROUNDS = 3000


class SipAgents:
    """A caller and a callee. Nothing raises; each call ends once; no call and no timer is left behind."""

    name = "sip user agents"

    def __init__(self, seed):
        self._seed = seed
        # Datagrams that reached an agent, and of them those that the network had changed.
        self.delivered = self.changed = 0

    def make(self, number):
        return number

    def feed(self, number):
        """Hold one conversation; `number` draws all of it."""
        conversation = _Conversation(random.Random(f"{self._seed}/{number}"), number)
        try:
            conversation.hold()
        except RemoteProtocolError as error:
            # An agent answers what is wrong, or drops it; it has nobody to raise it to.
            raise AssertionError(f"raised: {error}") from error
        finally:
            self.delivered += conversation.delivered
            self.changed += conversation.changed

    def end(self):
        """Nothing is kept."""


class _Conversation:
    def __init__(self, rng, number):
        self.rng = rng
        self.delivered = self.changed = 0
        prack = rng.choice(("off", "supported", "required"))
        verifier = Verifier("r", {"u": "p"}, secret=b"s") if rng.random() < 0.3 else None
        self.agents = {
            ALICE: UserAgent(AgentConfig(prack=prack), seed=number),
            BOB: UserAgent(AgentConfig(prack=rng.choice((prack, "supported")), verifier=verifier), seed=number + 1),
        }
        self.now = 1_000_000_000
        # How often the network does something to a datagram.
        self.unrest = rng.choice((0.05, 0.2, 0.5, 1.0))
        self.past = list(MESSAGES[:3])
        self.calls = []
        self.ended = Counter()

    def hold(self):
        rng = self.rng
        call = self.agents[ALICE].invite(
            "sip:bob@127.0.0.2", Flow("udp", ALICE, BOB), self.now, body=rng.choice((SDP, SDP, b"")),
            auth=DigestClient("u", "p"), session_expires_s=rng.choice((None, 90)),
        )  # fmt: skip
        self.calls.append(call)
        for _ in range(rng.randrange(2, 20)):
            self._exchange()
            self._act()
            self._wait(rng.choice((0, 1_000_000, 50_000_000, 600_000_000, 5_000_000_000)))
        self.unrest = 0
        self._run_out()

    def _run_out(self):
        """Hang up, and let time pass until neither has anything left to wait for."""
        for _ in range(_MOST_ROUNDS):
            for call in self.calls:
                call.hang_up(self.now)
            self._exchange()
            due = [at for agent in self.agents.values() if (at := agent.next_timer_ns()) is not None]
            if not due:
                break
            self._wait(max(0, min(due) - self.now))
        for name, agent in self.agents.items():
            assert agent.next_timer_ns() is None, f"{name} has a timer left behind"
            assert (agent.calls, agent.held) == (0, 0), f"{name} has {agent.calls} calls, holds {agent.held}"
        assert [self.ended[id(call)] for call in self.calls] == [1] * len(self.calls), "a call did not end once"

    def _wait(self, ns):
        self.now += ns
        for agent in self.agents.values():
            agent.handle_timers(self.now)
            self._take_events(agent)

    def _exchange(self):
        for _ in range(_MOST_ROUNDS):
            sent = [what for agent in self.agents.values() for what in agent.take_outputs()]
            if not sent:
                return
            for flow, data in sent:
                self._check_output(data)
                self.past.append(data)
                del self.past[:-50]
                for octets in self._network(data):
                    to = flow.remote if flow.remote in self.agents else BOB
                    self.delivered += 1
                    self.agents[to].receive(octets, Flow("udp", to, flow.local), self.now)
                    self._take_events(self.agents[to])
        raise AssertionError("the two never fall silent")

    @staticmethod
    def _check_output(data):
        """Whatever it was told, an agent's requests are well-formed. Its responses repeat what they answer."""
        if not data.startswith(b"SIP/2.0 "):
            try:
                parse(data)
            except BadMessage as error:
                raise AssertionError(f"sent a request that is none: {error}: {data!r}") from error

    def _network(self, data):
        rng = self.rng
        if rng.random() >= self.unrest:
            return [data]
        fate = rng.randrange(6)
        if fate == 0:
            return []
        if fate == 1:
            return [data, data]
        if fate == 2:
            return [rng.choice(self.past), data]
        self.changed += 1
        wrong = Mutator([data, data, rng.choice(self.past)], WORDS, rng.random()).make(0)
        return [wrong, data] if fate == 3 else [wrong]

    def _take_events(self, agent):
        for event in agent.take_events():
            if isinstance(event, CallEvent):
                assert not self.ended[id(event.call)], f"{event} after the end"
            if isinstance(event, Failed | Ended):
                self.ended[id(event.call)] += 1
            elif isinstance(event, Incoming):
                self.calls.append(event.call)
            elif isinstance(event, Offered):
                self._try(event.call.answer_offer, SDP) if self.rng.random() < 0.8 else self._try(
                    event.call.refuse_offer, 488
                )
            elif isinstance(event, Answered | Confirmed) and self.rng.random() < 0.3:
                self._try(event.call.acknowledge, SDP)

    def _try(self, verb, *arguments, **named):
        """Do it; a state that does not allow it is the script's matter, not the agent's."""
        with contextlib.suppress(LocalProtocolError):
            verb(*arguments, self.now, **named)

    def _act(self):
        """Have a call do something that an application might."""
        call, rng = self.rng.choice(self.calls), self.rng
        match rng.randrange(9):
            case 0 | 1 if not call.outgoing:
                self._try(call.ring, rng.choice((180, 183)), body=rng.choice((b"", SDP)))
            case 2 | 3 | 4 if not call.outgoing:
                self._try(call.accept, SDP)
            case 5 if not call.outgoing:
                self._try(call.reject, rng.choice((302, 486, 503)))
            case 2 | 3 if call.outgoing:
                self._try(call.acknowledge, SDP)
            case 6:
                self._try(call.reinvite, SDP)
            case 7:
                self._try(call.update, SDP)
            case 8:
                call.hang_up(self.now)
            case _:
                self._try(call.info, b"Signal=1\r\n", "application/dtmf-relay")
