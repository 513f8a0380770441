"""One call's data channel: RTVI out, client messages in. Knows the messages, not the transport below."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from harness.model.errors import RemoteProtocolError
from harness.protocols import rtvi

_log = logging.getLogger(__name__)

# Messages kept for a channel that has not opened yet; the oldest goes first.
MAX_QUEUED = 256
# A client that stops reading must not fill our memory.
MAX_BUFFERED_BYTES = 1 << 20
# Three times Pipecat's own patience; and then it is only noted, for media tells better whether a client is there.
PING_SILENCE_S = 10.0


class DataChannel(Protocol):
    """What is used of aiortc's RTCDataChannel."""

    @property
    def readyState(self) -> str:  # noqa: N802 -- W3C's name
        """Tell "connecting", "open", "closing" or "closed"."""

    @property
    def bufferedAmount(self) -> int:  # noqa: N802 -- W3C's name
        """Tell how many bytes wait to be sent."""

    def send(self, data: str) -> None:
        """Queue a text message."""


def library_name() -> str:
    """Return "callquake/<version>"."""
    try:
        return f"callquake/{version('callquake')}"
    except PackageNotFoundError:
        return "callquake"


def _end_nothing() -> None:
    """Take a goodbye that comes late."""


class RtviChannel:
    """RTVI with one client; usable before, while and after its channel is open."""

    def __init__(self, call_id: str, on_disconnect: Callable[[], None]) -> None:
        self._call_id = call_id
        self._on_disconnect = on_disconnect
        self._channel: DataChannel | None = None
        self._queued: deque[str] = deque(maxlen=MAX_QUEUED)
        self._ping_at_ns: int | None = None
        self.dropped = 0

    @property
    def is_drained(self) -> bool:
        """Nothing waits to be sent, or nothing can be."""
        return self._channel is None or self._channel.readyState != "open" or self._channel.bufferedAmount == 0

    def attach(self, channel: DataChannel) -> None:
        """Use `channel`, which is open, and send it what has waited."""
        self._channel = channel
        while self._queued:
            self._transmit(channel, self._queued.popleft())

    def call_ended(self) -> None:
        """Take note that there is nothing left to end: a client's goodbye is heard no more."""
        self._on_disconnect = _end_nothing

    def send(self, message: rtvi.Message) -> None:
        """Send, queue until the channel opens, or drop when the client is gone or does not read."""
        for text in self._texts(message):
            self._put(text)

    def _texts(self, message: rtvi.Message) -> Iterable[str]:
        """Return how this channel's dialect says `message`."""
        return (rtvi.build(message),)

    def _put(self, text: str) -> None:
        if self._channel is None:
            self.dropped += len(self._queued) == MAX_QUEUED
            self._queued.append(text)
        else:
            self._transmit(self._channel, text)

    def _transmit(self, channel: DataChannel, text: str) -> None:
        if channel.readyState != "open" or channel.bufferedAmount > MAX_BUFFERED_BYTES:
            self.dropped += 1
            return
        channel.send(text)

    def receive(self, text: str | bytes) -> None:
        """Act on a client's message; a malformed one is answered with an error and otherwise ignored."""
        try:
            message = rtvi.parse(text)
        except RemoteProtocolError as error:
            self.send(rtvi.ErrorMessage(str(error)))
            return
        match message:
            case rtvi.ClientReady(id_, _, _):
                self.send(rtvi.BotReady(id_, library=library_name()))
            case rtvi.Ping():
                self._ping_at_ns = time.monotonic_ns()
            case rtvi.DisconnectBot():
                self._on_disconnect()
            case _:
                _log.debug("call %s: %s from the client ignored", self._call_id, type(message).__name__)

    def note_ping_silence(self, now_ns: int) -> None:
        """Log once when a client that has been sending pings stopped."""
        if self._ping_at_ns is not None and now_ns - self._ping_at_ns > PING_SILENCE_S * 1e9:
            _log.warning("call %s: no keep-alive ping for %.0f s", self._call_id, PING_SILENCE_S)
            self._ping_at_ns = None
