"""The media loop as the rest of Callquake sees it: ports are opened, calls added, clips played, events come back.

The work itself is `harness/media/hot/run.py`, on one thread without the GIL. This file fills its tables, writes its
commands and turns what it tells into events on the event loop's thread. `harness/media/__init__.py` shows a packet's
way.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.media.call_table import CallTable
from harness.media.clip_table import ClipTable
from harness.media.hot import layout, native, rings
from harness.media.hot.jit import INTERPRETED, MODE
from harness.media.hot.layout import Command, Counter, Event, Parcel
from harness.media.hot.run import run
from harness.media.lateness import to_histogram
from harness.media.media_call import MediaCall
from harness.media.port import SHARED_BUFFER_BYTES, MediaPort, OnDatagram, open_socket
from harness.media.priority import outrank_the_process
from harness.media.ring_reader import RingReader
from harness.media.sockaddr import unpack
from harness.media.spec import MediaSpec
from harness.model.errors import GeneratorError
from harness.model.histogram import Histogram

__all__ = ["LoopStats", "MediaCall", "MediaLoop", "MediaPort"]

_logger = logging.getLogger(__name__)
_NS_PER_MS = 1_000_000
_TIMER_SLACK_NS = 1_000
# Interpreted rows are objects, made one by one, and no interpreted loop carries more calls than this.
_INTERPRETED_CALLS, _INTERPRETED_CLIPS = 256, 2048
_CLIPS, _PACKETS = 65_536, 1 << 20
# What waits behind the listener that failed is for other calls: they go on.
_LISTENER_FAILED = "a listener of the media loop failed"
# Of a parcel's fields.
_LENGTH = (rings.PARCEL.names or ()).index("length")


@dataclass(slots=True)
class LoopStats:
    """Since the last `take_stats`."""

    ticks: int = 0
    # How long after its deadline each 20 ms packet had left.
    tick_lateness_ms: Histogram = field(default_factory=Histogram)
    clock_step_ns: int = 0
    # Events, datagrams and recorded packets that found their ring full, held-back packets that found the line full.
    overflows: int = 0
    unknown_source: int = 0
    datagrams_received: int = 0
    # Over all calls.
    packets_sent: int = 0
    packets_received: int = 0
    send_errors: int = 0
    # Each once, however many calls share its port.
    socket_drops: int = 0


class MediaLoop:
    """Runs the media of one engine. All methods belong on the event loop's thread."""

    def __init__(self, capacity: int = 4096) -> None:
        calls = min(capacity, _INTERPRETED_CALLS) if INTERPRETED else capacity
        clips = _INTERPRETED_CLIPS if INTERPRETED else _CLIPS
        self.mode = MODE
        # Calls that can be up at once.
        self.capacity = calls
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll_fd = native.epoll_create()
        self._media = layout.new_media(calls, calls, clips, _PACKETS, self._event_fd, self._epoll_fd)
        self._calls = CallTable(self._media, ClipTable(self._media), self._command)
        self._ports: dict[int, MediaPort] = {}
        self._free_ports = list(range(calls - 1, -1, -1))
        self._closed_drops = 0
        self._events = RingReader(self._media.events.rows, self._media.events.cells, rings.EVENT)
        self._parcels = RingReader(self._media.parcels.rows, self._media.parcels.cells, rings.PARCEL)
        # A field of a bundle costs a µs.
        self._commands, self._parcel_data = self._media.commands, self._media.parcels.data
        self._parcel_names = self._media.parcels.names
        self._taken = self._media.counters.copy()
        self._taken_sums, self._taken_drops = self._calls.sums(), 0
        self._taken_lateness = self._media.lateness.copy()
        self._thread: threading.Thread | None = None
        self._asyncio: asyncio.AbstractEventLoop | None = None
        # What ended the thread without our asking; no call of this engine has media from then on.
        self.failure: BaseException | None = None

    def compile(self) -> None:
        """Compile the loop now, if it is not on disk yet; takes up to a minute, once a machine."""
        self._command(Command.STOP)
        run(self._media)

    def start(self) -> None:
        """Start the thread; events are told on the running event loop."""
        self.compile()
        self._asyncio = asyncio.get_running_loop()
        self._asyncio.add_reader(self._event_fd, self._on_bell)
        self.failure = None
        self._thread = threading.Thread(target=self._run, name="media-loop", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; calls still in it are dropped, ports closed."""
        if self._thread is not None:
            self._command(Command.STOP)
            self._thread.join(timeout=2)
            self._thread = None
        if self._asyncio is not None and not self._asyncio.is_closed():
            self._asyncio.remove_reader(self._event_fd)
        self._asyncio = None
        self._calls.drop_all()
        for port in self._ports.values():
            port.is_closed = True
            port.sock.close()
        self._ports.clear()
        for fd in (self._event_fd, self._epoll_fd):
            if fd >= 0:
                os.close(fd)
        self._event_fd = self._epoll_fd = -1

    def open_port(
        self,
        host: str,
        on_datagram: OnDatagram,
        *,
        port: int = 0,
        buffer_bytes: int = SHARED_BUFFER_BYTES,
        tells_unknown: bool = False,
    ) -> MediaPort:
        """Open a UDP port on the local address `host`. Raises GeneratorError.

        `tells_unknown`: RTP and RTCP of unknown senders arrive at `on_datagram`, too, for it to begin a call.
        """
        if not self._free_ports:
            raise GeneratorError(f"all {len(self._media.ports)} media ports of this engine are in use")
        sock = open_socket(host, port, buffer_bytes)
        index = self._free_ports.pop()
        row = self._media.ports[index]
        row.fd, row.any_source_call, row.segments_refused, row.drops = sock.fileno(), -1, 0, 0
        row.behind_since_ns = 0
        row.tells_unknown = int(tells_unknown)
        row.open = 1
        self._ports[index] = opened = MediaPort(index, sock, on_datagram, self._close_port)
        native.epoll_add(self._epoll_fd, sock.fileno(), index)
        return opened

    def add_call(self, port: MediaPort, spec: MediaSpec) -> MediaCall:
        """Begin a call's media on `port`. Raises GeneratorError when the port cannot tell it from another call."""
        if self.failure is not None:
            raise GeneratorError(f"the media loop died: {self.failure!r}")
        if port.is_closed:
            raise GeneratorError(f"the media port {port.address[1]} is closed")
        return self._calls.add(port, spec)

    @property
    def socket_drops(self) -> int:
        """Datagrams that the kernel has dropped on any port so far, each once, however many calls share its port."""
        return self._closed_drops + sum(int(self._media.ports[index].drops) for index in self._ports)

    def take_stats(self) -> LoopStats:
        """Return what was counted since the last call."""
        counters, lateness = self._media.counters.copy(), self._media.lateness.copy()
        # Maxima, not sums: taken and begun anew.
        for cell in (Counter.LATENESS_MAX_NS, Counter.CLOCK_STEP_NS):
            self._media.counters[cell] = 0
        since = counters - self._taken
        late = to_histogram(lateness - self._taken_lateness, int(counters[Counter.LATENESS_MAX_NS]) / _NS_PER_MS)
        sums, drops = self._calls.sums(), self.socket_drops
        sent, received, refused = (now - before for now, before in zip(sums, self._taken_sums, strict=True))
        dropped = drops - self._taken_drops
        self._taken, self._taken_lateness, self._taken_sums, self._taken_drops = counters, lateness, sums, drops
        return LoopStats(
            ticks=late.n,
            tick_lateness_ms=late,
            clock_step_ns=int(counters[Counter.CLOCK_STEP_NS]),
            overflows=int(since[Counter.EVENTS_LOST] + since[Counter.PARCELS_LOST] + since[Counter.LINE_FULL]),
            unknown_source=int(since[Counter.UNKNOWN_SOURCE]),
            datagrams_received=int(since[Counter.DATAGRAMS]),
            packets_sent=sent,
            packets_received=received,
            send_errors=refused,
            socket_drops=dropped,
        )

    # --- the thread and what it tells ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            native.set_timer_slack(_TIMER_SLACK_NS)
            outrank_the_process()
            run(self._media)
        except BaseException as error:
            _logger.critical("the media loop died", exc_info=error)
            self.failure = error
            # An event loop that is closed already has no calls to tell.
            with contextlib.suppress(RuntimeError):
                self._on_asyncio(self._calls.fail_all, f"the media loop died: {error!r}")

    def _on_asyncio(self, callback: Callable[[str], None], detail: str) -> None:
        if self._asyncio is not None:
            self._asyncio.call_soon_threadsafe(callback, detail)

    def _command(self, kind: Command, call: int = 0, clip: int = 0, at_ns: int = 0) -> None:
        # A plain integer: numba would type a member of an enum anew at every call, which takes longer than the rest.
        if not rings.put_command(self._commands, int(kind), call, clip, at_ns):
            raise GeneratorError("the media loop has stopped taking commands")

    def _on_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event_fd)
        # An event that ends a call or a port must not overtake the datagrams that came before it: only those events are
        # taken that were there before the datagrams. Later ones have rung the bell again.
        count = self._events.waiting()
        self._take_parcels()
        self._take_events(count)

    def _take_events(self, count: int) -> None:
        for kind, call, generation, at_ns, value in self._events.take(count):
            if kind == Event.PORT_REMOVED:
                self._port_removed(value)
                continue
            try:
                self._calls.on_event(kind, call, generation, at_ns, value)
            except Exception:
                _logger.exception(_LISTENER_FAILED)

    def _take_parcels(self) -> None:
        ring = self._parcels
        while count := ring.waiting():
            taken = [
                (row, self._parcel_data[at, : row[_LENGTH]].tobytes(), self._parcel_names[at].tobytes())
                for at, row in zip(ring.indices(count), ring.rows(count), strict=True)
            ]
            ring.release(count)
            for row, data, name in taken:
                self._take_parcel(row, data, name)

    def _take_parcel(self, row: list[int], data: bytes, name: bytes) -> None:
        kind, call, generation, on_port, at_ns, value, _, _ = row
        if kind != Parcel.DATAGRAM:
            self._calls.on_agent_audio(call, generation, data, value, at_ns)
            return
        port = self._ports.get(on_port)
        if port is not None and not port.is_closed:
            try:
                port.on_datagram(data, unpack(name), at_ns)
            except Exception:
                _logger.exception(_LISTENER_FAILED)

    def _close_port(self, index: int) -> None:
        """Take a port out of the loop; its socket is closed when the loop has let go of it."""
        native.epoll_remove(self._epoll_fd, self._ports[index].sock.fileno())
        if self.failure is not None:
            self._port_removed(index)
        else:
            self._command(Command.REMOVE_PORT, index)

    def _port_removed(self, index: int) -> None:
        port = self._ports.pop(index, None)
        if port is not None:
            self._closed_drops += int(self._media.ports[index].drops)
            port.sock.close()
            self._free_ports.append(index)
