"""Calls without audio: what they offer instead of any, and the conversation that is none.

RFC 3264 has a=inactive for a session without media in either direction; port 9 is the discard service's, and no port of
ours is opened. An agent that sends audio all the same sends it nowhere.
"""

from functools import lru_cache

from harness.callers.exchange import Action, CallEvent, Disconnected, HangUp, MediaView
from harness.media.events import MediaFailed
from harness.model.clock import NS_PER_MS
from harness.model.plan import CallPlan
from harness.model.records import Cause, Outcome
from harness.protocols.audio_sdp import STATIC_FORMATS
from harness.protocols.audio_session import AudioSession, Ours
from harness.protocols.sdes import Suite

_DISCARD_PORT = 9
_INACTIVE = "inactive"
_FORMATS = tuple(STATIC_FORMATS.values())


def _no_key(suite: Suite) -> bytes:
    return bytes(suite.material_bytes)


def _session(local: str) -> AudioSession:
    return AudioSession(
        Ours(host=local, port=_DISCARD_PORT, formats=_FORMATS, new_material=_no_key, events=False, session_id=1)
    )


@lru_cache(maxsize=64)
def silent_offer(local: str) -> bytes:
    """Return the offer of a call without audio from the local address `local`."""
    return _session(local).offer(_INACTIVE).encode()


def silent_answer(body: bytes, local: str) -> bytes:
    """Answer an offer of the agent's; b"" asks for ours. Raises RemoteProtocolError where it is no SDP with audio."""
    if not body:
        return silent_offer(local)
    return _session(local).answer(body.decode(errors="replace"), _INACTIVE)[0].encode()


class Silence:
    """The conversation of a call without audio: it lasts as long as the scenario says, and is then hung up."""

    def __init__(self, plan: CallPlan) -> None:
        self._hold_ms = 0.0 if plan.target.sip is None else plan.target.sip.hold_ms
        self._is_over = False
        self.deadline_ns: int | None = None
        self.greeting_ms: float | None = None
        self.turns_answered = 0
        self.codec = ""

    def start(self, now_ns: int) -> list[Action]:
        """Begin when the call is answered."""
        self.deadline_ns = now_ns + int(self._hold_ms * NS_PER_MS)
        return []

    def handle(self, event: CallEvent, now_ns: int, _media: object = MediaView) -> list[Action]:
        """Take one event: only the end matters."""
        match event:
            case Disconnected():
                return self.interrupt(now_ns, Outcome.DROPPED, event.cause, event.detail)
            case MediaFailed():
                return self.interrupt(now_ns, Outcome.LOST, Cause.GENERATOR_ERROR, event.detail)
            case _:
                return []

    def expire(self, now_ns: int) -> list[Action]:
        """Hang up when the time is over."""
        if self.deadline_ns is None or now_ns < self.deadline_ns:
            return []
        return self.interrupt(now_ns, Outcome.COMPLETED, Cause.NONE, "")

    def interrupt(self, _now_ns: int, outcome: Outcome, cause: Cause, detail: str) -> list[Action]:
        """End the call."""
        if self._is_over:
            return []
        self._is_over = True
        self.deadline_ns = None
        return [HangUp(outcome, cause, detail)]
