"""What the agent tells about a call whose transport has no data channel: RTVI over a WebSocket, `/calls/TOKEN/events`.

The call's own signalling names the address in the header X-Callquake-Events (SIP: of the 200; media streams: of the
WebSocket handshake's answer). Its token is not to be
guessed, for transcripts go over it. Each text message is one RTVI message; what was told before the client came is kept
and sent first, as on a data channel. A second client takes the first one's place.
"""

import asyncio
import contextlib
import secrets

from aiohttp import WSMsgType, web

from target_stack.edge.rtvi_channel import RtviChannel

EVENTS_HEADER = "X-Callquake-Events"
_CLOSING_S = 2.0
_LARGEST_MESSAGE = 64 * 1024


class EventStreams:
    """The channels of all calls, by token. `name`: stands before each token, for a front to tell whose it is."""

    def __init__(self, name: str = "") -> None:
        self._prefix = f"{name}." if name else ""
        self._channels: dict[str, RtviChannel] = {}
        self._clients: dict[str, _WebSocketChannel] = {}
        # Of calls that have an address but no channel yet: done when they have, or never will.
        self._promised: dict[str, asyncio.Future[None]] = {}

    def promise(self) -> str:
        """Return the path of a stream whose channel is still to come: clients wait for `attach` or `close`."""
        token = self._prefix + secrets.token_urlsafe(18)
        self._promised[token] = asyncio.get_running_loop().create_future()
        return f"/calls/{token}/events"

    def attach(self, path: str, channel: RtviChannel) -> None:
        """Let a client fetch at `path`, as promised, what `channel` tells."""
        token = path.split("/")[2]
        self._channels[token] = channel
        self._promised.pop(token).set_result(None)

    def open(self, channel: RtviChannel) -> str:
        """Let a client fetch what `channel` tells; return the path of its WebSocket."""
        path = self.promise()
        self.attach(path, channel)
        return path

    def close(self, path: str) -> None:
        """End the stream; what waits is still sent."""
        token = path.split("/")[2]
        self._channels.pop(token, None)
        promised = self._promised.pop(token, None)
        if promised is not None:
            promised.set_result(None)
        client = self._clients.pop(token, None)
        if client is not None:
            client.finish()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until the call or the client ends."""
        token = request.match_info["token"]
        promised = self._promised.get(token)
        if promised is not None:
            await asyncio.wait({promised})
        channel = self._channels.get(token)
        if channel is None:
            raise web.HTTPNotFound
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=_LARGEST_MESSAGE)
        await socket.prepare(request)
        client = _WebSocketChannel(socket)
        before = self._clients.get(token)
        if before is not None:
            before.finish()
        if token not in self._channels:
            await socket.close()
            return socket
        self._clients[token] = client
        channel.attach(client)
        sending = asyncio.create_task(client.run(), name="call events")
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    channel.receive(message.data)
        finally:
            client.finish()
            if self._clients.get(token) is client:
                del self._clients[token]
            # The writer may wait for a peer that does not read.
            await asyncio.wait({sending}, timeout=_CLOSING_S)
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
        return socket


class _WebSocketChannel:
    """A WebSocket with the face of a data channel: messages are queued, one task writes them."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._waiting_bytes = 0
        self._is_open = True

    @property
    def readyState(self) -> str:  # noqa: N802 -- W3C's name
        """Tell "open" or "closed"."""
        return "open" if self._is_open else "closed"

    @property
    def bufferedAmount(self) -> int:  # noqa: N802 -- W3C's name
        """Tell how many characters wait to be sent."""
        return self._waiting_bytes

    def send(self, data: str) -> None:
        """Queue a text message."""
        self._waiting_bytes += len(data)
        self._queue.put_nowait(data)

    def finish(self) -> None:
        """Close behind what is queued."""
        if self._is_open:
            self._is_open = False
            self._queue.put_nowait(None)

    async def run(self) -> None:
        """Write until `finish`; a client that has gone ends it quietly."""
        with contextlib.suppress(ConnectionError):
            while (text := await self._queue.get()) is not None:
                await self._socket.send_str(text)
                self._waiting_bytes -= len(text)
            await self._socket.close()
        self._is_open = False
