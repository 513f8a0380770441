"""Agents that take offers over HTTP and send each caller's audio back, by aiortc; WHIP as strict as RFC 9725 is."""

import asyncio
import contextlib
import secrets

import aiohttp
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from harness.callers.setup_queue import SetupQueue
from harness.callers.webrtc import WebRtcCaller
from harness.media.loop import MediaLoop
from harness.media.peer.host import PeerHost
from harness.media.peer.seam import use_host_addresses
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, TargetSpec
from harness.protocols import openai_realtime as realtime
from harness.protocols import whip

SDP = "application/sdp"


class Agent:
    """What all have in common; `url` is where offers go, `seen` what was asked: (method, path, headers)."""

    path = "/agent"

    def __init__(self, **options):
        self.options = options
        self.seen = []
        self.sessions = {}
        self.ended = []
        self.channels = []
        self.messages = []

    def routes(self):
        return [web.post(self.path, self.post)]

    async def __aenter__(self):
        use_host_addresses(["127.0.0.1"])

        @web.middleware
        async def note(request, handler):
            self.seen.append((request.method, request.path, dict(request.headers)))
            return await handler(request)

        app = web.Application(middlewares=[note])
        app.add_routes(self.routes())
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.origin = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        self.url = self.origin + self.path
        return self

    async def __aexit__(self, *_):
        for pc in self.sessions.values():
            await pc.close()
        await self.runner.cleanup()

    async def answer(self, sdp, name):
        pc = self.sessions[name] = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pc.on("track", pc.addTrack)
        pc.on("datachannel", self.opened)
        await pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        return pc.localDescription.sdp

    def opened(self, channel):
        self.channels.append(channel)
        channel.on("message", self.messages.append)


class JsonAgent(Agent):
    async def post(self, request):
        body = await request.json()
        assert body["type"] == "offer"
        return web.json_response({"sdp": await self.answer(body["sdp"], "1"), "type": "answer"})


class WhipAgent(Agent):
    """`location`, `links`, `etag`: what the 201 says; `refuse`: (status, headers, text) instead of it."""

    path = "/whip"

    def routes(self):
        return [
            web.post("/whip", self.post),
            web.post("/moved", self.moved),
            web.options("/whip", self.options_of),
            web.patch("/session/{name}", self.patch),
            web.delete("/session/{name}", self.delete),
        ]

    async def options_of(self, _request):
        if self.options.get("no_options"):
            return web.Response(status=405)
        return web.Response(headers=[("Accept-Post", SDP), *(("Link", link) for link in self.options.get("links", ()))])

    async def moved(self, _request):
        return web.Response(status=307, headers={"Location": self.path})

    async def post(self, request):
        if "refuse" in self.options:
            status, headers, text = self.options["refuse"]
            return web.Response(status=status, headers=headers, text=text)
        if request.content_type != SDP:
            return web.Response(status=415)
        if request.headers.get("Authorization") != "Bearer let-me-in":
            return web.Response(status=401, text="no token")
        name = secrets.token_hex(4)
        answer = await self.answer((await request.read()).decode(), name)
        location = self.options.get("location", "/session/{}").format(name)
        self.etag = f'"{secrets.token_hex(4)}"'
        headers = [("Location", location), ("ETag", self.etag)]
        headers += [("Link", link) for link in self.options.get("links", ())]
        return web.Response(status=201, text=answer, content_type=SDP, headers=headers)

    async def patch(self, request):
        if request.content_type != whip.FRAGMENT_TYPE:
            return web.Response(status=415)
        if "If-Match" not in request.headers:
            return web.Response(status=428)
        if request.headers["If-Match"] != self.etag:
            return web.Response(status=412)
        if self.options.get("no_trickle"):
            return web.Response(status=405)
        pc = self.sessions[request.match_info["name"]]
        for line in whip.parse_fragment(await request.read()).candidates:
            candidate = candidate_from_sdp(line.removeprefix("candidate:"))
            candidate.sdpMid = "0"
            await pc.addIceCandidate(candidate)
        return web.Response(status=204)

    async def delete(self, request):
        if request.headers.get("Authorization") != "Bearer let-me-in":
            return web.Response(status=401)
        name = request.match_info["name"]
        if name not in self.sessions:
            return web.Response(status=404)
        self.ended.append(name)
        await self.sessions.pop(name).close()
        return web.Response()


class RealtimeAgent(Agent):
    """OpenAI-Realtime style: tells a turn on the data channel as soon as it is open."""

    path = "/v1/realtime/calls"
    told = (
        realtime.Session("sess_1", "m", transcribes=True),
        realtime.SpeechStarted("item_1"),
        realtime.UserTranscript("item_1", "hello there"),
        realtime.Other("rate_limits.updated"),
        realtime.AgentTranscript("resp_1", "Good morning."),
        realtime.Problem("slow down", "rate_limit"),
        realtime.ResponseDone("resp_1", "completed", usage={"total_tokens": 12}),
    )

    async def post(self, request):
        token = request.headers.get("Authorization")
        if token != "Bearer ek_1":
            return web.json_response({"error": {"message": f"Incorrect API key provided: {token}"}}, status=401)
        assert request.content_type == SDP
        answer = await self.answer((await request.read()).decode(), "rtc_1")
        headers = {"Location": "/v1/realtime/calls/rtc_1"}
        return web.Response(status=201, text=answer, content_type=SDP, headers=headers)

    def opened(self, channel):
        super().opened(channel)
        for event in self.told:
            channel.send(realtime.build(event, "event_1"))
        channel.send("no JSON")


class Redirector(Agent):
    """Sends every request to `to` with `status`."""

    def routes(self):
        return [web.route("*", "/{any:.*}", self.redirect)]

    async def redirect(self, _request):
        return web.Response(status=self.options["status"], headers={"Location": self.options["to"]})


class Bench:
    """WebRTC callers on one media loop."""

    async def __aenter__(self):
        self.loop = MediaLoop(16)
        self.loop.start()
        self.peers = PeerHost(self.loop)
        self.http = aiohttp.ClientSession()
        self.queue = SetupQueue()
        self.callers = []
        return self

    async def __aexit__(self, *_):
        for caller in self.callers:
            with contextlib.suppress(Exception):
                await caller.close()
        await self.http.close()
        self.peers.close()
        self.loop.stop()

    def caller(self, url, dialect, *, trace=False, limit_ms=10_000, **target):
        plan = CallPlan(
            call_id="call-1",
            index=0,
            due_ms=None,
            caller="c",
            persona=Persona("n", "1", "r", "american", "unlimited"),
            patience=Patience("unlimited", 0.0, 1.0, 0),
            turns=(),
            target=TargetSpec(url, dialect=dialect, **target),
            limits=CallLimits(connect_timeout_ms=limit_ms),
            trace=trace,
        )
        events = []
        caller = WebRtcCaller(plan, self.http, self.peers, self.loop, events.append)
        caller.events = events
        self.callers.append(caller)
        return caller

    async def connect(self, url, dialect, **settings):
        caller = self.caller(url, dialect, **settings)
        async with self.queue.turn(None) as turn:
            await caller.connect(turn)
        return caller


async def until(condition, what):
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)
    assert condition(), what
