"""Plain calls of one local address: the socket that is read before the user agent reads it, and one timer."""

import asyncio
from collections.abc import Sequence

from harness.callers.plain.desk import Address, Desk, End, Listener
from harness.callers.plain.hot import kernel
from harness.callers.plain.hot.layout import READ_AT_ONCE, Cell, Setting
from harness.callers.plain.hot.wheel import next_ns
from harness.callers.plain.row import Row
from harness.callers.plain.templates import Template
from harness.callers.sip_host import SipHost
from harness.model.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from harness.signalling.udp_socket import UdpSocket

# Looked at again so soon, whatever the wheel says.
_LONGEST_NS = 50 * NS_PER_MS
# Batches read at a time; then others have their turn.
_MOST_BATCHES = 8


class Line:
    """On its event loop's thread only."""

    def __init__(self, host: SipHost, sock: UdpSocket, listener: Listener, calls: int, papers: int) -> None:
        self._host = host
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self.desk = Desk(
            host.agent,
            listener,
            calls=calls,
            papers=papers,
            now_ns=monotonic_ns(),
            deliver=sock.deliver,
            send=sock.send,
        )
        self._tables = self.desk.tables
        self._tables.cells[Cell.FD] = sock.fileno()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns = 0
        self._failed: list[tuple[Address, str]] = []
        self._tell_agent = sock.on_error
        sock.take_over(self._readable, self._peer_failed)

    def add(self, template: Template, worker: str) -> int | None:
        """Return the number of a template; None where there is no room for more."""
        return self.desk.add(template, worker)

    def place(self, template: int, rows: Sequence[Row]) -> list[Row]:
        """Have calls begin when they are due; return those for which there was no place."""
        refused = self.desk.place(template, rows, monotonic_ns())
        self._arm()
        return refused

    # --- time ------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self.desk.held == 0:
            return
        at_ns = next_ns(self._tables, monotonic_ns() + _LONGEST_NS)
        if self._timer is not None:
            if self._timer_at_ns <= at_ns:
                return
            self._timer.cancel()
        self._timer_at_ns = at_ns
        self._timer = self._loop.call_later(max(0, at_ns - monotonic_ns()) / NS_PER_S, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_ns = monotonic_ns()
        self._heed_silence()
        is_more = True
        while is_more:
            is_more = kernel.fire(self._tables, now_ns)
            self.desk.take_told()
        self._host.flush()
        self._arm()

    def _heed_silence(self) -> None:
        """After a 503 with Retry-After nothing is begun there; who asks, and what is told, is the caller's business."""
        for number, template in enumerate(self.desk.templates):
            sip = template.plan.target.sip
            is_asked = sip is not None and sip.honour_retry_after and self._host.is_silenced(template.flow.remote)
            self._tables.templates[number, Setting.PAUSED] = is_asked

    # --- what comes ------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        cells = self._tables.cells
        for _ in range(_MOST_BATCHES):
            now_ns = monotonic_ns()
            cells[Cell.OFFSET] = self._sock.clock_offset_ns(now_ns)
            count = kernel.read(self._tables, now_ns)
            if count < 0:
                self._sock.take_errors()
            self.desk.take_told()
            if count < READ_AT_ONCE:
                break
        self._sock.dropped = max(self._sock.dropped, int(cells[Cell.DROPS]))
        self._host.flush()
        self._arm()

    def _peer_failed(self, peer: Address, why: str) -> None:
        """Hear that an address cannot be reached; told from anywhere, so see to it between two other things."""
        if not self._failed:
            self._loop.call_soon(self._serve_failed)
        self._failed.append((peer, why))

    def _serve_failed(self) -> None:
        failed, self._failed = dict(self._failed), []
        self.desk.hand_over_pending(failed)
        for peer, why in failed.items():
            self._tell_agent(peer, why)
        self._host.flush()

    # --- the operator ----------------------------------------------------------------------------------------------

    def interrupt(self, call_id: str, end: End) -> bool:
        """End a call early; False where it is not under way as a plain one, or needs more than a BYE."""
        is_done = self.desk.interrupt(call_id, end, monotonic_ns())
        self._settle()
        return is_done

    def interrupt_all(self, end: End) -> None:
        """End all calls; those that are not due yet are forgotten."""
        self.desk.forget_waiting()
        for call_id in self.desk.under_way():
            self.desk.interrupt(call_id, end, monotonic_ns())
            kernel.flush(self._tables)
            self.desk.take_told()
        self._settle()

    def _settle(self) -> None:
        kernel.flush(self._tables)
        self.desk.take_told()
        self._host.flush()
        self._arm()

    def close(self) -> None:
        """Stop; what is under way is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
