"""A media stream's TCP or TLS connection, read with the kernel's receive times (harness/media/stamped_stream.py).

Where there is no stamp, the time of the read stands in for it.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

from harness.callers.exhaustion import raise_if_ours
from harness.callers.setup_failure import SetupFailure
from harness.media.kernel_time import SO_TIMESTAMPNS
from harness.media.spec import Address
from harness.media.stamped_stream import CONTROL_BYTES, READ_BYTES, TlsPipe, WallClock, stamp_of
from harness.model.clock import monotonic_ns
from harness.model.records import Cause

# What one wake-up may read before other calls have their turn.
_READS = 8
# Not much waits unseen in the kernel: an agent that does not read is noticed sooner.
_SEND_BUFFER_BYTES = 32_768
# RFC 5482: data that nobody acknowledges for so long ends the connection.
_TCP_USER_TIMEOUT = 18


class Read(NamedTuple):
    """What came, b"" at the end of the connection; `is_stamped`: `at_ns` is the kernel's."""

    data: bytes
    at_ns: int
    is_stamped: bool


class StreamLink:
    """One connection that is up. What comes while nobody listens waits in the kernel, with its stamp."""

    def __init__(self, sock: socket.socket, tls: TlsPipe | None, clock: WallClock) -> None:
        self._sock = sock
        self._tls = tls
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._on_read: Callable[[Read], None] = _ignore
        self._on_broken: Callable[[OSError], None] = _ignore
        self._unsent = bytearray()
        self._flushed: list[Callable[[int], None]] = []
        self._is_open = True
        self._is_reading = False

    def listen(self, on_read: Callable[[Read], None], on_broken: Callable[[OSError], None]) -> None:
        """Tell what comes from now on; `on_broken` is told once, and nothing after it."""
        self._on_read, self._on_broken = on_read, on_broken
        if self._is_open and not self._is_reading:
            self._is_reading = True
            self._loop.add_reader(self._sock.fileno(), self._on_readable)

    def pause(self) -> None:
        """Read nothing until the next `listen`, whoever is to have it."""
        if self._is_open and self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._sock.fileno())

    @property
    def tls_words(self) -> str | None:
        """Protocol and cipher, None where nothing is encrypted."""
        return None if self._tls is None else self._tls.words

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return len(self._unsent)

    def send(self, data: bytes) -> bool:
        """Send; False: the kernel's buffer is full, the rest follows when there is room. Never raises."""
        if not self._is_open:
            return True
        if self._tls is not None:
            try:
                data = self._tls.seal(data)
            except ssl.SSLError as error:
                self._break(error)
                return True
        return self._pass_on(data)

    def _pass_on(self, data: bytes) -> bool:
        """Send in order what goes over the connection as it is; False: some of it waits."""
        if self._unsent:
            self._unsent += data
            return False
        sent = self._write(data)
        if sent == len(data):
            return True
        if self._is_open:
            self._unsent += data[sent:]
            self._loop.add_writer(self._sock.fileno(), self._on_writable)
        return False

    def when_sent(self, callback: Callable[[int], None]) -> None:
        """Call back with the time once all that was given to `send` is with the kernel."""
        self._flushed.append(callback)

    def finish(self) -> None:
        """End our direction of the connection; what the peer still says is read on."""
        with contextlib.suppress(OSError):
            if self._is_open and self._tls is None:
                self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of the connection; what is unsent is lost."""
        if not self._is_open:
            return
        self._is_open = False
        fd = self._sock.fileno()
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)
        self._sock.close()
        self._on_read = self._on_broken = _ignore
        self._flushed.clear()

    def read_waiting(self) -> None:
        """Read what waits in the kernel now, not when the event loop comes to it."""
        if self._is_reading:
            self._on_readable()

    def _write(self, data: "bytes | bytearray") -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._break(error)
            return 0

    def _on_writable(self) -> None:
        del self._unsent[: self._write(self._unsent)]
        if self._unsent or not self._is_open:
            return
        self._loop.remove_writer(self._sock.fileno())
        flushed, self._flushed = self._flushed, []
        now = monotonic_ns()
        for callback in flushed:
            callback(now)

    def _on_readable(self) -> None:
        for _ in range(_READS):
            if not self._is_open or not self._is_reading:
                return
            try:
                data, control, _flags, _address = self._sock.recvmsg(READ_BYTES, CONTROL_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._break(error)
                return
            self._take(data, control)
            if not data or len(data) < READ_BYTES:
                # A short read has emptied the buffer; what comes now wakes us again.
                return

    def _take(self, data: bytes, control: "list[tuple[int, int, bytes]]") -> None:
        stamp = stamp_of(control)
        at_ns = monotonic_ns() if stamp is None else self._clock.monotonic(stamp)
        if not data:
            self._loop.remove_reader(self._sock.fileno())
        if data and self._tls is not None:
            try:
                data, is_over = self._tls.open(data)
            except ssl.SSLError as error:
                self._break(error)
                return
            if answer := self._tls.pending():
                self._pass_on(answer)
            if not self._is_open or (not data and not is_over):
                return
            if is_over:
                self._loop.remove_reader(self._sock.fileno())
            if data and is_over:
                # The end came in one piece with the last data, and is told behind it, as everywhere.
                self._on_read(Read(data, at_ns, stamp is not None))
                data = b""
        self._on_read(Read(data, at_ns, stamp is not None))

    def _break(self, error: OSError) -> None:
        on_broken = self._on_broken
        self.close()
        on_broken(error)


def _ignore(_what: object) -> None:
    """Be what an event of nobody's is told to."""


async def open_link(
    remote: Address, tls: tuple[ssl.SSLContext, str] | None, clock: WallClock, silence_ms: float, shown: str
) -> StreamLink:
    """Connect; raises SetupFailure, naming `shown`, or GeneratorError. `silence_ms`: of a peer that is gone."""
    sock = socket.socket(socket.AF_INET6 if ":" in remote[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(silence_ms))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        await asyncio.get_running_loop().sock_connect(sock, remote)
        if tls is None:
            return StreamLink(sock, None, clock)
        records = TlsPipe(*tls)
        await records.shake_hands(sock)
        return StreamLink(sock, records, clock)
    except ssl.SSLError as error:
        sock.close()
        raise SetupFailure(Cause.SIGNALLING_REFUSED, f"{shown}: TLS: {error}") from error
    except OSError as error:
        sock.close()
        raise_if_ours(error, f"connecting to {shown}")
        raise SetupFailure(Cause.SIGNALLING_UNREACHABLE, f"{shown}: {error.strerror or error}") from error
    except BaseException:
        sock.close()
        raise
