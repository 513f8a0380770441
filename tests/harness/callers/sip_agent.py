"""A scripted agent over SIP for tests: our user agent on sockets of its own, doing to each call what `script` says."""

import asyncio

from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig, TimerValues
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import SipEndpoint

SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na={direction}\r\n"
)


def sdp(port=9, direction="inactive"):
    return SDP.format(port=port, direction=direction).encode()


class SipAgent:
    """`script(agent, call, event)` is called for every event; `answer` is what it does to an INVITE by default."""

    def __init__(self, script=None, *, transport="udp", tls=None, t1_ms=500, **config):
        timers = TimerValues(t1_ms=t1_ms)
        self.agent = UserAgent(AgentConfig(server="test agent", timers=timers, **config), seed=1)
        self.endpoint = SipEndpoint(self.agent, self._on_event)
        self.script = script or answer
        self.transport, self._tls = transport, tls
        self.calls = []
        self.seen = []
        self.changed = asyncio.Event()

    async def __aenter__(self):
        if self.transport == "udp":
            address = await self.endpoint.listen_udp("127.0.0.1")
        else:
            address = await self.endpoint.listen_tcp("127.0.0.1", tls=self._tls)
        self.port = address[1]
        suffix = {"udp": "", "tcp": ";transport=tcp", "tls": ";transport=tls"}[self.transport]
        self.url = f"sip:agent@127.0.0.1:{self.port}{suffix}"
        return self

    async def __aexit__(self, *_):
        await self.endpoint.aclose()

    def now(self):
        return self.endpoint.now_ns()

    def _on_event(self, event):
        self.seen.append(event)
        if isinstance(event, events.Incoming):
            self.calls.append(event.call)
        self.script(self, event)
        self.changed.set()

    def names(self):
        return [type(event).__name__ for event in self.seen]

    async def until(self, condition):
        """Wait until `condition(self)` holds after some event."""
        async with asyncio.timeout(20):
            while not condition(self):
                self.changed.clear()
                await self.changed.wait()

    async def until_seen(self, kind):
        await self.until(lambda agent: any(isinstance(event, kind) for event in agent.seen))


def answer(agent, event):
    """Answer calls at once, and every offer within them."""
    if isinstance(event, events.Incoming):
        event.call.accept(sdp(), agent.now())
    elif isinstance(event, events.Offered):
        event.call.answer_offer(sdp(), agent.now())


def refuse(status, *headers):
    """Return a script that refuses every call so."""

    def script(agent, event):
        if isinstance(event, events.Incoming):
            event.call.reject(status, agent.now(), headers=headers)

    return script


def ignore(_agent, _event):
    """Never say a word but what the user agent says by itself."""
