"""What the media streams of one engine share: the 20 ms clock, the wall clock's place, clips as wires take them."""

import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from harness.callers.media_stream_ear import EarRows
from harness.callers.media_stream_media import StreamMedia
from harness.callers.media_stream_speech import PreparedClips
from harness.callers.media_stream_ticker import StreamTicker
from harness.callers.setup_failure import SetupFailure
from harness.media.stamped_stream import WallClock
from harness.model.histogram import Histogram
from harness.model.records import Cause
from harness.protocols.media_streams.wire import Payload, Wire

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class StreamHostStats:
    """Since the last `take_stats`."""

    # How long after its deadline each 20 ms packet had left.
    lateness_ms: Histogram
    packets_sent: int
    packets_received: int
    # By how much the wall clock left the monotonic one.
    clock_step_ns: int


class StreamHost:
    """One an engine; on the running event loop."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.ticker = StreamTicker()
        self.clock = WallClock(time.time_ns)
        self.ears = EarRows()
        self._prepared: dict[Callable[[bytes], Payload], PreparedClips] = {}
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._streams: dict[StreamMedia, None] = {}
        self._gone = (0, 0)
        self._taken = (0, 0)

    def prepared(self, wire: Wire) -> PreparedClips:
        """Return the clips as `wire` takes them."""
        if wire.prepare not in self._prepared:
            self._prepared[wire.prepare] = PreparedClips(wire.prepare)
        return self._prepared[wire.prepare]

    def tls(self, ca: str | None) -> ssl.SSLContext:
        """Return the context that trusts `ca`, a file of PEM certificates, or the system's. Raises SetupFailure."""
        if ca not in self._contexts:
            try:
                context = ssl.create_default_context(cafile=ca)
            except (OSError, ssl.SSLError) as error:
                detail = f"target.stream.ca: {ca} cannot be used as a file of certificates: {error}"
                raise SetupFailure(Cause.GENERATOR_ERROR, detail) from error
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._contexts[ca] = context
        return self._contexts[ca]

    def add(self, stream: StreamMedia) -> None:
        """Count a stream from now on."""
        self._streams[stream] = None

    def remove(self, stream: StreamMedia) -> None:
        """Let go of a stream that is over; its counts stay."""
        if stream in self._streams:
            del self._streams[stream]
            stats = stream.stats()
            self._gone = (self._gone[0] + stats.packets_sent, self._gone[1] + stats.packets_received)

    def take_stats(self) -> StreamHostStats:
        """Return what was counted and measured since the last call."""
        sent, received = self._gone
        for stream in self._streams:
            stats = stream.stats()
            sent, received = sent + stats.packets_sent, received + stats.packets_received
        before, self._taken = self._taken, (sent, received)
        return StreamHostStats(
            lateness_ms=self.ticker.take_stats().lateness_ms,
            packets_sent=sent - before[0],
            packets_received=received - before[1],
            clock_step_ns=self.clock.take_step_ns(),
        )

    def close(self) -> None:
        """Stop the clock; streams still there are let go of."""
        self.ticker.close()
