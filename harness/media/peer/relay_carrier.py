"""How one TURN client reaches its server over UDP: from a socket of the media loop, which wraps the media itself.

Over TCP and TLS: relay_stream.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.media.loop import MediaLoop
from harness.media.peer.connected import IceError
from harness.media.peer.ice_port import MediaPath, ignore
from harness.media.spec import Address

OnFrame = Callable[[bytes], None]


class RelayError(IceError):
    """A STUN or TURN server gave no candidate; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class BridgeDelay:
    """How long outgoing media took from the media loop to the server's stream."""

    packets: int = 0
    mean_ms: float = 0.0
    max_ms: float = 0.0
    # Packets that the stream was too slow to take, or the bridge's or the media loop's socket too full.
    dropped: int = 0


class Carrier(Protocol):
    """Frames to and from a server; a frame is one STUN message or one ChannelData, without padding."""

    is_reliable: bool

    @property
    def bridge_delay(self) -> BridgeDelay | None:
        """What a bridge of ours adds; None where the media loop itself sends to the server."""

    def begin(self, on_frame: OnFrame, on_closed: Callable[[str], None]) -> None:
        """Tell of frames from now on, and once of the connection's end by the server's doing."""

    def send(self, frame: bytes) -> None:
        """Send one frame."""

    def path(self, channel: int) -> MediaPath:
        """Return the media's way through a channel."""

    def close(self) -> None:
        """Let go of all sockets; any number of times."""


class UdpCarrier:
    """A socket of its own: to the server, an allocation is a pair of addresses."""

    is_reliable = False
    bridge_delay = None

    def __init__(self, media_loop: MediaLoop, host: str, server: Address) -> None:
        self._server = server
        self._on_frame: OnFrame | None = None
        self._media = media_loop.open_port(host, self._arrived)

    def begin(self, on_frame: OnFrame, _on_closed: Callable[[str], None]) -> None:
        """Tell of frames from now on."""
        self._on_frame = on_frame

    def send(self, frame: bytes) -> None:
        """Send one frame; what the kernel refuses is lost, as on any network."""
        self._media.send(frame, self._server)

    def path(self, channel: int) -> MediaPath:
        """Return the media's way: the loop puts the channel's header before each packet."""
        return MediaPath(self._media, self._server, channel)

    def close(self) -> None:
        """Close the socket."""
        self._on_frame = None
        self._media.close()
        self._media.on_datagram = ignore

    def _arrived(self, data: bytes, source: Address, _at_ns: int) -> None:
        if source == self._server and self._on_frame is not None:
            self._on_frame(data)
