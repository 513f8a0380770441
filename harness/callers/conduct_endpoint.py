"""The SIP endpoint of an engine's callers: each message goes by the conduct of the call that it is of."""

import asyncio
import re
from collections.abc import Callable

from harness.callers.conduct import Conduct
from harness.model.clock import NS_PER_S
from harness.protocols.sip.events import Event
from harness.protocols.sip.flow import Flow
from harness.protocols.sip.user_agent import UserAgent
from harness.signalling.sip_endpoint import SipEndpoint

_CALL_ID = re.compile(rb"\r\n(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
# A vanished caller's dialog lives on for as long as its last transaction (RFC 3261 17.1.1.2: 64 * T1), and some more.
_FORGET_AFTER_S = 70.0


class ConductEndpoint(SipEndpoint):
    """`mind` a call from before its first message; `forget` it when it is over."""

    def __init__(
        self,
        agent: UserAgent,
        on_event: Callable[[Event], None],
        on_lost: Callable[[Flow, str], None] = lambda _flow, _why: None,
    ) -> None:
        super().__init__(agent, on_event, on_lost)
        # By Call-ID; empty where everybody is proper, and then no message is looked into.
        self._conducts: dict[bytes, Conduct] = {}

    def mind(self, call_id: str, conduct: Conduct) -> None:
        """Have the messages of a call, by its Call-ID, leave as its conduct has them."""
        key = call_id.encode()
        self._conducts[key] = conduct
        conduct.minded.append(key)

    def forget(self, call_id: str) -> None:
        """Let a call's messages leave as they are; those of a vanished caller only when there can be none.

        Those of its earlier INVITEs, too, where it was sent on.
        """
        conduct = self._conducts.get(call_id.encode())
        if conduct is None:
            return
        if conduct.is_gone and not self._is_closed:
            asyncio.get_running_loop().call_later(_FORGET_AFTER_S, self._drop, conduct)
        else:
            self._drop(conduct)

    def _drop(self, conduct: Conduct) -> None:
        for key in conduct.minded:
            self._conducts.pop(key, None)
        conduct.minded.clear()

    def _send(self, flow: Flow, data: bytes) -> None:
        conduct = self._conducts.get(_call_id_of(data)) if self._conducts else None
        if conduct is None:
            super()._send(flow, data)
            return
        left = conduct.outgoing(data, is_datagram=flow.transport == "udp")
        if left is None:
            return
        message, delay_ns = left
        if delay_ns:
            asyncio.get_running_loop().call_later(delay_ns / NS_PER_S, self._send_late, flow, message)
        else:
            super()._send(flow, message)

    def _send_late(self, flow: Flow, message: bytes) -> None:
        if not self._is_closed:
            super()._send(flow, message)


def _call_id_of(message: bytes) -> bytes:
    found = _CALL_ID.search(message)
    return b"" if found is None else found[1].strip()
