"""The one place that reaches into aiortc and aioice: a data channel over our own DTLS, and the addresses ICE uses.

aiortc's SCTP is good and stays: it is given an object that looks like its RTCDtlsTransport. Every name below that
starts with an underscore is private there. The version guard refuses any minor version that this file was not proven
with; tests/harness/media/peer/test_peer_seam.py fails loudly when a name moves.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any

import aioice.ice
from aiortc import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from harness.media.peer.dtls import DtlsSession, State
from harness.model.errors import GeneratorError
from harness.protocols.webrtc_sdp import MAX_MESSAGE_BYTES, SCTP_PORT

PROVEN = {"aiortc": "1.16", "aioice": "0.13"}

_original_host_addresses = aioice.ice.get_host_addresses
_host_addresses: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("host_addresses", default=None)


def _get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    chosen = _host_addresses.get()
    if chosen is None:
        return list(_original_host_addresses(use_ipv4, use_ipv6))
    return [a for a in chosen if (":" in a and use_ipv6) or (":" not in a and use_ipv4)]


def guard_versions() -> None:
    """Refuse to run on versions of aiortc and aioice whose insides this file does not know."""
    for package, proven in PROVEN.items():
        found = version(package)
        if found.split(".")[:2] != proven.split("."):
            raise GeneratorError(
                f"{package} {found} is installed, but callers are proven with {proven}.x only: "
                f"pip install '{package}=={proven}.*'"
            )


def use_host_addresses(addresses: list[str] | None) -> None:
    """Gather aioice's host candidates on these addresses only, for connections begun in this context; None = its own.

    aioice leaves loopback addresses out, so an aiortc connection on 127.0.0.1 needs this.
    """
    aioice.ice.get_host_addresses = _get_host_addresses
    _host_addresses.set(addresses)


class _DtlsTransport:
    """What RTCSctpTransport uses of an RTCDtlsTransport."""

    def __init__(self, dtls: DtlsSession) -> None:
        self._dtls = dtls
        self._role = "server" if dtls.is_server else "client"

    @property
    def state(self) -> str:
        return "connected" if self._dtls.state is State.CONNECTED else "closed"

    def _register_data_receiver(self, receiver: Any) -> None:
        self._dtls.on_data = lambda data: _finish(receiver._handle_data(data))

    def _unregister_data_receiver(self, _receiver: Any) -> None:
        self._dtls.on_data = None

    async def _send_data(self, data: bytes) -> None:
        self._dtls.send(data)


def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for, as SCTP over our DTLS has not, without a task."""
    try:
        work.send(None)
    except StopIteration:
        return
    except ConnectionError:
        # The association was aborted while the session was closing.
        return
    work.close()
    raise GeneratorError("aiortc's SCTP waits for something that this harness does not give it: versions have moved")


class DataChannel:
    """One ordered, reliable channel of text messages; all callbacks on the event loop.

    `label` opens a channel, None awaits the peer's. Raises ConnectionError when the session is already over.
    """

    def __init__(
        self,
        dtls: DtlsSession,
        remote_port: int = SCTP_PORT,
        *,
        label: str | None = "chat",
        on_open: Callable[[], None] | None = None,
        on_message: Callable[[str | bytes], None] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        if dtls.state is not State.CONNECTED:
            raise ConnectionError(f"DTLS is {dtls.state.value}")
        self._on_open, self._on_message, self._on_close = on_open, on_message, on_close
        self._channel: RTCDataChannel | None = None
        shim: Any = _DtlsTransport(dtls)
        self._sctp = RTCSctpTransport(shim, SCTP_PORT)
        self._sctp.on("datachannel", self._attach)
        if label is not None:
            self._attach(RTCDataChannel(self._sctp, RTCDataChannelParameters(label=label, ordered=True)))
        _finish(self._sctp.start(RTCSctpCapabilities(maxMessageSize=MAX_MESSAGE_BYTES), remote_port))

    @property
    def is_open(self) -> bool:
        """Whether `send` works."""
        return self._channel is not None and self._channel.readyState == "open"

    @property
    def buffered_bytes(self) -> int:
        """How much of what was sent waits for the peer."""
        return 0 if self._channel is None else int(self._channel.bufferedAmount)

    def send(self, text: str) -> None:
        """Send one message, on an open channel."""
        if self._channel is not None:
            self._channel.send(text)

    def close(self) -> None:
        """End the association; before the DTLS session is closed."""
        if self._channel is not None:
            self._channel.remove_all_listeners()
        # Whoever listens holds us: without these nothing is left to the collector.
        self._on_open = self._on_message = self._on_close = None
        _finish(self._sctp.stop())

    def _attach(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        if self._on_message is not None:
            channel.on("message", self._on_message)
        if self._on_close is not None:
            channel.on("close", self._on_close)
        if self._on_open is None:
            return
        if channel.readyState == "open":
            asyncio.get_running_loop().call_soon(self._on_open)
        else:
            channel.on("open", self._on_open)
