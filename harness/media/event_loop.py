"""asyncio's own event loop, whose closed connections are gone at once.

asyncio's transport keeps a method of its own, and lives on in that circle when it is closed. In a process that serves
calls the collector comes by after hundreds of them, of one or two connections each. Not so under TLS: asyncio makes the
transport below it by itself, which holds nothing of the call any more.
"""

import asyncio
from asyncio import selector_events
from typing import Any

# Private in asyncio: a test notices if it moves.
_OfAsyncio: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]  # noqa: SLF001


def _nothing() -> None:
    """Read no more."""


class _Transport(_OfAsyncio):  # type: ignore[misc]
    def _call_connection_lost(self, error: Exception | None) -> None:
        super()._call_connection_lost(error)
        self._read_ready_cb = _nothing


class ClosingLoop(asyncio.SelectorEventLoop):
    """For `asyncio.Runner(loop_factory=ClosingLoop)`."""

    def _make_socket_transport(self, sock: Any, protocol: Any, waiter: Any = None, **said: Any) -> Any:
        return _Transport(self, sock, protocol, waiter, **said)
