"""What an agent tells of a call over a WebSocket that it named: RTVI messages, as over a data channel.

It stands beside the call: that it cannot be had, or is lost, never ends one; what it would have told is not measured.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from harness.callers.exchange import CallEvent
from harness.callers.side_channel import RtviChannel
from harness.model.errors import RemoteProtocolError

# The header of an answer that names the address, as HTTP and SIP write it in any case.
EVENTS_HEADER = "x-callquake-events"
_logger = logging.getLogger(__name__)
_CONNECT_S = 5.0
_LARGEST_MESSAGE = 1 << 20


class EventSocket:
    """One call's: `follow` an address, once; `aclose` at the end."""

    def __init__(self, http: aiohttp.ClientSession, post: Callable[[CallEvent], None]) -> None:
        self._http = http
        self._post = post
        self._task: asyncio.Task[None] | None = None

    def follow(self, url: str | None) -> None:
        """Listen at `url`, a ws:// or wss:// address; a second one is ignored, and so is none."""
        if url is not None and self._task is None and _is_web_socket(url):
            self._task = asyncio.create_task(_listen(self._http, url, self._post))

    async def aclose(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _is_web_socket(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("ws", "wss")
    except ValueError:
        # An open bracket, say.
        return False


async def _listen(http: aiohttp.ClientSession, url: str, post: Callable[[CallEvent], None]) -> None:
    channel = RtviChannel()
    timeout = aiohttp.ClientWSTimeout(ws_close=1.0)
    with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, TimeoutError):
        async with asyncio.timeout(_CONNECT_S):
            socket = await http.ws_connect(url, timeout=timeout, max_msg_size=_LARGEST_MESSAGE)
        async with socket:
            for text in channel.hello():
                await socket.send_str(text)
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    _tell(channel, message.data, post)


def _tell(channel: RtviChannel, text: str, post: Callable[[CallEvent], None]) -> None:
    try:
        events = channel.read(text)
    except RemoteProtocolError as error:
        _logger.warning("the agent's event socket: %s", error)
        return
    for event in events:
        post(event)
