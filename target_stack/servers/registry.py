"""Who is there, how full, and who gets the next session. Pure: time is an argument, in ns of one monotonic clock.

                 registered, ready                  drain
    STARTING ──────────────────────► READY ◄────────────────► DRAINING ──► (empty: `is_drained`)
        ▲                            │   ▲      resume
        │ a new process              │   │ heard again
        └────────── GONE ◄── exit ── LOST┘ not heard for `lease_ms`

A server's load is what it said last, and every session given to it that it has not said a word about since. So two
sessions that come between two heartbeats never share a last place, and a server that says nothing fills up.

One server that says nothing while others do hangs, and gets nothing. Where several are there and none of them is heard,
it is the machine that is late, and they get sessions as before: to refuse everybody would help nobody. Nor does the
time in which nobody listened count as silence (`pardon`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from harness.model.clock import NS_PER_MS

# 0.57 of 100 places are 57 places, whatever floating point makes of it.
_ROUNDING = 1e-9


class State(StrEnum):
    """What a server is to the registry."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    # Its process lives, as far as is known, and says nothing.
    LOST = "lost"
    GONE = "gone"


class Level(StrEnum):
    """How full a server, or all of them together, are."""

    NORMAL = "normal"
    # Over the first watermark: left out while another has room below it.
    STRAINED = "strained"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Rules:
    """Watermarks as shares of a server's capacity, and how long silence is borne."""

    # From here on a server gets no new session while another one is below.
    spread_at: float = 0.8
    # From here on it gets none at all.
    refuse_at: float = 1.0
    lease_ms: float = 1500.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a server says of itself. `calls`: kind -> calls now. `settled`: sessions given to it and decided on."""

    calls: dict[str, int] = field(default_factory=dict)
    settled: int = 0
    is_ready: bool = False

    @property
    def active(self) -> int:
        """Calls of every kind."""
        return sum(self.calls.values())


@dataclass(slots=True)
class Server:
    """One media server, process after process."""

    name: str
    capacity: int
    heard_at_ns: int
    state: State = State.STARTING
    load: Load = field(default_factory=Load)
    # Sessions given to this process.
    given: int = 0
    # Processes that ended without being asked to.
    deaths: int = 0
    is_draining: bool = False
    # Draining ends with this process.
    is_replaced: bool = False

    @property
    def pending(self) -> int:
        """Sessions given and not decided on yet."""
        return max(0, self.given - self.load.settled)

    @property
    def in_use(self) -> int:
        """Places taken, or about to be."""
        return self.load.active + self.pending

    @property
    def is_drained(self) -> bool:
        """Draining, and nothing is left."""
        return self.state is State.DRAINING and not self.in_use


class UnknownServerError(KeyError):
    """No server of this name; the message has the legal ones."""

    def __str__(self) -> str:
        """Return the message as it was given: KeyError would quote it."""
        return str(self.args[0])


class Registry:
    """All media servers of a front."""

    def __init__(self, rules: Rules = Rules()) -> None:
        self.rules = rules
        self._servers: dict[str, Server] = {}

    # --- what is told ---

    def register(self, name: str, capacity: int, now_ns: int) -> None:
        """Take in a process that has begun. A name that is known keeps its deaths, and its draining unless replaced."""
        before = self._servers.get(name)
        server = self._servers[name] = Server(name, capacity, now_ns)
        if before is not None:
            server.deaths = before.deaths
            server.is_draining = before.is_draining and not before.is_replaced

    def heard(self, name: str, load: Load, now_ns: int) -> None:
        """Take a heartbeat."""
        server = self[name]
        if server.state is State.GONE:
            return
        server.load, server.heard_at_ns = load, now_ns
        server.state = _state_of(server)

    def give(self, name: str) -> None:
        """Count a session that is on its way to the server."""
        self[name].given += 1

    def take_back(self, name: str) -> None:
        """Count a session out that did not reach the server."""
        server = self[name]
        server.given = max(0, server.given - 1)

    def drain(self, name: str, *, is_replaced: bool = False) -> None:
        """Give the server no new session until `resume`, or until its next process where it is to be replaced."""
        server = self[name]
        server.is_draining, server.is_replaced = True, is_replaced
        if server.state is State.READY:
            server.state = State.DRAINING

    def resume(self, name: str) -> None:
        """Let the server have sessions again."""
        server = self[name]
        server.is_draining = False
        if server.state is State.DRAINING:
            server.state = _state_of(server)

    def gone(self, name: str, *, was_asked: bool = False) -> None:
        """Take out a process that has ended; its sessions are over."""
        server = self[name]
        if server.state is State.GONE:
            return
        server.state, server.load, server.given = State.GONE, Load(), 0
        server.deaths += not was_asked

    def expire(self, now_ns: int) -> list[str]:
        """Return the servers that have been silent for too long since the last time this was asked."""
        limit_ns = self.rules.lease_ms * NS_PER_MS
        silent = [
            server
            for server in self._servers.values()
            if server.state in (State.READY, State.DRAINING) and now_ns - server.heard_at_ns > limit_ns
        ]
        for server in silent:
            server.state = State.LOST
        return [server.name for server in silent]

    def pardon(self, away_ns: int) -> None:
        """Take note that nobody listened for so long: what was said meanwhile is still to be heard."""
        for server in self._servers.values():
            server.heard_at_ns += away_ns

    # --- what is asked ---

    @property
    def is_all_late(self) -> bool:
        """Several servers live, and none of them is heard in time."""
        living = [s for s in self._servers.values() if s.state in (State.READY, State.DRAINING, State.LOST)]
        return len(living) > 1 and all(s.state is State.LOST for s in living)

    def is_lost(self, name: str) -> bool:
        """Tell whether nothing is to be expected of a server."""
        server = self._servers.get(name)
        if server is None:
            return False
        return server.state is State.GONE or (server.state is State.LOST and not self.is_all_late)

    def is_serving(self, name: str) -> bool:
        """Tell whether a server answers for the sessions it has."""
        state = self[name].state
        return state in (State.READY, State.DRAINING) or (state is State.LOST and self.is_all_late)

    def _takes_sessions(self) -> list[Server]:
        is_all_late = self.is_all_late
        return [
            s
            for s in self._servers.values()
            if s.state is State.READY or (is_all_late and s.state is State.LOST and not s.is_draining)
        ]

    def __getitem__(self, name: str) -> Server:
        """Return a server; UnknownServerError."""
        try:
            return self._servers[name]
        except KeyError:
            legal = ", ".join(sorted(self._servers)) or "none yet"
            raise UnknownServerError(f"no media server {name!r}; legal: {legal}") from None

    def __contains__(self, name: object) -> bool:
        """Tell whether there is, or was, a server of this name."""
        return name in self._servers

    def all(self) -> list[Server]:
        """Return every server, in the order of registration."""
        return list(self._servers.values())

    def choose(self, without: Iterable[str] = ()) -> str | None:
        """Return who gets the next session: the emptiest below the first watermark, else below the second; else None.

        The share in use decides, not the number, so that servers may differ in size; names decide between equals.
        """
        left_out = set(without)
        open_ones = [s for s in self._takes_sessions() if s.name not in left_out]
        for limit in (self.rules.spread_at, self.rules.refuse_at):
            # The place to be taken counts: of 3 places, two lie below a limit of 0.8.
            having_room = [s for s in open_ones if s.in_use + 1 <= limit * s.capacity + _ROUNDING]
            if having_room:
                return min(having_room, key=lambda s: (s.in_use / s.capacity, s.name)).name
        return None

    def level(self, name: str) -> Level:
        """Return how full a server is."""
        server = self[name]
        return self._level(server.in_use, server.capacity)

    @property
    def capacity(self) -> int:
        """Places of the servers that take sessions."""
        return sum(s.capacity for s in self._takes_sessions())

    @property
    def in_use(self) -> int:
        """Places taken, or about to be, wherever."""
        return sum(s.in_use for s in self._servers.values())

    def overall(self) -> Level:
        """Return how full all servers that take sessions are together; FULL where none does."""
        ready = self._takes_sessions()
        return self._level(sum(s.in_use for s in ready), sum(s.capacity for s in ready))

    def _level(self, in_use: int, capacity: int) -> Level:
        if in_use + 1 > self.rules.refuse_at * capacity + _ROUNDING:
            return Level.FULL
        return Level.STRAINED if in_use + 1 > self.rules.spread_at * capacity + _ROUNDING else Level.NORMAL

    def why_not(self) -> str:
        """Say why no session can be taken now; "" when one can."""
        if self.choose() is not None:
            return ""
        ready = len(self._takes_sessions())
        if ready:
            return f"{self.in_use} calls are active on {ready} media servers, which is the limit"
        states = ", ".join(f"{s.name} is {s.state}" for s in self._servers.values())
        return f"no media server takes calls: {states or 'none has started'}"


def _state_of(server: Server) -> State:
    if not server.load.is_ready:
        return State.STARTING
    return State.DRAINING if server.is_draining else State.READY
