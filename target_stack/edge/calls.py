"""The WebRTC calls of the edge: who is let in, which offer belongs to which call, and that all are released."""

import asyncio
import secrets
from typing import Protocol

from harness.model.errors import CallquakeError
from harness.protocols.small_webrtc import Answer, Candidate, Candidates, Offer
from target_stack.edge.agent_call import CallLimits, EndReason
from target_stack.edge.call_facts import facts_from_parameters
from target_stack.edge.call_names import CALL_NAME, CallNames
from target_stack.edge.counts import EdgeCounts
from target_stack.edge.rtvi_channel import RtviChannel
from target_stack.edge.webrtc import WebRtcCall
from target_stack.frames import CallFacts, SessionFactory

MAX_CALLS = 16


class RequestRefusedError(CallquakeError):
    """A well-formed request that cannot be served; `status` is the HTTP status for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PeerCall(Protocol):
    """One WebRTC call, whatever it is made of. `answer` once, then `run` until it is over."""

    call_id: str
    pc_id: str

    async def answer(self, sdp: str, local_host: str) -> str:
        """Return the answer to an offer that came in on our address `local_host`; RemoteProtocolError."""

    async def add_candidate(self, candidate: Candidate) -> None:
        """Take a late candidate; RemoteProtocolError when it cannot be read."""

    def hang_up(self, reason: EndReason = EndReason.HUNG_UP) -> None:
        """End the call."""

    async def run(self) -> EndReason:
        """Serve the call to its end and release everything; return why it ended."""


class NewCall(Protocol):
    """Makes a call that has no offer yet."""

    def __call__(
        self,
        call_id: str,
        pc_id: str,
        sessions: SessionFactory,
        limits: CallLimits,
        channel: type[RtviChannel],
        facts: CallFacts,
        /,
    ) -> PeerCall:
        """Return it."""


class Calls:
    """Every call from its accepted offer to its release."""

    def __init__(
        self,
        sessions: SessionFactory,
        counts: EdgeCounts,
        names: CallNames,
        max_calls: int,
        limits: CallLimits,
        *,
        prefix: str = "",
        new_call: NewCall = WebRtcCall,
    ) -> None:
        self._sessions = sessions
        self._counts = counts
        self._names = names
        self._max_calls = max_calls
        self._limits = limits
        # In every pc_id, behind our name.
        self._prefix = prefix
        self._new_call = new_call
        self._calls: dict[str, PeerCall] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_closing = False

    async def answer(self, offer: Offer, local_host: str, channel: type[RtviChannel] = RtviChannel) -> Answer:
        """Answer an offer that came in on our address `local_host`.

        Raises RequestRefusedError (full, unknown pc_id, renegotiation, bad call_id) and RemoteProtocolError (bad SDP).
        """
        name = _call_id(offer)
        if offer.pc_id is not None:
            await self._make_way(offer)
        self._admit()
        call_id = self._names.take(name)
        facts = facts_from_parameters(offer.request_data)
        pc_id = f"callquake-{self._prefix}{secrets.token_hex(8)}"
        call = self._new_call(call_id, pc_id, self._sessions, self._limits, channel, facts)
        # Taken before the first await: two offers at once must not share the last place.
        self._calls[call.pc_id] = call
        self._counts.active_calls = len(self._calls)
        try:
            sdp = await call.answer(offer.sdp, local_host)
        except BaseException:
            self._forget(call)
            raise
        self._tasks[call.pc_id] = asyncio.create_task(self._serve(call), name=f"call {call_id}")
        return Answer(sdp, call.pc_id)

    async def add_candidates(self, late: Candidates) -> None:
        """Give late candidates to their call; RequestRefusedError 404 for an unknown one."""
        call = self._calls.get(late.pc_id)
        if call is None:
            raise RequestRefusedError(404, f"pc_id {late.pc_id[:64]!r} is no call here: it ended or never was")
        for candidate in late.candidates:
            await call.add_candidate(candidate)

    def hang_up(self, call_id: str, reason: EndReason = EndReason.HUNG_UP) -> bool:
        """End the call named `call_id`; tell whether there was one."""
        call = next((c for c in self._calls.values() if c.call_id == call_id), None)
        if call is not None:
            call.hang_up(reason)
        return call is not None

    def __contains__(self, pc_id: object) -> bool:
        """Tell whether a call is active, by its pc_id."""
        return pc_id in self._calls

    def end(self, pc_id: str, reason: EndReason) -> None:
        """End the call, if it is active."""
        if pc_id in self._calls:
            self._calls[pc_id].hang_up(reason)

    async def aclose(self) -> None:
        """Refuse new calls, hang up the others and wait until all is released."""
        self._is_closing = True
        while self._calls:
            for call in self._calls.values():
                call.hang_up(EndReason.SHUTDOWN)
            # A call whose offer is being answered has no task yet.
            await (asyncio.wait(self._tasks.values()) if self._tasks else asyncio.sleep(0.01))

    async def _make_way(self, offer: Offer) -> None:
        """Let a restarted client replace its call; any other use of a pc_id is refused."""
        call = self._calls.get(offer.pc_id or "")
        if offer.restart_pc:
            if call is not None and call.pc_id in self._tasks:
                call.hang_up(EndReason.REPLACED)
                await asyncio.wait({self._tasks[call.pc_id]})
        elif call is None:
            raise RequestRefusedError(404, "offer.pc_id is no call here: it ended or never was")
        else:
            raise RequestRefusedError(
                409, "offer.pc_id: renegotiation is not supported; send restart_pc true or an offer without pc_id"
            )

    def _admit(self) -> None:
        if self._is_closing:
            raise RequestRefusedError(503, "the agent is shutting down")
        if len(self._calls) >= self._max_calls:
            raise RequestRefusedError(503, f"{len(self._calls)} calls are active, which is the limit")

    async def _serve(self, call: PeerCall) -> None:
        try:
            reason = await call.run()
            self._counts.calls_ended[reason.value] += 1
        finally:
            self._forget(call)

    def _forget(self, call: PeerCall) -> None:
        self._calls.pop(call.pc_id, None)
        self._names.release(call.call_id)
        self._tasks.pop(call.pc_id, None)
        self._counts.active_calls = len(self._calls)


def _call_id(offer: Offer) -> str | None:
    """Return the caller's own id for this call, by which its records and ours are joined; None for none."""
    call_id = offer.request_data.get("call_id")
    if call_id is None:
        return None
    if not isinstance(call_id, str) or CALL_NAME.fullmatch(call_id) is None:
        raise RequestRefusedError(400, "requestData.call_id must be 1 to 64 characters of A-Z a-z 0-9 _ -")
    return call_id
