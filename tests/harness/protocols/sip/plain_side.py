"""A caller of sip_link's whose calls are plain (harness/callers/plain), and one whose calls are the user agent's.

Both do what a call without audio does: hang up `hold_ns` after the answer, and wait 4 s for the answer to their BYE.
"""

import json

import numpy as np
from sip_link import MS, A, B, Link, S, Side

from harness.callers.plain.desk import Desk
from harness.callers.plain.hot import machine
from harness.callers.plain.hot.layout import Call, Cell
from harness.callers.plain.row import Row
from harness.callers.plain.templates import make_template
from harness.callers.sip_log import SipLog
from harness.media import sockaddr
from harness.model.codec import to_json
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, SipSpec, TargetSpec
from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.uri import parse_uri
from harness.protocols.sip.user_agent import UserAgent

TARGET = "sip:bob@192.0.2.2"
PERSONA = ("n", "1", "r", "american", "normal")
LIMIT_S = 15
# After the first millisecond of the wheel.
BEGIN = 10 * MS
BYE_WAIT = 4 * S


def plan(hold_ns=0, **target):
    return CallPlan(
        call_id="",
        index=0,
        due_ms=None,
        caller="c",
        persona=Persona(*PERSONA),
        patience=Patience("normal", 1.0, 1.0, 1),
        turns=(),
        target=TargetSpec(
            TARGET, transport="sip", dialect="", codec="PCMU", sip=SipSpec(media=False, hold_ms=hold_ns / MS), **target
        ),
        limits=CallLimits(connect_timeout_ms=LIMIT_S * 1000),
    )


def new_template(desk, hold_ns=0):
    flow = Flow("udp", A, B)
    return make_template(plan(hold_ns), parse_uri(TARGET), flow, desk.agent.config, desk.stem)


class Caller:
    """What a caller does with the events of its call, and notes of them; of a plain call once it was handed over."""

    def __init__(self, hold_ns):
        self.hold_ns = hold_ns
        self.log = SipLog("udp", media=False)
        self.call = None
        self.events = []
        self.hang_up_at = self.limit_at = self.give_up_at = None

    def begin(self, call, now):
        self.call = call
        self.log.invited(call.id, now)
        self.limit_at = now + LIMIT_S * S

    def on_event(self, event, now):
        if event.call is not self.call:
            return
        self.events.append(event)
        if isinstance(event, events.Provisional):
            self.log.provisional(event)
        elif isinstance(event, events.Answered):
            self.log.answered(event)
            self.limit_at, self.hang_up_at = None, event.at_ns + self.hold_ns
            self.tick(now)
        elif isinstance(event, events.Failed):
            self.log.failed(event)
            self.limit_at = self.hang_up_at = self.give_up_at = None
        elif isinstance(event, events.Ended):
            if self.call is not None:
                self.log.ended(event)
            self.hang_up_at = self.give_up_at = None

    def next_ns(self):
        whens = (self.hang_up_at, self.limit_at, self.give_up_at)
        return min((-(-when // MS) * MS for when in whens if when is not None), default=None)

    def tick(self, now):
        if self.hang_up_at is not None and now >= self.hang_up_at:
            self.hang_up_at, self.give_up_at = None, now + BYE_WAIT
            self.call.hang_up(now)
            self.log.hung_up(now)
        if self.limit_at is not None and now >= self.limit_at:
            self.limit_at = None
            self.call.hang_up(now)
        if self.give_up_at is not None and now >= self.give_up_at:
            self.give_up_at = None
            self.log.gave_up(now, self.call)
            # Nobody looks at it any more.
            self.call = None


class AgentSide(Side):
    """The user agent, with a `Caller` on it."""

    def __init__(self, config, hold_ns=0):
        super().__init__("a", config, 1)
        self.caller = Caller(hold_ns)
        self.agent, self.ua, self._now = self.ua, self, 0

    @property
    def calls(self):
        return self.agent.calls

    @property
    def held(self):
        return self.agent.held

    def start(self, flow, now, options):
        self.caller.begin(self.agent.invite(TARGET, flow, now, **options), now)

    def receive(self, data, flow, now):
        self._now = now
        self.agent.receive(data, flow, now)

    def handle_timers(self, now):
        self._now = now
        self.agent.handle_timers(now)
        if self.caller.call is not None:
            self.caller.tick(now)

    def next_timer_ns(self):
        whens = (self.agent.next_timer_ns(), self.caller.next_ns())
        return min((when for when in whens if when is not None), default=None)

    def take_outputs(self):
        return self.agent.take_outputs()

    def take_events(self):
        found = self.agent.take_events()
        for event in found:
            if isinstance(event, events.CallEvent):
                self.caller.on_event(event, self._now)
        return found

    def facts(self):
        return to_json(self.caller.log.facts())


class PlainSide(AgentSide):
    """The tables, with a user agent for what is not plain."""

    def __init__(self, config, hold_ns=0, rows=4):
        super().__init__(config, hold_ns)
        self._flow = Flow("udp", A, B)
        self.records, self.connected, self.begun, self.due = [], [], None, []
        self.desk = Desk(
            self.agent, self, calls=rows, papers=rows, now_ns=0, deliver=self._deliver, send=lambda *_: None
        )
        self.number = self.desk.add(new_template(self.desk, hold_ns), "w")

    def start(self, flow, now, options):
        self.place("call-1", now)
        self.handle_timers(now)

    def place(self, name, due, index=0):
        return self.desk.place(self.number, [Row(name, index, None, due, PERSONA, 0, None)], 0)

    def _deliver(self, data, source, at):
        assert source == B
        self.agent.receive(data, self._flow, at)

    @property
    def calls(self):
        return self.agent.calls + self.desk.active

    @property
    def held(self):
        return self.agent.held + self.desk.held

    def receive(self, data, flow, now):
        tables = self.desk.tables
        self._now = now
        tables.in_data[0, : len(data)] = np.frombuffer(data, np.uint8)
        tables.in_headers[0, 7] = len(data)
        address = sockaddr.pack(flow.remote)
        tables.in_names[0, : len(address)] = np.frombuffer(address, np.uint8)
        machine.take(tables, 0, tables.in_data[0], len(data), now, now)
        self.desk.take_told()

    def handle_timers(self, now):
        while machine.fire_one(self.desk.tables, now):
            self._stamp(now)
            self.desk.take_told()
        super().handle_timers(now)

    def next_timer_ns(self):
        ticks = self.desk.tables.calls[:, Call.TICK]
        whens = [int(ticks[ticks > 0].min()) * MS] if (ticks > 0).any() else []
        other = super().next_timer_ns()
        return min([*whens, *([] if other is None else [other])], default=None)

    def _stamp(self, now):
        """Let what is in the outbox have left now."""
        tables = self.desk.tables
        for index, column in tables.out_stamps[: tables.cells[Cell.OUT]].tolist():
            if column:
                tables.calls[index, column] = now

    def take_outputs(self):
        tables = self.desk.tables
        self._stamp(self._now)
        count = int(tables.cells[Cell.OUT])
        tables.cells[Cell.OUT] = 0
        lengths = tables.out_vectors[:count, 1].tolist()
        own = [(self._flow, tables.out_data[i, :n].tobytes()) for i, n in enumerate(lengths)]
        return [*own, *self.agent.take_outputs()]

    def on_plain_connected(self, call_id, at_ns, setup_ms):
        self.connected.append((call_id, at_ns, setup_ms))

    def on_plain_ended(self, call_id, record):
        self.records.append(json.loads(record))

    def on_plain_due(self, plan, due_at_ns):
        self.due.append((plan, due_at_ns))

    def on_plain_handed(self, plan, due_at_ns, begun):
        self.begun = begun
        caller = self.caller
        caller.begin(begun.call, begun.invited_at_ns)
        caller.limit_at = begun.started_at_ns + LIMIT_S * S
        for event in begun.events:
            # What the caller would have done it has done already, if it was time.
            hold, caller.hold_ns = caller.hold_ns, 1 << 60
            caller.on_event(event, self._now)
            caller.hold_ns = hold
            if isinstance(event, events.Answered):
                caller.hang_up_at = event.at_ns + hold
                if begun.left_at_ns is not None:
                    caller.log.hung_up(begun.left_at_ns)
                    caller.hang_up_at, caller.give_up_at = None, begun.left_at_ns + BYE_WAIT
        begun.events.clear()

    def facts(self):
        if self.records:
            return self.records[0]["sip"]
        return super().facts()


def link(make_side, *, hold_ns=0, config=None, rows=4, **settings):
    """Return a Link with such a caller, its call begun at BEGIN."""
    made = Link(**settings)
    made.now = BEGIN
    own = {"rows": rows} if make_side is PlainSide else {}
    made.a = make_side(config or AgentConfig(invites=False), hold_ns, **own)
    return made


def begin(made):
    """Place the call, by what a template of the same calls says in its INVITE."""
    desk = (
        made.a.desk
        if isinstance(made.a, PlainSide)
        else Desk(UserAgent(made.a.agent.config), made.a, calls=1, papers=1, now_ns=0, deliver=None, send=None)
    )
    made.a.start(made.flow_a, made.now, new_template(desk).options("call-1"))
    made.settle()
