"""What all calls of a user agent share: timers, transactions, what waits to be sent and told, and the making of ids."""

from dataclasses import dataclass
from typing import Protocol

from harness.protocols.sip import compose
from harness.protocols.sip.config import ALLOW, EXTENSIONS, AgentConfig
from harness.protocols.sip.events import Event
from harness.protocols.sip.flow import Flow, host_port
from harness.protocols.sip.ids import Ids, RandomIds
from harness.protocols.sip.message import Request, Response
from harness.protocols.sip.timers import TimerWheel
from harness.protocols.sip.transaction import PROCEEDING, TERMINATED, Transaction, User, class_of, stop
from harness.protocols.sip.transaction_tables import CLIENT_INVITE, CLIENT_NON_INVITE, SERVER_INVITE, SERVER_NON_INVITE

ALLOW_LINE = f"Allow: {', '.join(ALLOW)}\r\n"
# Without "100rel" where reliable provisional responses are off.
SUPPORTED_LINES = {True: f"Supported: {', '.join(sorted(EXTENSIONS))}\r\n", False: "Supported: timer\r\n"}
# Distinct source addresses whose header text is kept.
_FLOWS_KEPT = 4096


@dataclass(slots=True)
class Counts:
    """What a user agent saw and did, since it was made."""

    received: int = 0
    # Datagrams and messages that were no SIP, or whose routing was broken; answered where that was possible.
    malformed: int = 0
    # Responses and ACKs that belong to nothing here.
    strays: int = 0
    # Requests and responses sent again because nothing confirmed them.
    resent: int = 0
    # Messages received again.
    repeated: int = 0
    # 2xx of a second fork, acknowledged and hung up.
    forks_dropped: int = 0
    # Requests that came here over two ways (482).
    merged: int = 0
    # Final responses to INVITE whose ACK never came.
    unacknowledged: int = 0


class InDialog(Protocol):
    """A call, as requests of its dialogs find it."""

    id: str

    def on_request(self, transaction: Transaction, request: Request, now_ns: int) -> None:
        """Take a request with our tag in To, new to the server transactions."""

    def on_ack(self, request: Request, now_ns: int) -> None:
        """Take an ACK of a 2xx; they come as often as they are received."""

    def on_flow_failed(self, flow: Flow) -> None:
        """Hear that a connection is gone: what comes next needs another."""


class _Limit:
    """Ends a transaction that has no timer of its own for it."""

    __slots__ = ("_endpoint", "_transaction")

    def __init__(self, endpoint: "Endpoint", transaction: Transaction) -> None:
        self._endpoint = endpoint
        self._transaction = transaction

    def on_timer(self, _name: str, _now_ns: int) -> None:
        """Kill it, unless it is over."""
        self._endpoint.kill(self._transaction)


class Endpoint:
    """The ground calls stand on; knows transactions, not what they are for."""

    def __init__(self, config: AgentConfig, seed: int | None) -> None:
        self.config = config
        self.times = config.timers
        self.wheel = TimerWheel()
        self.outputs: list[tuple[Flow, bytes]] = []
        self.events: list[Event] = []
        self.counts = Counts()
        # By branch, sent-by and method; see the functions at the end.
        self.clients: dict[str, Transaction] = {}
        self.servers: dict[str, Transaction] = {}
        # Calls that are not over, by our tag.
        self.calls: dict[str, InDialog] = {}
        # Server transactions of requests out of a dialog (RFC 3261 8.2.2.2).
        self.merges: dict[str, Transaction] = {}
        self.ids: Ids = RandomIds(seed)
        self._vias: dict[tuple[str, tuple[str, int]], str] = {}
        self._contacts: dict[tuple[str, tuple[str, int], str, bool], str] = {}
        self.agent_line = compose.lines_of([("User-Agent", config.user_agent)] if config.user_agent else [])
        self.server_line = compose.lines_of([("Server", config.server)] if config.server else [])

    def token(self) -> str:
        """Return a tag, or a cnonce."""
        return self.ids.token()

    def unit_interval(self) -> float:
        """Return a random number from 0 to 1, for RFC 3261's random waits."""
        return self.ids.unit_interval()

    def branch(self) -> str:
        """Return a branch that no other transaction has."""
        return self.ids.branch()

    def call_id(self, flow: Flow) -> str:
        """Return a new Call-ID."""
        return self.ids.call_id(flow.local[0])

    def via(self, flow: Flow) -> str:
        """Return a Via line without the branch's value and its end; rport is always asked for (RFC 3581)."""
        key = (flow.transport, flow.local)
        text = self._vias.get(key)
        if text is None:
            if len(self._vias) >= _FLOWS_KEPT:
                self._vias.clear()
            text = self._vias[key] = f"Via: SIP/2.0/{flow.transport.upper()} {host_port(flow.local)};rport;branch="
        return text

    def contact(self, flow: Flow, user: str, *, secure: bool) -> str:
        """Return our Contact line at `flow`; a dialog begun with sips: has a sips: Contact (RFC 3261 12.1.1)."""
        key = (flow.transport, flow.local, user, secure)
        text = self._contacts.get(key)
        if text is None:
            if len(self._contacts) >= _FLOWS_KEPT:
                self._contacts.clear()
            end = "" if flow.transport == "udp" else ";transport=tcp" if secure else f";transport={flow.transport}"
            scheme = "sips" if secure else "sip"
            text = f"Contact: <{scheme}:{user}{'@' if user else ''}{host_port(flow.local)}{end}>\r\n"
            self._contacts[key] = compose.one_line(text[:-2]) + "\r\n"
        return text

    def tell(self, event: Event) -> None:
        """Queue `event` for the application."""
        self.events.append(event)

    def send_request(
        self, branch: str, method: str, flow: Flow, data: bytes, user: User | None, now_ns: int
    ) -> Transaction:
        """Start a client transaction."""
        invite = method == "INVITE"
        key = branch + method
        transaction = Transaction(self, CLIENT_INVITE if invite else CLIENT_NON_INVITE, key, method, flow, user)
        self.clients[key] = transaction
        transaction.step("send INVITE" if invite else "send request", now_ns, data)
        return transaction

    def open_server(self, request: Request, key: str, flow: Flow, tag: str, now_ns: int) -> Transaction:
        """Start a server transaction; `tag` is ours, for a To that has none."""
        invite = request.method == "INVITE"
        back = compose.answer_flow(request, flow)
        transaction = Transaction(self, SERVER_INVITE if invite else SERVER_NON_INVITE, key, request.method, back, None)
        transaction.tag = tag
        transaction.stem = compose.stem_of(request, flow, tag)
        self.servers[key] = transaction
        transaction.step("INVITE" if invite else "request", now_ns)
        return transaction

    def respond(
        self,
        transaction: Transaction,
        status: int,
        now_ns: int,
        *,
        reason: str | None = None,
        lines: str = "",
        body: bytes = b"",
        content_type: str = "application/sdp",
    ) -> bytes:
        """Send a response of a server transaction and return it; `lines` are further header lines."""
        head = f"{compose.start_line(status, reason)}{transaction.stem}{lines}{self.server_line}"
        data = compose.encoded(head, body, content_type)
        if status >= 200:
            transaction.stem = ""
        transaction.step(SEND[status // 100], now_ns, data)
        return data

    def forget(self, transaction: Transaction) -> None:
        """Take a terminated transaction out of the tables."""
        if self.clients.get(transaction.key) is transaction:
            del self.clients[transaction.key]
        elif self.servers.get(transaction.key) is transaction:
            del self.servers[transaction.key]
            if transaction.merge_key and self.merges.get(transaction.merge_key) is transaction:
                del self.merges[transaction.merge_key]

    def count_resent(self, transaction: Transaction) -> None:
        """Count a retransmission, for the agent and for the transaction's user."""
        self.counts.resent += 1
        if transaction.user is not None:
            transaction.user.resent += 1

    def on_response(self, response: Response, now_ns: int) -> None:
        """Hand a response to its transaction."""
        transaction = self.clients.get(response.top_via.branch + response.cseq.method)
        if transaction is None:
            self.counts.strays += 1
        else:
            transaction.step(class_of(response.status), now_ns, response)

    def fail_flow(self, flow: Flow, now_ns: int, reason: str) -> None:
        """End what waits for an answer over `flow`: a connection, or all UDP to the same remote address."""
        if flow.transport != "udp":
            for call in list(self.calls.values()):
                call.on_flow_failed(flow)
        for table in (self.clients, self.servers):
            for transaction in [found for found in table.values() if is_same_way(found.flow, flow)]:
                if not transaction.is_over:
                    transaction.step("transport error", now_ns, reason)

    def limit(self, transaction: Transaction, now_ns: int) -> None:
        """Give an INVITE of a call that is over 64 * T1 for its final response: it has no timer for a silent peer."""
        if transaction.state == PROCEEDING:
            self.wheel.start(now_ns + self.times.give_up_ns, _Limit(self, transaction), "limit")

    def kill(self, transaction: Transaction) -> None:
        """End a transaction whose outcome matters no more."""
        if not transaction.is_over:
            transaction.state = TERMINATED
            transaction.user = None
            stop(transaction, 0, None)
            self.forget(transaction)


SEND = ("", "send 1xx", "send 2xx", "send 3xx-6xx", "send 3xx-6xx", "send 3xx-6xx", "send 3xx-6xx")


def is_same_way(one: Flow, other: Flow) -> bool:
    """Whether what goes over one flow goes over the other: one connection, or UDP to one remote address."""
    if one.transport != other.transport or one.remote != other.remote:
        return False
    return one.transport == "udp" or one.connection == other.connection


def server_key(request: Request, method: str) -> str:
    """Return what identifies the server transaction of `request` (RFC 3261 17.2.3); `method`: ACK belongs to INVITE."""
    via = request.top_via
    if via.branch.startswith("z9hG4bK"):
        return f"{via.branch}{via.host}:{via.port}{method}"
    # RFC 2543: no branch to go by.
    number = request.cseq.number
    return f"{request.call_id}|{number}|{request.from_.tag}|{request.get_all('via')[0]}|{request.uri_text}|{method}"


def merge_key(request: Request) -> str:
    """Return what two copies of one request have in common that came over different ways (RFC 3261 8.2.2.2)."""
    return f"{request.call_id} {request.from_.tag} {request.cseq.number} {request.method}"
