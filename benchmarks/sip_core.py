"""What a short SIP call costs in Python, without sockets: `python -m benchmarks.sip_core [--calls N] [--rounds N]`.

Two user agents of harness/protocols/sip, wired to each other: INVITE, 100, 180, 200, ACK, BYE, 200; no media. CPU time
of this thread on each side; the timers of earlier calls run meanwhile. The first round warms up and is left out.
"""

import argparse
import statistics
import time

from harness.model.clock import NS_PER_MS, NS_PER_S
from harness.protocols.sip import events
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.user_agent import UserAgent

_CALLER, _CALLEE = ("127.0.0.1", 5060), ("127.0.0.1", 5070)
_SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
)


class Pair:
    """A caller and a callee, and the CPU time each has used in ns."""

    def __init__(self) -> None:
        self.agents = (UserAgent(seed=1), UserAgent(seed=2))
        self.flows = (Flow("udp", _CALLER, _CALLEE), Flow("udp", _CALLEE, _CALLER))
        self.cpu_ns = [0, 0]
        self.messages = 0
        self.now_ns = 0

    def call(self) -> None:
        """Place one call a millisecond after the one before, and hang it up."""
        self.now_ns += NS_PER_MS
        began = time.thread_time_ns()
        caller = self.agents[0]
        caller.handle_timers(self.now_ns)
        caller.invite("sip:agent@127.0.0.1:5070", self.flows[0], self.now_ns, body=_SDP)
        sent, side = caller.take_outputs(), 1
        self.cpu_ns[0] += time.thread_time_ns() - began
        while sent:
            self.messages += len(sent)
            began = time.thread_time_ns()
            sent = self._take(side, [data for _flow, data in sent])
            self.cpu_ns[side] += time.thread_time_ns() - began
            side = 1 - side

    def _take(self, side: int, messages: list[bytes]) -> list[tuple[Flow, bytes]]:
        agent, now_ns = self.agents[side], self.now_ns
        agent.handle_timers(now_ns)
        for data in messages:
            agent.receive(data, self.flows[side], now_ns)
        for event in agent.take_events():
            if isinstance(event, events.Incoming):
                event.call.ring(now_ns)
                event.call.accept(_SDP, now_ns)
            elif isinstance(event, events.Answered):
                event.call.hang_up(now_ns)
        return agent.take_outputs()


def measure(calls: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return microseconds of CPU a call, of the caller and of the callee, one figure a round."""
    pair = Pair()
    per_call: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        pair.cpu_ns = [0, 0]
        for _ in range(calls):
            pair.call()
        if number:
            for side in (0, 1):
                per_call[side].append(pair.cpu_ns[side] / calls / 1000)
    assert pair.messages == 7 * calls * (rounds + 1), "not every call went the short way"
    pair.now_ns += 100 * NS_PER_S
    for agent in pair.agents:
        agent.handle_timers(pair.now_ns)
        assert agent.held == agent.calls == 0, "something of the calls was left"
    return per_call


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000, help="calls a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name, figures in zip(("caller", "callee"), measure(options.calls, options.rounds), strict=True):
        middle = statistics.median(figures)
        print(
            f"{name}: {middle:.0f} us of CPU a call ({min(figures):.0f} to {max(figures):.0f}, n={len(figures)}), "
            f"{1e6 / middle:.0f} calls a second without sockets"
        )


if __name__ == "__main__":
    main()
