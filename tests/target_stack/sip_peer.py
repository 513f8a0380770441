"""A SIP caller of the tests: the harness's own user agent, with an RTP socket of the test's."""

import contextlib
import secrets

from edge_peer import READY, until
from rtp_peer import Peer

from harness.model.clock import monotonic_ns
from harness.protocols.audio_sdp import Format
from harness.protocols.audio_session import AudioSession, Ours
from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.digest import DigestClient
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import SipEndpoint
from target_stack.edge.call_names import CallNames
from target_stack.edge.event_streams import EventStreams
from target_stack.edge.sip_edge import SipEdge
from target_stack.edge.sip_options import SipOptions

PCMU = Format(0, "PCMU", 8000)


@contextlib.asynccontextmanager
async def running_sip_edge(sessions, *, readiness=READY, limits=None, **options):
    """Yield (edge, (host, port))."""
    edge = SipEdge(
        sessions,
        SipOptions(**({"port": 0} | options)),
        readiness=lambda: readiness,
        names=CallNames(),
        streams=EventStreams(),
        events_base=lambda host: f"ws://{host}:1",
        **({"limits": limits} if limits else {}),
    )
    addresses = await edge.start()
    host, _, port = (addresses.udp or addresses.tls).partition(":")[2].rpartition(":")
    try:
        yield edge, (host, int(port))
    finally:
        await edge.aclose()


class SipClient:
    """`async with SipClient(address) as client`, then `await client.call()`."""

    def __init__(self, address, transport="udp", tls=None, formats=(PCMU,), srtp="off", auth=None):
        self.address, self.transport, self.tls = address, transport, tls
        self.formats, self.srtp, self.auth = formats, srtp, auth
        self.events = []

    async def __aenter__(self):
        self.agent = UserAgent(AgentConfig(), seed=secrets.randbits(32))
        self.endpoint = SipEndpoint(self.agent, self.events.append)
        if self.transport == "udp":
            await self.endpoint.listen_udp("127.0.0.1")
        self.flow = await self.endpoint.open_flow(self.transport, self.address, tls=self.tls, server_name="localhost")
        self.calls = []
        return self

    async def __aexit__(self, *_):
        for call in self.calls:
            call.leg.hang_up(monotonic_ns())
            call.media.transport.close()
        self.endpoint.flush()
        await until(lambda: all(self.ends(call) for call in self.calls), f"all calls over: {self.events}")
        await self.endpoint.aclose()

    async def dial(self, *, headers=(), with_offer=True):
        """Send an INVITE; return the call."""
        call = Dialled(await Peer().open(), self)
        body = call.audio.offer().encode() if with_offer else b""
        auth = DigestClient(*self.auth) if self.auth else None
        uri = f"{'sips' if self.transport == 'tls' else 'sip'}:agent@{self.address[0]}:{self.address[1]}"
        call.leg = self.agent.invite(uri, self.flow, monotonic_ns(), body=body, headers=headers, auth=auth, owner=call)
        self.calls.append(call)
        self.endpoint.flush()
        return call

    async def call(self, **options):
        """Place a call and wait until it is up."""
        call = await self.dial(**options)
        answered = await self.until(events.Answered, call)
        if not options.get("with_offer", True):
            answer, call.agreed = call.audio.answer(answered.body.decode())
            call.leg.acknowledge(answer.encode(), monotonic_ns())
            self.endpoint.flush()
        else:
            call.agreed = call.audio.accept(answered.body.decode())
        call.answered = answered
        call.remote = (call.agreed.host, call.agreed.port)
        return call

    def told(self, kind, call=None):
        return [e for e in self.events if isinstance(e, kind) and (call is None or e.call is call.leg)]

    def ends(self, call):
        return self.told(events.Ended, call) + self.told(events.Failed, call)

    async def until(self, kind, call=None, count=1):
        """Return the last of `count` events of `kind`."""
        await until(lambda: len(self.told(kind, call)) >= count or (call and self.ends(call)), f"{kind} {self.events}")
        found = self.told(kind, call)
        assert len(found) >= count, self.events
        return found[-1]

    def request(self, method, headers=()):
        """Send a request out of a dialog."""
        uri = f"sip:agent@{self.address[0]}:{self.address[1]}"
        self.agent.request(method, uri, self.flow, monotonic_ns(), headers=headers)
        self.endpoint.flush()


class Dialled:
    """One call and its RTP socket."""

    def __init__(self, media, client):
        self.media, self.client = media, client
        self.audio = AudioSession(
            Ours(
                host=media.address[0],
                port=media.address[1],
                formats=client.formats,
                srtp=client.srtp,
                new_material=lambda suite: secrets.token_bytes(suite.material_bytes),
            )
        )
        self.leg = self.agreed = self.answered = self.remote = None

    def speak(self, payloads, payload_type=0):
        for payload in payloads:
            self.media.send(self.remote, payload_type, payload)

    def hang_up(self):
        self.leg.hang_up(monotonic_ns())
        self.client.endpoint.flush()
