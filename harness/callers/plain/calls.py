"""Plain SIP calls of an engine: which calls may be plain, and the line of each local address that they leave from."""

import asyncio
import logging
from collections.abc import Sequence

import numpy as np

from harness.callers.plain.desk import End, Listener, is_name
from harness.callers.plain.hot import kernel, machine
from harness.callers.plain.hot.compose import compose, number_of
from harness.callers.plain.hot.jit import INTERPRETED
from harness.callers.plain.hot.layout import Message, new_tables
from harness.callers.plain.hot.text import tag_of
from harness.callers.plain.hot.wheel import next_ns
from harness.callers.plain.line import Line
from harness.callers.plain.row import Row
from harness.callers.plain.templates import is_candidate, is_ipv4, make_template
from harness.callers.setup_failure import SetupFailure
from harness.callers.sip_hop import first_hop, read_uri
from harness.callers.sip_host import SipHost
from harness.model.clock import NS_PER_S, monotonic_ns
from harness.model.errors import CallquakeError
from harness.model.plan import CallPlan
from harness.protocols.sip.flow import Flow

# Rows, those of calls that linger for Timer M included; and calls under way or waiting to be due. Memory is taken as
# they are used.
MOST_CALLS, MOST_UNDER_WAY = 1 << 20, 1 << 18
_LOOK_AGAIN_S = 0.02
_logger = logging.getLogger(__name__)

# A template and the line it belongs to.
Place = tuple[Line, int]


def compile_plain() -> None:
    """Compile what plain calls need, for the types that `Line` has, if this state of it is not on disk yet."""
    tables, nothing = new_tables(1, 1), np.zeros(0, np.int64)
    machine.place_all(tables, 0, nothing, np.frombuffer(b"\0", np.uint8), nothing, nothing)
    kernel.fire(tables, 0)
    kernel.read(tables, 0)
    kernel.flush(tables)
    next_ns(tables, 0)
    machine.release(tables, 0)
    machine.leave_all(tables, nothing, 0)
    compose(tables, number_of(tables, 0), Message.INVITE, tables.out_data[0], tables.papers[0])
    tag_of(0, 0)


class PlainCalls:
    """Belongs to one engine; does nothing before the first `open`."""

    def __init__(
        self,
        host: SipHost,
        listener: Listener,
        *,
        calls: int = MOST_CALLS,
        under_way: int = MOST_UNDER_WAY,
        is_on: bool = not INTERPRETED,
    ) -> None:
        """Interpreted, these calls cost more than the user agent's: then there are none unless told otherwise."""
        self._host = host
        self._listener = listener
        self._size = calls, under_way
        self._lines: dict[tuple[str, int], Line] = {}
        self.is_on = is_on

    async def open(self, plan: CallPlan, worker: str) -> Place | None:
        """Return where calls like `plan` are placed; None where they cannot be plain."""
        if not self.is_on or not is_candidate(plan) or plan.target.sip is None:
            return None
        try:
            uri = read_uri(plan.target.url, "target.url").for_request()
            hop = first_hop(uri, plan.target.sip)
            if not is_ipv4(hop.host):
                return None
            flow = await self._host.flow(hop, plan.target.sip)
            line = self._line(flow)
            template = None if line is None else make_template(plan, uri, flow, self._host.agent.config, line.desk.stem)
        except (SetupFailure, CallquakeError) as error:
            # Each call says it in its own record.
            _logger.info("calls to %s are not plain: %s", plan.target.url, error)
            return None
        number = None if line is None or template is None else line.add(template, worker)
        return None if line is None or number is None else (line, number)

    def _line(self, flow: Flow) -> Line | None:
        line = self._lines.get(flow.local)
        if line is None:
            sock = self._host.endpoint.udp_socket(flow.local)
            if sock is None:
                return None
            line = self._lines[flow.local] = Line(self._host, sock, self._listener, *self._size)
        return line

    @property
    def lines(self) -> list[Line]:
        """Return the lines there are."""
        return list(self._lines.values())

    def place(self, where: Place, rows: Sequence[Row]) -> list[Row]:
        """Place calls; return those that must go another way: no room, or a name that no header field can carry."""
        line, template = where
        fit = [row for row in rows if is_name(row.call_id)]
        refused = line.place(template, fit)
        return refused if len(fit) == len(rows) else [*refused, *(row for row in rows if not is_name(row.call_id))]

    @property
    def active(self) -> int:
        """Calls under way that have no record yet."""
        return sum(line.desk.active for line in self._lines.values())

    def interrupt(self, call_id: str, end: End) -> bool:
        """End a call early; False where it is not, or not any more, a plain one."""
        return any(line.interrupt(call_id, end) for line in self._lines.values())

    def interrupt_all(self, end: End) -> None:
        """End all calls; those that are not due yet are forgotten."""
        for line in self._lines.values():
            line.interrupt_all(end)

    async def until_over(self, limit_s: float) -> None:
        """Return when every call under way has its record, or the time is over."""
        until_ns = monotonic_ns() + int(limit_s * NS_PER_S)
        while self.active and monotonic_ns() < until_ns:  # noqa: ASYNC110 - at the end of a run; an event a record is dear
            await asyncio.sleep(_LOOK_AGAIN_S)

    def close(self) -> None:
        """Stop."""
        for line in self._lines.values():
            line.close()
