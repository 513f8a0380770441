"""The UDP ports that RTP calls of an engine leave from: a few that all calls share, or one a call.

Sharing saves the system calls (one sendmmsg for many calls), but what comes back must tell the calls apart: by the
peer's port, where it has one for every call, or by SSRC, where the peer announced its own or sends ours back.
"""

import itertools
import secrets
from dataclasses import dataclass, field

from harness.media.loop import MediaLoop
from harness.media.port import MediaPort
from harness.media.spec import Address

# So many sockets share the work; each is read in batches, so that more would only make the batches smaller.
SHARED_PORTS = 4
_OWN_BUFFER_BYTES = 1 << 18

Mark = Address | int


@dataclass(slots=True, eq=False)
class SourcePort:
    """A call's hold on a port: `release` gives it back."""

    port: MediaPort
    is_shared: bool
    # What the calls on this port are known by, all of them: a remote address, or a remote SSRC.
    marks: set[Mark] = field(default_factory=set)
    mine: Mark | None = None

    def claim(self, mark: Mark) -> bool:
        """Make `mark` this call's on the port; False where another call already goes by it."""
        if mark in self.marks:
            return False
        self.marks.add(mark)
        self.mine = mark
        return True

    def reclaim(self, mark: Mark) -> bool:
        """Be known by `mark` from now on, and no more by the one before; False where another call goes by it."""
        before = self.mine
        if not self.claim(mark):
            return False
        if before is not None:
            self.marks.discard(before)
        return True

    def release(self) -> None:
        """Let go of the port once the call has left it; one of the call's own is closed."""
        if self.mine is not None:
            self.marks.discard(self.mine)
            self.mine = None
        if not self.is_shared:
            self.port.close()


class SourcePorts:
    """Hands out ports; belongs to one engine. Raises GeneratorError when the system has no more."""

    def __init__(self, media_loop: MediaLoop) -> None:
        self._media_loop = media_loop
        self._shared: dict[str, list[tuple[MediaPort, set[Mark]]]] = {}
        self._turn = itertools.count()
        self._first_ssrc = secrets.randbits(32)
        self._calls = itertools.count()
        # Peers that were seen to answer two calls with one address: calls to them get a port each.
        self.need_own_port: set[str] = set()

    def shared(self, host: str) -> SourcePort:
        """Return the next of the shared ports on the local address `host`."""
        ports = self._shared.setdefault(host, [])
        turn = next(self._turn)
        if len(ports) < SHARED_PORTS:
            ports.append((self._media_loop.open_port(host, _ignore), set()))
            return SourcePort(ports[-1][0], is_shared=True, marks=ports[-1][1])
        port, marks = ports[turn % SHARED_PORTS]
        return SourcePort(port, is_shared=True, marks=marks)

    def own(self, host: str) -> SourcePort:
        """Return a port of the call's own on the local address `host`."""
        port = self._media_loop.open_port(host, _ignore, buffer_bytes=_OWN_BUFFER_BYTES)
        return SourcePort(port, is_shared=False)

    def new_ssrc(self) -> int:
        """Return an SSRC that no other call of this engine has: random to others (RFC 3550 8.1), drawn once."""
        # An odd step visits every 32-bit number before the first comes again.
        return (self._first_ssrc + next(self._calls) * 0x9E3779B1) & 0xFFFFFFFF


def _ignore(_data: bytes, _source: Address, _at_ns: int) -> None:
    """STUN, DTLS and the like: nothing of an RTP call."""
