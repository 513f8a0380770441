"""One RTP call: to a fixed address without signalling (rtp://host:port), or agreed on by SDP over HTTP.

rtp://   call the address                       one address for all calls: told apart by local port, or by SSRC
http://  POST offer -> answer -> agree -> call  SDES keys; an address per call, or an announced SSRC, or a port each
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from harness.callers import sabotage, sdp_signalling
from harness.callers.addresses import local_towards, resolve
from harness.callers.audio_leg import AudioLeg, MediaPeer, agreed_words
from harness.callers.conduct import Conduct
from harness.callers.exchange import CallEvent
from harness.callers.http_exchange import Requests
from harness.callers.setup_queue import Turn
from harness.callers.source_ports import SourcePorts
from harness.media.loop import MediaLoop
from harness.media.recorder import Recorder
from harness.model.clock import monotonic_ns, ms_between
from harness.model.plan import CallPlan
from harness.model.records import SetupTimes
from harness.protocols import audio_sdp

if TYPE_CHECKING:
    from harness.media.media_call import MediaCall

_HTTP_PORTS = {"http": 80, "https": 443}


class RtpCaller:
    """One call over RTP; harness/callers/caller.py says what its methods promise."""

    def __init__(
        self,
        plan: CallPlan,
        http: aiohttp.ClientSession,
        media_loop: MediaLoop,
        ports: SourcePorts,
        post: Callable[[CallEvent], None],
        conduct: Conduct | None = None,
    ) -> None:
        self._plan = plan
        self._is_gone = False
        self._requests = Requests(http, plan.target, plan.trace, conduct=conduct)
        self._agreed: dict[str, Any] = {}
        self._leg = AudioLeg(plan, media_loop, ports, post)
        self._call_url: str | None = None
        self.setup = SetupTimes()
        self.candidate_types: tuple[str, str] | None = None

    @property
    def media(self) -> "MediaCall | None":
        """The call's media, None before it is up."""
        return self._leg.media

    @property
    def recorder(self) -> Recorder | None:
        """What keeps the call's audio, None where nothing does."""
        return self._leg.recorder

    @property
    def details(self) -> dict[str, Any]:
        """What a traced call asked, was answered and agreed on."""
        return {"requests": self._requests.log, **self._agreed}

    async def connect(self, turn: Turn) -> int:
        """Set the call up; return the monotonic ns at which media was up. Raises SetupFailure, GeneratorError."""
        started = monotonic_ns()
        waited_ms = turn.waited_ns / 1e6
        if urlsplit(self._plan.target.url).scheme == "rtp":
            peer, signalling_ms = await self._static_peer(), None
        else:
            peer = await self._signalled_peer(turn, started + int(self._plan.limits.connect_timeout_ms * 1e6))
            # Without what it took to get a place again: that is ours, and told as queue_ms.
            waited_again_ms = turn.waited_ns / 1e6 - waited_ms
            signalling_ms = ms_between(started, monotonic_ns()) - waited_again_ms
        connected = monotonic_ns()
        self._leg.begin(peer, connected)
        if self._plan.trace:
            self._agreed = agreed_words(self._leg, peer)
        self.setup = SetupTimes(
            queue_ms=turn.waited_ns / 1e6,
            signalling_ms=signalling_ms,
            total_ms=ms_between(turn.due_at_ns, connected),
        )
        return connected

    def vanish(self) -> None:
        """Say no goodbye when the call is closed."""
        self._is_gone = True

    async def close(self) -> None:
        """Hang up and release everything; safe to call at any point of the call."""
        try:
            await self._leg.close()
        finally:
            await self._end_signalling()

    # --- a fixed address -------------------------------------------------------------------------------------------

    async def _static_peer(self) -> MediaPeer:
        parts = urlsplit(self._plan.target.url)
        remote = await resolve(parts.hostname or "", parts.port or 0)
        is_shared = self._plan.target.source_ports == "shared"
        self._leg.open(local_towards(remote), shared=is_shared)
        # From a shared port every call has the same remote address: an echo is known by our own SSRC.
        return MediaPeer(remote, self._leg.codecs[0], by_ssrc=is_shared)

    # --- SDP over HTTP ---------------------------------------------------------------------------------------------

    async def _signalled_peer(self, turn: Turn, deadline_ns: int) -> MediaPeer:
        parts = urlsplit(self._plan.target.url)
        server = await resolve(parts.hostname or "", parts.port or _HTTP_PORTS[parts.scheme])
        local, may_share = local_towards(server), self._leg.may_share(parts.netloc)
        peer = await self._exchange(turn, local, may_share, deadline_ns)
        if peer is None and self._leg.note_own_port_needed(parts.netloc):
            # The agent has two calls on one address with one SSRC, or does not say which. Now that this is known, call
            # again from a port of our own, as all calls to it do from here on.
            await self._end_signalling()
            peer = await self._exchange(turn, local, False, deadline_ns)
        if peer is None:
            raise self._leg.cannot_share()
        return peer

    async def _exchange(self, turn: Turn, local: str, is_shared: bool, deadline_ns: int) -> MediaPeer | None:
        """Offer from a port and take the answer; None where a shared port has another call by that mark."""
        self._leg.open(local, shared=is_shared)
        offer = self._leg.offer()
        text = sabotage.offered(audio_sdp.build(offer), self._plan.sabotage)
        left_s = max(0.001, (deadline_ns - monotonic_ns()) / 1e9)
        answered = await turn.away(sdp_signalling.offer(self._requests, text, self._plan.call_id, left_s))
        self._call_url = answered.call_url
        return await self._leg.peer_of(self._leg.agree(offer, answered.sdp))

    async def _end_signalling(self) -> None:
        url, self._call_url = self._call_url, None
        if url is not None and not self._is_gone:
            await self._requests.end(url)
