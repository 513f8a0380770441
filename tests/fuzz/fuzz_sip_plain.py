"""Fuzz target of plain SIP calls: whatever reaches their socket, each call has one end, and the tables stay whole.

An input is a number: what an agent says to one call, message after message, most of it nearly right.
"""

import json
import random

import numpy as np
from fuzz_mutation import Mutator
from fuzz_sip import MESSAGES, WORDS

from harness.callers.plain.desk import Desk
from harness.callers.plain.hot import machine
from harness.callers.plain.hot.layout import Cell
from harness.callers.plain.row import Row
from harness.callers.plain.templates import make_template
from harness.media import sockaddr
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, SipSpec, TargetSpec
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.message import BadMessage, Request
from harness.protocols.sip.reading import parse
from harness.protocols.sip.uri import parse_uri
from harness.protocols.sip.user_agent import UserAgent

_FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.2", 5060))
_PERSONA = ("n", "1", "r", "a", "p")
_PLAN = CallPlan(
    call_id="",
    index=0,
    due_ms=None,
    caller="c",
    persona=Persona(*_PERSONA),
    patience=Patience("p", 1.0, 1.0, 1),
    turns=(),
    target=TargetSpec(
        "sip:bob@192.0.2.2", transport="sip", dialect="", codec="PCMU", sip=SipSpec(media=False, hold_ms=700)
    ),
    limits=CallLimits(connect_timeout_ms=8_000),
)
_MS = 1_000_000
_STATUSES = ("100 Trying", "180 Ringing", "183 Session Progress", "200 OK", "202 Accepted", "302 Moved", "503 Busy")
_HEAD = (
    "SIP/2.0 {status}\r\nVia: {via}\r\nFrom: {from_}\r\nTo: {to};tag=x\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n"
    "Contact: <sip:bob@192.0.2.2:5060>\r\nServer: there\r\nContent-Length: {length}\r\n\r\n{body}"
)


def _read(data):
    """Read a request of ours: whatever the agent said before, it is well formed."""
    try:
        return parse(data)
    except BadMessage as error:
        raise AssertionError(f"a request of ours is none: {error}; {data!r}") from error


class PlainCallsOfPeers:
    """A desk of four calls, of which one is placed for each input."""

    name = "plain sip calls"

    def __init__(self, seed):
        self._mutator = Mutator(MESSAGES, WORDS, f"{self.name}{seed}")
        self._seed = seed
        self._agent = UserAgent(AgentConfig(invites=False), seed=1)
        self._now = 10 * _MS
        self._desk = Desk(
            self._agent, self, calls=4, papers=4, now_ns=0, deliver=self._deliver, send=lambda *_: None, stem="5eed" * 4
        )
        self._desk.tables.cells[Cell.SECRET] = 7
        template = make_template(_PLAN, parse_uri(_PLAN.target.url), _FLOW, self._agent.config, self._desk.stem)
        self._template = self._desk.add(template, "w")
        self._ends = 0

    def make(self, number):
        return number

    def feed(self, number):
        draw = random.Random(f"{self._seed}/{number}")
        self._ends = 0
        assert not self._desk.place(self._template, [Row("c", 0, None, None, _PERSONA, 0, None)], self._now)
        spoken = self._speak(1)
        for step in range(draw.randrange(1, 7)):
            self._hear(self._said(draw, number * 8 + step, spoken))
            spoken += self._speak(draw.choice([0, 1, 30, 600, 2000]))
        for seconds in (1, 3, 5, 10, 40, 40, 40):
            self._speak(seconds * 1000)
        assert self._ends == 1, f"{self._ends} ends of one call"
        assert self._desk.held == self._desk.active == self._agent.calls == 0
        assert (self._desk.tables.wheel == 0).all()

    def _said(self, draw, number, spoken):
        """Return a message of the agent's: an answer to something that was said, damaged or not, or anything."""
        if draw.random() < 0.1:
            return self._mutator.make(number)[:60_000]
        request = parse(draw.choice(spoken))
        body = draw.choice(["", "v=0\r\n"])
        to = request.get("to")
        data = _HEAD.format(
            status=draw.choice(_STATUSES),
            via=request.get("via"),
            from_=request.get("from"),
            to=to.partition(";tag=")[0],
            call_id=request.call_id,
            cseq=request.get("cseq"),
            length=len(body),
            body=body,
        ).encode("utf-8", "surrogateescape")
        return data if draw.random() < 0.6 else Mutator([data], WORDS, f"{self._seed}").make(number)[:60_000]

    def _hear(self, data):
        tables = self._desk.tables
        tables.in_data[0, : len(data)] = np.frombuffer(data, np.uint8)
        tables.in_headers[0, 7] = len(data)
        address = sockaddr.pack(_FLOW.remote)
        tables.in_names[0, : len(address)] = np.frombuffer(address, np.uint8)
        machine.take(tables, 0, tables.in_data[0], len(data), self._now, self._now)
        self._desk.take_told()

    def _speak(self, milliseconds):
        """Let time pass; return what was sent."""
        self._now += milliseconds * _MS
        sent = []
        while machine.fire_one(self._desk.tables, self._now):
            self._desk.take_told()
            sent += self._sent()
        self._agent.handle_timers(self._now)
        self._events()
        return sent + self._sent()

    def _sent(self):
        tables = self._desk.tables
        count = int(tables.cells[Cell.OUT])
        tables.cells[Cell.OUT] = 0
        own = [tables.out_data[i, : tables.out_vectors[i, 1]].tobytes() for i in range(count)]
        whole = [*own, *(data for _flow, data in self._agent.take_outputs())]
        # Answers repeat what was asked, however it was written.
        return [data for data in whole if not data.startswith(b"SIP/") and isinstance(_read(data), Request)]

    def _events(self):
        for event in self._agent.take_events():
            call = getattr(event, "call", None)
            if call is not None and type(event).__name__ in ("Ended", "Failed") and call.owner is not None:
                self._ends += 1

    def _deliver(self, data, _source, at_ns):
        self._agent.receive(data, _FLOW, at_ns)
        self._events()

    def on_plain_connected(self, call_id, at_ns, setup_ms):
        assert (call_id, at_ns <= self._now, setup_ms >= 0) == ("c", True, True)

    def on_plain_ended(self, _call_id, record):
        assert json.loads(record)["outcome"] == "completed"
        self._ends += 1

    def on_plain_due(self, _plan, _due_at_ns):
        raise AssertionError("nothing is paused")

    def on_plain_handed(self, _plan, _due_at_ns, begun):
        """Hang up at once, as a caller does who does not wait."""
        told = [type(event).__name__ for event in begun.events]
        if "Ended" in told or "Failed" in told:
            self._ends += 1
        begun.call.hang_up(self._now)
        self._events()

    def end(self):
        """Nothing is kept."""
        assert self._desk.held == 0
