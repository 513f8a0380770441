"""A transaction and what its table makes it do (RFC 3261 section 17, RFC 6026); the tables: transaction_tables.py."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from harness.model.errors import LocalProtocolError
from harness.protocols.sip import compose
from harness.protocols.sip.config import TimerValues
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.message import Response
from harness.protocols.sip.timers import Timer, TimerWheel


class User(Protocol):
    """The transaction user: a call, a request out of dialog, a registration."""

    # Counts what was sent again on its behalf.
    resent: int

    def on_response(self, transaction: "Transaction", response: Response, now_ns: int) -> None:
        """Take a response that is new to the client transaction; 2xx to INVITE come as often as they are received."""

    def on_failure(self, transaction: "Transaction", status: int, reason: str, now_ns: int) -> None:
        """Hear that no final response will come: 408 = timer B or F (a server's: H), 503 = the transport failed."""


class Host(Protocol):
    """What a transaction needs around it."""

    wheel: TimerWheel
    times: TimerValues
    outputs: list[tuple[Flow, bytes]]

    def forget(self, transaction: "Transaction") -> None:
        """Take it out of the tables: it is terminated."""

    def count_resent(self, transaction: "Transaction") -> None:
        """Count a retransmission."""


Action = Callable[["Transaction", int, Any], None]
Row = Mapping[str, tuple[str, tuple[Action, ...]]]
Table = Mapping[str, Row]

INITIAL = "Initial"
CALLING = "Calling"
TRYING = "Trying"
PROCEEDING = "Proceeding"
ACCEPTED = "Accepted"
COMPLETED = "Completed"
CONFIRMED = "Confirmed"
TERMINATED = "Terminated"


class Transaction:
    """One transaction of either side; `table` decides which of the four it is."""

    __slots__ = (
        "data", "end", "flow", "host", "interval_ns", "key", "merge_key", "method", "resend", "state", "stem", "table",
        "tag", "user",
    )  # fmt: skip

    def __init__(self, host: Host, table: Table, key: str, method: str, flow: Flow, user: User | None) -> None:
        self.host = host
        self.table = table
        self.state = INITIAL
        self.key = key
        self.method = method
        self.flow = flow
        self.user = user
        # What a retransmission sends: a client's request, a server's last response.
        self.data = b""
        # A server's: the header lines each of its responses repeats (RFC 3261 8.2.6.2).
        self.stem = ""
        # A server's: our tag in its responses where the request's To had none.
        self.tag = ""
        # A server's: how a merged request would look (RFC 3261 8.2.2.2), "" in a dialog.
        self.merge_key = ""
        self.interval_ns = 0
        self.resend: Timer | None = None
        self.end: Timer | None = None

    @property
    def is_over(self) -> bool:
        """Whether no event can come any more."""
        return self.state == TERMINATED

    def step(self, event: str, now_ns: int, what: Any = None) -> None:
        """Walk the table: `event` is a timer's letter, a class of responses, a method, or "send ..." of the user.

        LocalProtocolError where the state does not know it: what the network may do is in every row.
        """
        row = self.table[self.state]
        if event not in row:
            raise LocalProtocolError(
                f"{event!r} in state {self.state} of a {self.method} transaction; legal: {', '.join(row)}"
            )
        self.state, actions = row[event]
        for action in actions:
            action(self, now_ns, what)

    def on_timer(self, name: str, now_ns: int) -> None:
        """Timers carry the RFC's letters, and so do the tables."""
        self.step(name, now_ns)

    def _start_resend(self, name: str, now_ns: int) -> None:
        self.resend = self.host.wheel.start(now_ns + self.interval_ns, self, name)

    def _start_end(self, name: str, delay_ns: int, now_ns: int) -> None:
        wheel = self.host.wheel
        wheel.cancel(self.end)
        self.end = wheel.start(now_ns + delay_ns, self, name)


def send(transaction: Transaction, _now_ns: int, data: bytes) -> None:
    """Send `data` and keep it for retransmission."""
    transaction.data = data
    transaction.host.outputs.append((transaction.flow, data))


def resend(transaction: Transaction, _now_ns: int, _what: Any) -> None:
    """Send the last message again."""
    if transaction.data:
        transaction.host.outputs.append((transaction.flow, transaction.data))
        transaction.host.count_resent(transaction)


def stop(transaction: Transaction, _now_ns: int, _what: Any) -> None:
    """Stop both timers."""
    wheel = transaction.host.wheel
    if transaction.resend is not None:
        wheel.cancel(transaction.resend)
        transaction.resend = None
    if transaction.end is not None:
        wheel.cancel(transaction.end)
        transaction.end = None


def _first_resend(name: str) -> Action:
    def start(transaction: Transaction, now_ns: int, _what: Any) -> None:
        if not transaction.flow.is_reliable:
            transaction.interval_ns = transaction.host.times.t1_ns
            transaction._start_resend(name, now_ns)  # noqa: SLF001 - an action is a method the tables can name

    return start


def _next_resend(name: str, *, capped: bool) -> Action:
    def start(transaction: Transaction, now_ns: int, _what: Any) -> None:
        doubled = 2 * transaction.interval_ns
        transaction.interval_ns = min(doubled, transaction.host.times.t2_ns) if capped else doubled
        transaction._start_resend(name, now_ns)  # noqa: SLF001 - as above

    return start


start_a, next_a = _first_resend("A"), _next_resend("A", capped=False)
start_e, next_e = _first_resend("E"), _next_resend("E", capped=True)
start_g, next_g = _first_resend("G"), _next_resend("G", capped=True)


def next_e_slow(transaction: Transaction, now_ns: int, _what: Any) -> None:
    """Start E anew at T2, as it runs once a provisional response has come (RFC 3261 17.1.2.2)."""
    transaction.interval_ns = transaction.host.times.t2_ns
    transaction._start_resend("E", now_ns)  # noqa: SLF001 - as above


def _give_up(name: str) -> Action:
    def start(transaction: Transaction, now_ns: int, _what: Any) -> None:
        transaction._start_end(name, transaction.host.times.give_up_ns, now_ns)  # noqa: SLF001 - as above

    return start


# 64 * T1 over any transport.
start_b, start_f, start_h, start_l, start_m = map(_give_up, "BFHLM")


def _linger(name: str, delay: Callable[[TimerValues], int]) -> Action:
    def start(transaction: Transaction, now_ns: int, what: Any) -> None:
        if transaction.flow.is_reliable:
            transaction.step(name, now_ns, what)
        else:
            transaction._start_end(name, delay(transaction.host.times), now_ns)  # noqa: SLF001 - as above

    return start


# Zero over a reliable transport, which repeats nothing.
start_i = _linger("I", lambda times: times.t4_ns)
start_j = _linger("J", lambda times: times.give_up_ns)
start_k = _linger("K", lambda times: times.t4_ns)
# RFC 3261 17.1.1.2: at least 32 s, whatever T1 is.
start_d = _linger("D", lambda times: max(times.give_up_ns, 32_000_000_000))


def forget(transaction: Transaction, _now_ns: int, _what: Any) -> None:
    """Leave the tables."""
    transaction.host.forget(transaction)
    transaction.data, transaction.stem = b"", ""


def drop_data(transaction: Transaction, _now_ns: int, _what: Any) -> None:
    """Let go of a message that will not be sent again."""
    transaction.data = b""


def let_go(transaction: Transaction, _now_ns: int, _what: Any) -> None:
    """Forget the user: there is nothing more to tell, and it may hold much."""
    transaction.user = None


def pass_up(transaction: Transaction, now_ns: int, response: Response) -> None:
    """Hand a response to the user."""
    if transaction.user is not None:
        transaction.user.on_response(transaction, response, now_ns)


def acknowledge(transaction: Transaction, _now_ns: int, response: Response) -> None:
    """Send the ACK of a final response other than 2xx: hop by hop, with the INVITE's own branch (RFC 3261 17.1.1.3)."""
    if transaction.method == "INVITE" and transaction.stem == "":
        transaction.stem = compose.ack_of_failure(transaction.data, response)
        transaction.data = b""
    transaction.host.outputs.append((transaction.flow, transaction.stem.encode("utf-8", "surrogateescape")))


def time_out(transaction: Transaction, now_ns: int, _what: Any) -> None:
    """Tell the user that nothing came in time."""
    if transaction.user is not None:
        transaction.user.on_failure(transaction, 408, f"no answer to {transaction.method} in 64 * T1", now_ns)


def report_failure(transaction: Transaction, now_ns: int, reason: str) -> None:
    """Tell the user that the transport failed (RFC 3261 8.1.3.1: to be treated as a 503)."""
    if transaction.user is not None:
        transaction.user.on_failure(transaction, 503, reason, now_ns)


def class_of(status: int) -> str:
    """Return how the tables name a response: "1xx", "2xx", "3xx-6xx"."""
    return "1xx" if status < 200 else "2xx" if status < 300 else "3xx-6xx"
