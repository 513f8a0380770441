"""An agent over SIP with audio, for tests: each call has an RTP echo of its own (rtp_agent.py), 100 ms later."""

import asyncio
import secrets

from rtp_agent import open_line
from sip_agent import SipAgent

from harness.callers.audio_leg import format_of
from harness.media.codecs import CODECS
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.protocols.audio_session import AudioSession, Ours
from harness.protocols.sip import events


class AudioAgent(SipAgent):
    """`early` answers in a 183, and in a 200 when `go_on` is set; `one_port` has all on one line, without SSRCs."""

    def __init__(self, *, early=False, one_port=False, codecs=CODECS, srtp="optional", announce=True, **settings):
        super().__init__(self._take, **settings)
        self._early, self._one_port, self._codecs, self._srtp = early, one_port, codecs, srtp
        self._announce = announce
        self._tasks = set()
        # Set to answer calls that had a 183.
        self.go_on = asyncio.Event()
        self._common = None
        self.lines, self.sessions, self.agreed = {}, {}, []
        self.directions = []

    async def __aexit__(self, *details):
        for line in {*self.lines.values(), self._common} - {None}:
            line.transport.close()
        await super().__aexit__(*details)

    def _take(self, _agent, event):
        match event:
            case events.Incoming():
                task = asyncio.create_task(self._answer(event))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case events.Offered():
                text, agreed = self.sessions[event.call.id].answer(event.body.decode())
                self.directions.append((agreed.sends, agreed.hears))
                event.call.answer_offer(text.encode(), self.now())
                self._hold(event.call.id, agreed)
            case events.OfferAnswered():
                self._hold(event.call.id, self.sessions[event.call.id].accept(event.body.decode()))

    async def _line(self, ssrc):
        if not self._one_port:
            return await open_line(ssrc=ssrc)
        self._common = self._common or await open_line()
        return self._common

    async def _answer(self, event):
        ssrc = secrets.randbits(32) if self._announce and not self._one_port else None
        line = self.lines[event.call.id] = await self._line(ssrc)
        port = line.transport.get_extra_info("sockname")[1]
        self.sessions[event.call.id] = session = AudioSession(
            Ours(
                host="127.0.0.1",
                port=port,
                formats=[format_of(codec) for codec in self._codecs],
                srtp=self._srtp,
                new_material=lambda suite: b"t" * suite.material_bytes,
                ssrc=ssrc,
                session_id=1,
            )
        )
        text, agreed = session.answer(event.body.decode())
        self.agreed.append(agreed)
        if agreed.incoming is not None:
            line.incoming, line.outgoing = incoming_session(agreed.incoming), outgoing_session(agreed.outgoing)
        if self._early:
            event.call.ring(self.now(), 183, body=text.encode())
            self.endpoint.flush()
            await self.go_on.wait()
        event.call.accept(text.encode(), self.now())
        self.endpoint.flush()

    def _hold(self, call_id, agreed):
        self.lines[call_id].mute = not agreed.sends
