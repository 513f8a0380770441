"""One call behind any transport: its session, the agent's voice, what is told to the client, and when it is over.

    connected() ─► session.start() ─► hear(), playout ─► hang_up(reason) ─► released
        │ not within 30 s                  │ no media for 15 s, peer gone, session failed
        └──────────────────────────────────┴─► hang_up(reason)

A transport owns one and runs it: it tells what arrived (`connected`, `note_media`, `hear`), asks `playout` for a frame
every 20 ms and tells when it left (`announce`). One task per call (`run`) owns every other; it alone releases anything.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.protocols import rtvi
from target_stack.edge.playout import Frame, Playout
from target_stack.edge.rtvi_channel import RtviChannel
from target_stack.edge.rtvi_events import messages_for
from target_stack.frames import AgentEvent, AgentSession, CallFacts, Pcm, SessionFactory, SpeechOut, StageFailed
from target_stack.wall_clock import CLOCK

_log = logging.getLogger(__name__)


class EndReason(StrEnum):
    """Why a call ended."""

    PEER_LEFT = "peer_left"
    CLIENT_DISCONNECTED = "client_disconnected"
    CONNECT_TIMEOUT = "connect_timeout"
    MEDIA_LOST = "media_lost"
    STAGE_FAILED = "stage_failed"
    REPLACED = "replaced"
    SHUTDOWN = "shutdown"
    HUNG_UP = "hung_up"
    EDGE_FAILED = "edge_failed"
    CONSENT_MISSING = "consent_missing"
    # Of telephone calls.
    REFUSED = "refused"
    CANCELLED = "cancelled"
    NO_ACK = "no_ack"
    SESSION_EXPIRED = "session_expired"
    SIGNALLING_LOST = "signalling_lost"


# Ends of which the peer does not know yet.
_OURS = frozenset(
    {
        EndReason.STAGE_FAILED,
        EndReason.SHUTDOWN,
        EndReason.HUNG_UP,
        EndReason.EDGE_FAILED,
        EndReason.CONSENT_MISSING,
    }
)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How long a call waits for its peer."""

    connect_s: float = 30.0
    media_silence_s: float = 15.0


class AgentCall:
    """The session's EdgeSink on one side, a transport's counterpart on the other."""

    def __init__(
        self,
        call_id: str,
        sessions: SessionFactory,
        limits: CallLimits,
        channel: type[RtviChannel] = RtviChannel,
        facts: CallFacts = CallFacts(),  # noqa: B008 -- frozen
    ) -> None:
        self.call_id = call_id
        self.facts = facts
        self.playout = Playout()
        self.channel = channel(call_id, lambda: self.hang_up(EndReason.CLIENT_DISCONNECTED))
        # False while the peer is not supposed to send (hold): its silence then ends nothing.
        self.expects_media = True
        # Set once nothing is left of the greeting, or there is none.
        self.greeted = asyncio.Event()
        self._sessions = sessions
        self._limits = limits
        self._session: AgentSession | None = None
        self._is_fed = False
        self._heard_at_ns = 0
        loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[EndReason] = loop.create_future()

    # What the transport tells.

    def connected(self) -> None:
        """Take note that media can flow: the session may begin."""
        if not self._connected.done():
            self._connected.set_result(None)

    def note_media(self, at_ns: int) -> None:
        """Take note that a packet of the caller's arrived, whatever was in it."""
        self._heard_at_ns = at_ns

    @property
    def listening(self) -> AgentSession | None:
        """The session once it has started; what came before is not kept: late audio would look like a slow caller."""
        return self._session if self._is_fed else None

    def hear(self, samples: Pcm, at_ns: int) -> None:
        """Give the caller's next samples, int16 mono at INPUT_RATE, to the session."""
        if self._is_fed and self._session is not None and len(samples):
            self._session.push_audio(samples, at_ns)

    def press(self, digit: str, duration_ms: float) -> None:
        """Give a key the caller pressed to the session."""
        if self._is_fed and self._session is not None:
            self._session.push_digit(digit, duration_ms, time.monotonic_ns())

    def announce(self, frame: Frame, at_ns: int) -> None:
        """Take note that `frame` of the playout was handed to the network at `at_ns`."""
        if frame.started is not None:
            self.playout_started(frame.started, at_ns)
        for turn in frame.drained:
            self.playout_drained(turn, at_ns)

    def playout_started(self, turn: int, at_ns: int) -> None:
        """Tell client and session that the first audible packet of `turn` left."""
        self.channel.send(rtvi.BotStartedSpeaking())
        if self._session is not None:
            self._session.playout_started(turn, at_ns)

    def playout_drained(self, turn: int, at_ns: int) -> None:
        """Tell client and session that nothing is left of `turn`."""
        self.greeted.set()
        self.channel.send(rtvi.BotStoppedSpeaking())
        if self._session is not None:
            self._session.playout_drained(turn, at_ns)

    def hang_up(self, reason: EndReason = EndReason.HUNG_UP) -> None:
        """End the call; `run` returns when everything is released."""
        if not self._ended.done():
            self._ended.set_result(reason)

    # The call's life.

    async def run(self, release: Callable[[EndReason], Awaitable[None]]) -> EndReason:
        """Serve the call to its end, then `release` the transport and the session; return why it ended."""
        reason = EndReason.EDGE_FAILED
        try:
            reason = await self._serve()
        except Exception:  # noqa: BLE001 -- whatever failed, the call's sockets and tasks must go
            _log.exception("call %s: the edge failed", self.call_id)
        finally:
            await self._release(reason, release)
        _log.info("call %s ended: %s", self.call_id, reason)
        return reason

    async def _serve(self) -> EndReason:
        first_step: set[asyncio.Future[Any]] = {self._connected, self._ended}
        await asyncio.wait(first_step, timeout=self._limits.connect_s, return_when=asyncio.FIRST_COMPLETED)
        if self._ended.done():
            return self._ended.result()
        if not self._connected.done():
            return EndReason.CONNECT_TIMEOUT
        self._heard_at_ns = time.monotonic_ns()
        starting = asyncio.create_task(self._start())
        watching = asyncio.create_task(self._watch())
        enders: list[asyncio.Future[EndReason]] = [self._ended, watching]
        either: list[asyncio.Future[Any]] = [starting, *enders]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await asyncio.wait(enders, return_when=asyncio.FIRST_COMPLETED)
            return next(f for f in enders if f.done()).result()
        finally:
            starting.cancel()
            watching.cancel()
            await asyncio.gather(starting, watching, return_exceptions=True)

    async def _start(self) -> None:
        self._session = self._sessions(self.call_id, self)
        await self._session.start()
        self._is_fed = True
        if self.playout.is_idle:
            self.greeted.set()

    async def _watch(self) -> EndReason:
        limit_ns = self._limits.media_silence_s * 1e9
        while True:
            await asyncio.sleep(min(1.0, self._limits.media_silence_s / 4))
            now_ns = time.monotonic_ns()
            self.channel.note_ping_silence(now_ns)
            if not self.expects_media:
                self._heard_at_ns = now_ns
            if now_ns - self._heard_at_ns > limit_ns:
                return EndReason.MEDIA_LOST

    async def _release(self, reason: EndReason, release: Callable[[EndReason], Awaitable[None]]) -> None:
        if reason in _OURS and self._connected.done():
            await self._say_goodbye()
        await release(reason)
        if self._session is not None:
            try:
                await self._session.aclose()
            except Exception:  # noqa: BLE001 -- a pipeline's fault must not stop the edge
                _log.exception("call %s: the session did not close", self.call_id)
        # It holds us: the collector, which would free both, comes by after hundreds of calls.
        self._session, self.playout.on_speech = None, None
        self.channel.call_ended()

    async def _say_goodbye(self) -> None:
        self.channel.send(rtvi.PeerLeft())
        for _ in range(10):
            await asyncio.sleep(0.02)
            if self.channel.is_drained:
                return

    # EdgeSink: what the session calls.

    def play(self, speech: SpeechOut) -> None:
        """Queue speech for playout behind what is already queued."""
        self.playout.play(speech)

    def flush(self) -> float:
        """Drop all speech not yet sent; return how many seconds of the current turn had been played."""
        was_speaking = self.playout.speaking_turn is not None
        played_s = self.playout.flush()
        self.greeted.set()
        if was_speaking:
            self.channel.send(rtvi.BotStoppedSpeaking())
        return played_s

    def overhear(self, on_speech: Callable[[Pcm, int], None]) -> None:
        """Call `on_speech` with each frame of speech as it leaves, and the time."""
        self.playout.on_speech = lambda samples: on_speech(samples, time.monotonic_ns())

    def decline(self) -> None:
        """End the call for want of the caller's consent."""
        self.hang_up(EndReason.CONSENT_MISSING)

    def tell(self, event: AgentEvent) -> None:
        """Tell the client over RTVI; a fatal StageFailed also ends the call."""
        for message in messages_for(event, CLOCK.now().isoformat(timespec="milliseconds")):
            self.channel.send(message)
        if isinstance(event, StageFailed) and event.fatal:
            self.hang_up(EndReason.STAGE_FAILED)
