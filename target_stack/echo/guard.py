"""Between an edge and a session: the caller's audio goes by the echo detector, and so does what the agent says.

What is muted reaches the session as silence of its length: it neither interrupts the agent nor begins a turn, nor
prolongs one.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from harness.model.clock import monotonic_ns
from target_stack.echo.detector import Change, EchoDetector
from target_stack.frames import AgentSession, Pcm
from target_stack.telemetry.events import EchoFound, EchoLost
from target_stack.telemetry.record import Telemetry


@runtime_checkable
class Overheard(Protocol):
    """An edge that tells what it sends."""

    def overhear(self, on_speech: Callable[[Pcm, int], None]) -> None:
        """Call `on_speech` with each frame of speech as it leaves, int16 mono at SPEECH_RATE, and the time."""


class EchoGuard:
    """`AgentSession` that keeps the agent's own voice from the one behind it."""

    def __init__(self, call_id: str, inner: AgentSession, edge: Overheard, telemetry: Telemetry) -> None:
        self._call_id = call_id
        self._inner = inner
        self._telemetry = telemetry
        self._detector = EchoDetector()
        edge.overhear(self._detector.sent)

    async def start(self) -> None:
        """Begin: the greeting is queued."""
        await self._inner.start()

    def push_audio(self, samples: Pcm, arrived_at_ns: int) -> None:
        """Take the caller's next samples; the session gets silence for what is echo."""
        before_ms = self._detector.muted_ms
        cleaned, change = self._detector.hear(samples, arrived_at_ns)
        self._telemetry.stats.echo_muted_ms += self._detector.muted_ms - before_ms
        if change is not None:
            self._tell(change)
        self._inner.push_audio(cleaned, arrived_at_ns)

    def _tell(self, change: Change) -> None:
        path = self._detector.path
        if path is not None:
            self._telemetry.echo_found(
                EchoFound(self._call_id, monotonic_ns(), path.delay_ms, path.gain_db, path.strength)
            )
        elif change is Change.LOST:
            self._telemetry.echo_lost(EchoLost(self._call_id, monotonic_ns(), self._detector.muted_ms))

    def push_digit(self, digit: str, duration_ms: float, at_ns: int) -> None:
        """Pass a key on."""
        self._inner.push_digit(digit, duration_ms, at_ns)

    def playout_started(self, turn: int, at_ns: int) -> None:
        """Pass on that `turn` is audible."""
        self._inner.playout_started(turn, at_ns)

    def playout_drained(self, turn: int, at_ns: int) -> None:
        """Pass on that nothing is left of `turn`."""
        self._inner.playout_drained(turn, at_ns)

    async def aclose(self) -> None:
        """Close the session; count a call that had an echo to its end."""
        if self._detector.path is not None:
            self._telemetry.echo_lost(EchoLost(self._call_id, monotonic_ns(), self._detector.muted_ms))
        await self._inner.aclose()
