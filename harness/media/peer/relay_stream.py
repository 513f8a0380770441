"""How one TURN client reaches its server over TCP or TLS, and how the media gets from the loop to that stream and back.

    media loop --(UDP, 127.0.0.1)--> bridge --> TLS --> TCP --> server        each packet's way is timed
    server --> TCP, stamped by the kernel --> TLS --> bridge --(with that stamp)--> media loop

So what the agent says is timed as over UDP: by when the kernel had it. What the caller says leaves a little after the
media loop has stamped it; `bridge_delay` says by how much, and a call's record has it. A stream has no datagrams:
packets that are read together have the time of the last of them.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable

from harness.media import kernel_time
from harness.media.hot.relayed import STAMPED_OFFSET
from harness.media.loop import MediaLoop
from harness.media.peer.ice_port import MediaPath, ignore
from harness.media.peer.relay_carrier import BridgeDelay, OnFrame, RelayError
from harness.media.spec import Address
from harness.media.stamped_stream import CONTROL_BYTES, READ_BYTES, TlsPipe, WallClock, drops_of
from harness.model.errors import RemoteProtocolError
from harness.protocols.turn_messages import StreamFramer, is_channel_data, padded, read_channel_data

# Media that waits longer than this many bytes take to leave is of no use to anybody.
_MOST_UNSENT = 256 << 10
_MOST_READS = 32
_STAMPED = struct.Struct("!HHq")
# No media, no ChannelData.
_ALIVE = b"\0"


async def connect(server: Address, tls: TlsPipe | None) -> socket.socket:
    """Return a connected socket, after the handshake where there is one; raises OSError, ssl.SSLError."""
    sock = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, server)
        if tls is not None:
            await tls.shake_hands(sock)
        sock.setsockopt(socket.SOL_SOCKET, kernel_time.SO_TIMESTAMPNS, 1)
    except BaseException:
        sock.close()
        raise
    return sock


class StreamCarrier:
    """A connection of one call to its server, and the bridge from the media loop to it."""

    is_reliable = True

    def __init__(self, media_loop: MediaLoop, sock: socket.socket, tls: TlsPipe | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._tls = tls
        self._clock = WallClock(time.time_ns)
        self._framer = StreamFramer()
        self._on_frame: OnFrame | None = None
        self._on_closed: Callable[[str], None] = ignore_reason
        self._unsent = bytearray()
        self._is_closed = False
        # What the kernel says of the bridge's socket, since it was opened.
        self._kernel_dropped = 0
        self._packets = self._dropped = self._sum_ns = self._max_ns = 0
        self._media = media_loop.open_port("127.0.0.1", ignore)
        self._bridge = _bridge_socket(self._media.address)

    @property
    def bridge_delay(self) -> BridgeDelay | None:
        """What the bridge has added so far."""
        mean_ns = self._sum_ns / self._packets if self._packets else 0.0
        return BridgeDelay(self._packets, mean_ns / 1e6, self._max_ns / 1e6, self._dropped + self._kernel_dropped)

    def begin(self, on_frame: OnFrame, on_closed: Callable[[str], None]) -> None:
        """Tell of frames from now on, and once of the connection's end by the server's doing."""
        self._on_frame, self._on_closed = on_frame, on_closed
        self._loop.add_reader(self._sock, self._readable)
        self._loop.add_reader(self._bridge, self._media_leaves)

    def send(self, frame: bytes) -> None:
        """Send one frame; waits its turn when the stream is full."""
        if self._is_closed:
            return
        data = padded(frame)
        try:
            self._unsent += data if self._tls is None else self._tls.seal(data)
        except ssl.SSLError as error:
            self._end(f"broke TLS: {error.reason or error}")
            return
        self._write()

    def path(self, channel: int) -> MediaPath:
        """Return the media's way: over the bridge."""
        name = self._bridge.getsockname()
        return MediaPath(self._media, (name[0], name[1]), channel, is_bridged=True)

    def close(self) -> None:
        """Close connection and bridge; any number of times."""
        if self._is_closed:
            return
        self._is_closed = True
        for sock in (self._sock, self._bridge):
            self._loop.remove_reader(sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._bridge.close()
        self._media.close()
        self._on_frame, self._on_closed = None, ignore_reason

    # --- to the server -----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._end(f"cannot be written to: {error.strerror or error}")
            return
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._sock, self._write)
        else:
            self._loop.remove_writer(self._sock)

    def _media_leaves(self) -> None:
        """Carry what the media loop has sent; it has put the channel's header before each packet."""
        for _ in range(_MOST_READS):
            try:
                frame, control, _flags, _source = self._bridge.recvmsg(2048, CONTROL_BYTES)
            except OSError:
                # Nothing left; or an ICMP error, of a media loop that has closed its port.
                return
            self._kernel_dropped = drops_of(control) or self._kernel_dropped
            if len(self._unsent) > _MOST_UNSENT:
                self._dropped += 1
                continue
            came_ns = self._clock.arrival(control)
            self.send(frame)
            if self._is_closed:
                return
            took_ns = time.monotonic_ns() - came_ns
            self._packets += 1
            self._sum_ns += took_ns
            self._max_ns = max(self._max_ns, took_ns)

    # --- from the server ---------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data, control, _flags, _source = self._sock.recvmsg(READ_BYTES, CONTROL_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(f"broke the connection: {error.strerror or error}")
            return
        if not data:
            self._end("closed the connection")
            return
        at_ns = self._clock.arrival(control)
        try:
            for frame in self._framer.feed(data if self._tls is None else self._tls.open(data)[0]):
                self._take(frame, at_ns)
        except ssl.SSLError as error:
            self._end(f"broke TLS: {error.reason or error}")
        except RemoteProtocolError as error:
            self._end(f"broke its protocol: {error}")

    def _take(self, frame: bytes, at_ns: int) -> None:
        if is_channel_data(frame) and len(frame) > 4 and 128 <= frame[4] < 192:
            channel, packet = read_channel_data(frame)
            try:
                self._bridge.send(_STAMPED.pack(channel + STAMPED_OFFSET, len(packet), at_ns) + packet)
            except OSError:
                self._dropped += 1
            return
        if is_channel_data(frame):
            # A check or a handshake of the peer's: over UDP the loop sees it, too, and knows that somebody is there.
            with contextlib.suppress(OSError):
                self._bridge.send(_ALIVE)
        if self._on_frame is not None:
            self._on_frame(frame)

    def _end(self, reason: str) -> None:
        on_closed = self._on_closed
        self.close()
        on_closed(reason)


def _bridge_socket(media: Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    kernel_time.enable(sock)
    sock.bind(("127.0.0.1", 0))
    sock.connect(media)
    return sock


def ignore_reason(_reason: str) -> None:
    """Stand in for who need not know that a connection has ended."""


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return what checks a server's certificate: by this file's CAs alone, by the system's without one."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise RelayError(f"the file of CAs {ca_file} cannot be used: {error.strerror or error}") from error


def explain(error: OSError) -> str:
    """Say why there is no connection; follows the server's name in a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that is not trusted: {error.verify_message} "
            "(ice.tls_ca names a file of CAs to trust; the certificate must be for the host that the URL names)"
        )
    if isinstance(error, ssl.SSLError):
        return f"does not speak TLS as we do: {error.reason or error}"
    # asyncio's own text names the call that failed, not why.
    return f"cannot be connected to: {os.strerror(error.errno) if error.errno else error}"
