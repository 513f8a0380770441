"""A response the user repeats until the peer confirms it: a 2xx until its ACK, a reliable 1xx until its PRACK."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.protocols.sip.endpoint import Endpoint
from harness.protocols.sip.flow import Flow

if TYPE_CHECKING:
    from harness.protocols.sip.timers import Timer


class Repeater:
    """Sends `data` again after T1, doubling, gives up after 64 * T1; over any transport (RFC 3261 13.3.1.4, 3262 3)."""

    __slots__ = ("_again", "_cap_ns", "_data", "_end", "_endpoint", "_flow", "_give_up", "_interval_ns", "sent")

    def __init__(
        self, endpoint: Endpoint, flow: Flow, data: bytes, give_up: Callable[[int], None], *, capped: bool, now_ns: int
    ) -> None:
        times = endpoint.times
        self._endpoint = endpoint
        self._flow = flow
        self._data = data
        self._give_up = give_up
        # A 2xx is repeated every T2 at last; a reliable 1xx goes on doubling.
        self._cap_ns = times.t2_ns if capped else times.give_up_ns
        self._interval_ns = times.t1_ns
        # How often it was repeated.
        self.sent = 0
        self._again: Timer | None = endpoint.wheel.start(now_ns + times.t1_ns, self, "again")
        self._end: Timer | None = endpoint.wheel.start(now_ns + times.give_up_ns, self, "give up")

    def on_timer(self, name: str, now_ns: int) -> None:
        """Repeat, or give up."""
        if name == "again":
            self.sent += 1
            self._endpoint.counts.resent += 1
            self._endpoint.outputs.append((self._flow, self._data))
            self._interval_ns = min(2 * self._interval_ns, self._cap_ns)
            self._again = self._endpoint.wheel.start(now_ns + self._interval_ns, self, "again")
        else:
            self.stop()
            self._give_up(now_ns)

    def stop(self) -> None:
        """Stop: it was confirmed, or no longer matters."""
        self._endpoint.wheel.cancel(self._again)
        self._endpoint.wheel.cancel(self._end)
        self._again = self._end = None
