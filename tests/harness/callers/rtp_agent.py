"""An agent over plain RTP for tests: SDP over HTTP, and an echo that says what it hears again, 100 ms later.

It shares audio_sdp and sdes with the callers but neither the media loop nor its SRTP: packets are read and written
here, one by one, with libsrtp as pylibsrtp gives it.
"""

import asyncio
import secrets
import struct
from dataclasses import dataclass, field

from aiohttp import web
from pylibsrtp import Error as SrtpError

from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.protocols import audio_sdp, sdes
from harness.protocols.offer_answer import Answerer, answer

ECHO_S = 0.1


@dataclass
class Line(asyncio.DatagramProtocol):
    """One UDP port: of one call, or of all."""

    incoming: object = None
    outgoing: object = None
    ssrc: int | None = None
    rtp: list[bytes] = field(default_factory=list)
    rtcp: list[bytes] = field(default_factory=list)
    forged: int = 0
    # Say nothing: the call is on hold.
    mute: bool = False
    sources: set = field(default_factory=set)
    __hash__ = object.__hash__

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, source):
        self.sources.add(source)
        is_rtcp = 192 <= data[1] <= 223
        try:
            if self.incoming is not None:
                data = self.incoming.unprotect_rtcp(data) if is_rtcp else self.incoming.unprotect(data)
        except SrtpError:
            self.forged += 1
            return
        (self.rtcp if is_rtcp else self.rtp).append(data)
        if not is_rtcp:
            asyncio.get_running_loop().call_later(ECHO_S, self._echo, data, source)

    def _echo(self, data, source):
        if self.ssrc is not None:
            data = data[:8] + struct.pack("!I", self.ssrc) + data[12:]
        if not self.mute and not self.transport.is_closing():
            self.transport.sendto(data if self.outgoing is None else self.outgoing.protect(data), source)


async def open_line(**settings):
    line = Line(**settings)
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: line, local_addr=("127.0.0.1", 0))
    return line


class RtpAgent:
    """`url` takes offers. `edit` may spoil an answer; `one_port` has all calls on one port."""

    def __init__(self, formats, *, suites=sdes.SUITES, one_port=False, announce=True, edit=lambda text: text):
        self._formats, self._suites, self.edit = formats, suites, edit
        self._one_port, self._announce = one_port, announce
        self._common = None
        self.offers = []
        self.lines = {}
        self.ended = []
        self.headers = []

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/call", self._call)
        app.router.add_delete("/call/{name}", self._end)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/call"
        return self

    async def __aexit__(self, *_):
        for line in [*self.lines.values(), self._common]:
            if line is not None:
                line.transport.close()
        await self._runner.cleanup()

    async def _line(self, ssrc):
        if not self._one_port:
            return await open_line(ssrc=ssrc)
        if self._common is None:
            # One line for all cannot write each call's SSRC: it sends theirs back.
            self._common = await open_line()
        return self._common

    async def _call(self, request):
        assert request.content_type == audio_sdp.MEDIA_TYPE
        self.headers.append(dict(request.headers))
        offer = audio_sdp.parse(await request.text())
        self.offers.append(offer)
        ssrc = secrets.randbits(32)
        line = await self._line(ssrc)
        port = line.transport.get_extra_info("sockname")[1]
        announced = (offer.ssrc if self._one_port else ssrc) if self._announce else None
        ours = Answerer("127.0.0.1", port, self._formats, self._suites, lambda s: b"t" * s.material_bytes, announced)
        answered = answer(offer, ours)
        if answered.crypto:
            taken = next(c for c in offer.crypto if c.tag == answered.crypto[0].tag)
            line.incoming, line.outgoing = incoming_session(taken), outgoing_session(answered.crypto[0])
        name = f"{len(self.offers)}"
        self.lines[name] = line
        text = self.edit(audio_sdp.build(answered))
        headers = {"Location": f"/call/{name}"}
        return web.Response(status=201, text=text, content_type=audio_sdp.MEDIA_TYPE, headers=headers)

    async def _end(self, request):
        self.ended.append(request.match_info["name"])
        return web.Response(status=204)
