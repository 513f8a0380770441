"""What every shell of a SIP user agent does: empty the agent of what it has to say and to tell, keep its one timer."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

from harness.model.clock import NS_PER_S, monotonic_ns
from harness.protocols.sip.events import Event
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.user_agent import UserAgent

_log = logging.getLogger(__name__)


class AgentPump(ABC):
    """Call `flush` after every call into the agent, `_stop` at the end; a shell says how an output leaves."""

    def __init__(self, agent: UserAgent, on_event: Callable[[Event], None]) -> None:
        self.agent = agent
        self._on_event = on_event
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns: int | None = None
        self._is_flushing = False
        self._is_closed = False

    def now_ns(self) -> int:
        """Return the time as the agent wants it."""
        return monotonic_ns()

    def flush(self) -> None:
        """Send what the agent has to say, hand out what happened, set the timer; call it after every call into it."""
        if self._is_flushing:
            # From within `on_event` or a failed send: the loop below comes to it.
            return
        self._is_flushing = True
        try:
            while self._send_outputs() | self._hand_out_events():
                pass
        finally:
            self._is_flushing = False
        self._set_timer()

    @abstractmethod
    def _send(self, flow: Flow, data: bytes) -> None:
        """Send one output of the agent's and count it."""

    def _stop(self) -> None:
        """Send what is left; set no timer any more."""
        self.flush()
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _send_outputs(self) -> bool:
        outputs = self.agent.take_outputs()
        for flow, data in outputs:
            self._send(flow, data)
        return bool(outputs)

    def _hand_out_events(self) -> bool:
        events = self.agent.take_events()
        for event in events:
            try:
                self._on_event(event)
            except Exception:  # noqa: BLE001 -- one call's fault is no other's
                _log.exception("%s could not be handled", type(event).__name__)
        return bool(events)

    def _set_timer(self) -> None:
        at_ns = self.agent.next_timer_ns()
        # One that comes too early finds nothing to do and sets the next: cheaper than setting it anew at each message.
        if at_ns is None or self._is_closed or (self._timer_at_ns is not None and self._timer_at_ns <= at_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ns = at_ns
        wait_s = max(0, at_ns - self.now_ns()) / NS_PER_S
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._timer_due)

    def _timer_due(self) -> None:
        self._timer = self._timer_at_ns = None
        self.agent.handle_timers(self.now_ns())
        self.flush()
