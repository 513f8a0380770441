"""A WebRTC call that goes on by a WebSocket, as a media stream, where its media do not come through.

offer ─► answer, which names a WebSocket ─► ICE or DTLS fails, or takes too long ─► WebSocket ─► start message ─► audio

Only the set-up falls back: a call whose media are lost later is over, as any other is. What the call says and hears,
and how it is timed, is from then on what media_stream.py does; a bad network on purpose is left behind: TCP has none.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

from harness.callers.caller import CallMedia
from harness.callers.exchange import CallEvent
from harness.callers.media_stream import MediaStreamCaller
from harness.callers.media_stream_host import StreamHost
from harness.callers.setup_failure import SetupFailure
from harness.callers.setup_queue import Turn
from harness.callers.webrtc import WebRtcCaller
from harness.media.codecs import PCMU, Codec
from harness.media.recorder import Recorder
from harness.model.clock import monotonic_ns, ms_between
from harness.model.plan import NAMED_BY_ANSWER, CallPlan, StreamSpec, TargetSpec
from harness.model.records import Cause, FallbackUse, RelayUse, SetupTimes, StreamFacts

# What a call speaks that has fallen back, in the dialect below.
FALLBACK_CODEC = PCMU
_DIALECT = "twilio"
_ORIGINS = {"ws": "http", "wss": "https"}
_PORTS = {"http": 80, "https": 443}
# What a handshake says itself (RFC 6455 4.1), and what belongs to a body.
_HANDSHAKE = ("host", "connection", "upgrade", "content-", "transfer-", "sec-websocket-")
_MEDIA_CAUSES = (Cause.ICE_FAILED, Cause.DTLS_FAILED)


def fallback_target(target: TargetSpec, url: str) -> TargetSpec:
    """Return the same agent at the WebSocket `url`; its headers go along where that is at the same origin only.

    Raises ValueError where nobody can be called there.
    """
    parts = urlsplit(url)
    is_clean = url.isascii() and url.isprintable() and " " not in url
    if not is_clean or parts.scheme not in _ORIGINS or not parts.hostname or parts.port == 0:
        raise ValueError(f"{url[:200]!r} is no address of a WebSocket; legal: ws://host:port/path, wss://...")
    is_same = _origin(parts) == _origin(urlsplit(target.url))
    kept = {k: v for k, v in target.headers.items() if is_same and not k.lower().startswith(_HANDSHAKE)}
    return TargetSpec(
        url=url,
        transport="media_stream",
        dialect=_DIALECT,
        headers=kept,
        codec=FALLBACK_CODEC.name,
        stream=StreamSpec(),
        name=target.name,
    )


class FallbackCaller:
    """One call over WebRTC, or else a WebSocket; harness/callers/caller.py says what its methods promise."""

    def __init__(
        self, plan: CallPlan, first: WebRtcCaller, host: StreamHost, post: Callable[[CallEvent], None]
    ) -> None:
        self._plan = plan
        self._first = first
        self._host = host
        self._post = post
        self._second: MediaStreamCaller | None = None
        # Hangs the first one up while the second one goes on.
        self._goodbye: asyncio.Task[None] | None = None
        self._setup: SetupTimes | None = None
        # None while WebRTC has not failed.
        self.fallback: FallbackUse | None = None

    # --- whichever carries the call --------------------------------------------------------------------------------

    @property
    def carrier(self) -> WebRtcCaller | MediaStreamCaller:
        """The way that works; the first one until another does."""
        return self._second if self._second is not None and self._second.media is not None else self._first

    @property
    def transport(self) -> str:
        """What carries the audio, or was to carry it."""
        return self._plan.target.transport if self.carrier is self._first else "media_stream"

    @property
    def codec(self) -> Codec | None:
        """What the call speaks now; None while that is what its plan says."""
        return None if self.carrier is self._first else FALLBACK_CODEC

    @property
    def setup(self) -> SetupTimes:
        """The steps of WebRTC, as far as it came, and the time of all."""
        return self._setup or self._first.setup

    @property
    def candidate_types(self) -> tuple[str, str] | None:
        """Of a call over WebRTC."""
        return self._first.candidate_types

    @property
    def media(self) -> CallMedia | None:
        """The call's media, None before it is up."""
        return self.carrier.media

    @property
    def recorder(self) -> Recorder | None:
        """What keeps the call's audio, None where nothing does."""
        return self.carrier.recorder

    @property
    def relay(self) -> RelayUse | None:
        """How a TURN server relayed the call; None when none did."""
        return self._first.relay if self.carrier is self._first else None

    @property
    def stream(self) -> StreamFacts | None:
        """What the stream went through; None of a call over WebRTC."""
        return None if self._second is None else self._second.stream

    @property
    def details(self) -> dict[str, Any]:
        """What a traced call asked, was answered and agreed on, both ways."""
        return self._first.details | ({} if self._second is None else {"fallback": self._second.details})

    # --- set-up and end --------------------------------------------------------------------------------------------

    async def connect(self, turn: Turn) -> int:
        """Set the call up, one way or the other; return the monotonic ns at which media was up. Raises SetupFailure."""
        began_ns, waited_ns = monotonic_ns(), turn.waited_ns
        try:
            return await self._first.connect(turn)
        except SetupFailure as error:
            if error.cause not in _MEDIA_CAUSES:
                raise
            # Without what was waited for a place: that is ours, and told as queue_ms.
            after_ms = ms_between(began_ns, monotonic_ns()) - (turn.waited_ns - waited_ns) / 1e6
            failed = FallbackUse(error.cause, error.detail, after_ms)
        return await self._fall_back(turn, failed)

    async def _fall_back(self, turn: Turn, failed: FallbackUse) -> int:
        self._goodbye = asyncio.create_task(self._first.close(), name=f"goodbye of {self._plan.call_id}")
        self._second = second = MediaStreamCaller(self._second_plan(failed), self._host, self._post)
        self.fallback = failed
        began_ns, waited_ns = monotonic_ns(), turn.waited_ns
        try:
            connected_ns = await second.connect(turn)
        except SetupFailure as error:
            detail = f"{failed.detail}; the WebSocket fallback failed, too: {error.cause.value}: {error.detail}"
            raise SetupFailure(failed.cause, detail) from error
        took_ms = ms_between(began_ns, connected_ns) - (turn.waited_ns - waited_ns) / 1e6
        self.fallback = replace(failed, took_ms=took_ms)
        times = second.setup
        self._setup = replace(self._first.setup, queue_ms=times.queue_ms, total_ms=times.total_ms)
        return connected_ns

    def _second_plan(self, failed: FallbackUse) -> CallPlan:
        """Return the plan of the other way, with what is left of the time; SetupFailure where there is none."""
        plan, limits = self._plan, self._plan.limits
        named = plan.target.fallback
        url = self._first.fallback_url if named == NAMED_BY_ANSWER else named
        if url is None:
            why = "no WebSocket to fall back to: the agent's answer has no X-Callquake-Fallback"
            raise SetupFailure(failed.cause, f"{failed.detail}; {why}")
        try:
            target = fallback_target(plan.target, url)
        except ValueError as error:
            raise SetupFailure(failed.cause, f"{failed.detail}; no WebSocket to fall back to: {error}") from error
        left_ms = max(1.0, limits.connect_timeout_ms - failed.after_ms)
        return replace(plan, target=target, limits=replace(limits, connect_timeout_ms=left_ms))

    async def close(self) -> None:
        """Hang up and release everything; safe to call at any point of the call."""
        try:
            if self._second is not None:
                await self._second.close()
        finally:
            await (self._goodbye if self._goodbye is not None else self._first.close())


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    scheme = _ORIGINS.get(parts.scheme, parts.scheme)
    return scheme, parts.hostname, parts.port or _PORTS.get(scheme, 0)
