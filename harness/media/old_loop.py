"""The media loop: one thread an engine that sends every call's packet at its 20 ms deadline and reads what arrives.

Deadlines are absolute (start + n x 20 ms, never "sleep 20 ms") and spread over phases, so that calls do not burst
together. Arrivals carry the kernel's time. This is the readable path; a compiled loop takes its place behind the same
four methods: `start`, `add`, `remove`, `stop`.
"""

import heapq
import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from harness.media.kernel_time import RealtimeOffset, receive
from harness.media.stream import TICK_NS
from harness.model.histogram import Histogram

_logger = logging.getLogger(__name__)
PHASES = 8
_NS_PER_MS = 1_000_000
_OFFSET_REFRESH_NS = 1_000_000_000
# How many datagrams of one socket are read before the next deadline is looked at.
_READ_BURST = 16


class LoopStream(Protocol):
    """What the loop drives, all of it on the loop's thread: a caller's MediaStream, or a responder's."""

    def tick(self, now_ns: int, unix_ns: int) -> None:
        """Send what is due now."""

    def heard(self, arrived_at_ns: int, drops: int | None) -> None:
        """Take note of any datagram."""

    def receive_rtp(self, data: bytes, arrived_at_ns: int) -> None:
        """Take one SRTP packet."""

    def receive_rtcp(self, data: bytes, now_ns: int, unix_ns: int) -> None:
        """Take one SRTCP packet."""

    def failed(self, error: Exception) -> None:
        """Take note that the loop has let go of this stream because `error` was raised in it."""

    def goodbye(self) -> None:
        """Say the last word."""


@dataclass(slots=True)
class LoopStats:
    """Since the last `take_stats`."""

    ticks: int = 0
    tick_lateness_ms: Histogram = field(default_factory=Histogram)
    clock_step_ns: int = 0
    overflows: int = 0


@dataclass(slots=True, eq=False)
class _Line:
    stream: LoopStream
    sock: socket.socket
    # STUN and DTLS go back to the protocol stack that set the call up.
    other: Callable[[bytes, tuple[str, int]], None]
    closed: bool = False


class MediaLoop:
    """Runs the streams of one engine. `add` and `remove` may be called from any thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._epoll.register(self._wake_reader.fileno(), select.EPOLLIN)
        self._lines: dict[int, _Line] = {}
        self._heap: list[tuple[int, int, _Line]] = []
        self._requests: deque[Callable[[], None]] = deque()
        self._running = False
        self._thread: threading.Thread | None = None
        self._count = 0
        self._offset = RealtimeOffset()
        self._stats = LoopStats()
        self._stats_lock = threading.Lock()
        # What ended the thread without our asking; no call of this engine has media from then on.
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        self._running = True
        self.failure = None
        self._thread = threading.Thread(target=self._run, name="media-loop", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; streams still in it are dropped."""
        self._request(lambda: setattr(self, "_running", False))
        if self._thread is not None:
            self._thread.join(timeout=2)
        self._epoll.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def add(self, stream: LoopStream, sock: socket.socket, other: Callable[[bytes, tuple[str, int]], None]) -> None:
        """Run `stream` over `sock` (non-blocking, kernel stamps on); the loop closes the socket at `remove`."""
        self._request(lambda: self._add(_Line(stream, sock, other)))

    def remove(self, stream: LoopStream) -> threading.Event:
        """Say goodbye on `stream` and let go of it; the event is set when its socket is closed."""
        done = threading.Event()
        self._request(lambda: self._remove(stream, done))
        return done

    def take_stats(self) -> LoopStats:
        """Return what was counted since the last call."""
        with self._stats_lock:
            taken, self._stats = self._stats, LoopStats()
        taken.clock_step_ns, self._offset.largest_step_ns = self._offset.largest_step_ns, 0
        return taken

    def _request(self, action: Callable[[], None]) -> None:
        self._requests.append(action)
        self._wake_writer.send(b"\0")

    def _add(self, line: _Line) -> None:
        phase = (self._count % PHASES) * (TICK_NS // PHASES)
        self._count += 1
        now = time.monotonic_ns()
        first_due = now - now % TICK_NS + TICK_NS + phase
        self._lines[line.sock.fileno()] = line
        self._epoll.register(line.sock.fileno(), select.EPOLLIN)
        heapq.heappush(self._heap, (first_due, self._count, line))

    def _remove(self, stream: LoopStream, done: threading.Event) -> None:
        for fd, line in list(self._lines.items()):
            if line.stream is stream:
                stream.goodbye()
                self._epoll.unregister(fd)
                del self._lines[fd]
                line.closed = True
                line.sock.close()
        done.set()

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            _logger.critical("the media loop died", exc_info=error)
            self.failure = error

    def _loop(self) -> None:
        next_refresh = time.monotonic_ns() + _OFFSET_REFRESH_NS
        while self._running:
            self._send_due()
            now = time.monotonic_ns()
            if now >= next_refresh:
                self._offset.refresh()
                next_refresh = now + _OFFSET_REFRESH_NS
            self._wait_and_read()

    def _send_due(self) -> None:
        now = time.monotonic_ns()
        while self._heap and self._heap[0][0] <= now:
            due, order, line = heapq.heappop(self._heap)
            if line.closed:
                continue
            with self._stats_lock:
                self._stats.ticks += 1
                self._stats.tick_lateness_ms.add((now - due) / _NS_PER_MS)
            try:
                line.stream.tick(now, now + self._offset.offset_ns)
            except Exception as error:  # noqa: BLE001 - one call's fault, of whatever kind, must not stop the others
                self._drop(line, error)
                continue
            heapq.heappush(self._heap, (due + TICK_NS, order, line))
            now = time.monotonic_ns()

    def _wait_and_read(self) -> None:
        # epoll's time-out is in whole ms, rounded up: wait the whole ms below the deadline, sleep the rest exactly.
        wait_ns = self._heap[0][0] - time.monotonic_ns() if self._heap else 50 * _NS_PER_MS
        whole_ms = max(0, wait_ns // _NS_PER_MS)
        ready = self._epoll.poll(whole_ms / 1000)
        for fd, _mask in ready:
            if fd == self._wake_reader.fileno():
                self._serve_requests()
            elif fd in self._lines:
                self._read(self._lines[fd])
        if not ready and self._heap:
            rest_ns = self._heap[0][0] - time.monotonic_ns()
            if 0 < rest_ns < 2 * _NS_PER_MS:
                time.sleep(rest_ns / 1e9)

    def _serve_requests(self) -> None:
        try:
            self._wake_reader.recv(4096)
        except BlockingIOError:
            return
        while self._requests:
            self._requests.popleft()()

    def _drop(self, line: _Line, error: Exception) -> None:
        """Let go of one call whose media raised; the others must not suffer."""
        _logger.error("a stream failed in the media loop", exc_info=error)
        self._epoll.unregister(line.sock.fileno())
        del self._lines[line.sock.fileno()]
        line.closed = True
        line.sock.close()
        line.stream.failed(error)

    def _read(self, line: _Line) -> None:
        try:
            self._read_burst(line)
        except Exception as error:  # noqa: BLE001 - as above
            self._drop(line, error)

    def _read_burst(self, line: _Line) -> None:
        for _ in range(_READ_BURST):
            try:
                data, address, arrived_at_ns, drops = receive(line.sock, self._offset)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # ICMP errors of an earlier send surface here; the media watchdog decides when the peer is gone.
                return
            line.stream.heard(arrived_at_ns, drops)
            first = data[0] if data else 0
            # RFC 7983: 128..191 is RTP or RTCP; RFC 5761: RTCP types 192..223 in the second byte.
            if not 128 <= first <= 191:
                line.other(data, address)
            elif len(data) > 1 and 192 <= data[1] <= 223:
                line.stream.receive_rtcp(data, arrived_at_ns, arrived_at_ns + self._offset.offset_ns)
            else:
                line.stream.receive_rtp(data, arrived_at_ns)
