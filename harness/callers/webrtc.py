"""One WebRTC call: SDP over HTTP, a peer of ours (harness/media/peer), audio by the loop, a data channel."""

import asyncio
import contextlib
import ipaddress
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from harness.callers import http_signalling, sabotage
from harness.callers.conduct import Conduct
from harness.callers.exchange import AgentText, CallEvent, Disconnected, UserTranscript
from harness.callers.http_exchange import Requests
from harness.callers.http_signalling import Answered
from harness.callers.setup_failure import SetupFailure
from harness.callers.setup_queue import Turn
from harness.media.loop import MediaLoop
from harness.media.peer.connected import DtlsError, IceError, PeerMedia
from harness.media.peer.host import PeerHost, host_addresses
from harness.media.peer.offering import OfferingPeer
from harness.media.recorder import Recorder
from harness.media.spec import MediaSpec
from harness.model.clock import monotonic_ns, ms_between
from harness.model.errors import RemoteProtocolError
from harness.model.plan import NAMED_BY_ANSWER, CallPlan, IceSpec
from harness.model.records import Cause, RelayUse, SetupTimes
from harness.protocols import whip

if TYPE_CHECKING:
    from harness.callers.side_channel import SideChannel
    from harness.media.media_call import MediaCall
    from harness.media.peer.seam import DataChannel

_logger = logging.getLogger(__name__)
# Kept of a traced call.
_MOST_MESSAGES = 2_000
_MOST_TEXT = 4_000


def local_addresses(url: str) -> list[str]:
    """Return the addresses of this host that ICE offers a target: loopback for one on loopback, else all others."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return ["127.0.0.1"]
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return ["::1"] if ":" in host else ["127.0.0.1"]
    return host_addresses()


class WebRtcCaller:
    """One call over WebRTC; harness/callers/caller.py says what its methods promise."""

    def __init__(
        self,
        plan: CallPlan,
        http: aiohttp.ClientSession,
        peers: PeerHost,
        media_loop: MediaLoop,
        post: Callable[[CallEvent], None],
        conduct: Conduct | None = None,
    ) -> None:
        self._plan = plan
        self._is_gone = False
        self._requests = Requests(http, plan.target, plan.trace, conduct=conduct)
        self._peers = peers
        self._media_loop = media_loop
        self._post = post
        self._peer: OfferingPeer | None = None
        self._channel: DataChannel | None = None
        side_channel = http_signalling.DIALECTS[plan.target.dialect].side_channel
        self._side = None if side_channel is None else side_channel()
        # What the dialect calls this call; deleted when it ends.
        self._session_url: str | None = None
        self._agreed: dict[str, Any] = {}
        self._messages: list[dict[str, Any]] = []
        self._texts: list[dict[str, Any]] = []
        self._pinger: asyncio.TimerHandle | None = None
        self._closing = False
        self.media: MediaCall | None = None
        self.recorder: Recorder | None = None
        self.setup = SetupTimes()
        self.candidate_types: tuple[str, str] | None = None
        # The WebSocket that the answer named, by which the call may go on where `connect` fails.
        self.fallback_url: str | None = None

    async def connect(self, turn: Turn) -> int:
        """Set the call up; return the monotonic ns at which media was up. Raises SetupFailure."""
        limit_s = self._plan.limits.connect_timeout_ms / 1000
        ice, asked_ns = await self._servers(turn, limit_s)
        peer = self._offer(ice)
        awaits_servers = self._may_name_servers and ice is not None and not ice.servers
        if awaits_servers:
            peer.offer_first()
        gathered_ns, no_way = (None, "") if awaits_servers else await self._try_to_gather(peer, turn, limit_s)
        limit_s -= (asked_ns + (gathered_ns or 0)) / 1e9
        offer_sdp = sabotage.offered(peer.offer_sdp, self._plan.sabotage)
        offered = monotonic_ns()
        answer = await turn.away(http_signalling.exchange(self._requests, offer_sdp, self._plan.call_id, limit_s))
        self._session_url, self.fallback_url = answer.session_url, answer.fallback_url
        # Without what it took to get a place again: that is ours, and told as queue_ms.
        answered = offered + answer.took_ns
        if awaits_servers and ice is not None:
            gathered_ns = await self._gather_late(peer, ice, answer, turn, limit_s - answer.took_ns / 1e9)
        gather_ms = None if gathered_ns is None else gathered_ns / 1e6
        self.setup = SetupTimes(
            queue_ms=turn.waited_ns / 1e6, gather_ms=gather_ms, signalling_ms=ms_between(offered, answered)
        )
        if no_way:
            raise SetupFailure(Cause.ICE_FAILED, no_way)
        accepted = monotonic_ns()
        media = await self._join(peer, answer.sdp, self._patience_s(limit_s - answer.took_ns / 1e9))
        connected = monotonic_ns()
        self.setup = SetupTimes(
            queue_ms=turn.waited_ns / 1e6,
            gather_ms=gather_ms,
            signalling_ms=ms_between(offered, answered),
            ice_ms=ms_between(accepted, media.ice_up_ns),
            dtls_ms=ms_between(media.ice_up_ns, media.dtls_up_ns),
            total_ms=ms_between(turn.due_at_ns, connected),
        )
        self.candidate_types = media.candidate_types
        if self._plan.trace:
            self._agreed = _agreed_words(peer, media)
        self._start_media(media, connected)
        self._open_channel(peer)
        return connected

    # --- servers that the agent names (WHIP) -----------------------------------------------------------------------

    @property
    def _may_name_servers(self) -> bool:
        """Whether STUN and TURN servers are the agent's to name: the scenario wants some, and has none itself."""
        target = self._plan.target
        ice = target.ice
        return target.dialect == "whip" and ice is not None and ice.policy != "host" and not ice.servers

    async def _servers(self, turn: Turn, limit_s: float) -> tuple[IceSpec | None, int]:
        """Return which candidates may be used, by which servers, and how many ns it took to ask for these."""
        ice = self._plan.target.ice
        if ice is None or not self._may_name_servers:
            return ice, 0
        begun = monotonic_ns()
        servers = await turn.away(http_signalling.servers_before(self._requests, limit_s))
        return replace(ice, servers=servers), monotonic_ns() - begun

    async def _gather_late(self, peer: OfferingPeer, ice: IceSpec, answer: Answered, turn: Turn, limit_s: float) -> int:
        """Ask the servers that the answer names and tell the agent what they gave; return how many ns it took."""
        begun = monotonic_ns()
        if not answer.servers:
            if ice.policy == "relay":
                detail = f"no relay candidate: neither target.ice nor {self._plan.target.url} names a TURN server"
                raise SetupFailure(Cause.ICE_FAILED, detail)
            return 0
        try:
            lines = await turn.away(peer.gather_late(answer.servers, limit_s))
        except IceError as error:
            raise SetupFailure(Cause.ICE_FAILED, error.detail) from error
        agent = peer.link.ice
        fragment = whip.Fragment(agent.ufrag, agent.password, lines, is_complete=True)
        taken = await turn.away(http_signalling.trickle(self._requests, answer, fragment, ("0",)))
        if not taken and ice.policy == "relay":
            # The agent learns of a relay by our checks, too, where it checks what it did not know (RFC 8445 7.3.1.3).
            _logger.info("call %s: the agent takes no late candidates", self._plan.call_id)
        return monotonic_ns() - begun

    def _offer(self, ice: IceSpec | None) -> OfferingPeer:
        target = self._plan.target
        self._peer = OfferingPeer(
            self._peers,
            target.url,
            local_addresses(target.url),
            source_ports=target.source_ports,
            ice=ice,
            with_data=self._side is not None,
            cname=self._plan.call_id,
            on_closed=self._peer_gone,
        )
        return self._peer

    def _patience_s(self, limit_s: float) -> float:
        """Return how long of `limit_s` WebRTC may take; where there is another way, that needs time, too."""
        target = self._plan.target
        return min(limit_s, target.fallback_after_ms / 1000) if target.fallback else limit_s

    async def _try_to_gather(self, peer: OfferingPeer, turn: Turn, limit_s: float) -> tuple[int | None, str]:
        """Return what `_gather` does, and why there is nothing to call with, "" where there is something.

        SetupFailure where that is the end: else the offer goes out all the same, for its answer names another way.
        """
        begun = monotonic_ns()
        try:
            return await self._gather(peer, turn, self._patience_s(limit_s)), ""
        except SetupFailure as error:
            if self._plan.target.fallback != NAMED_BY_ANSWER:
                raise
            return monotonic_ns() - begun, error.detail

    async def _gather(self, peer: OfferingPeer, turn: Turn, limit_s: float) -> int | None:
        """Ask the STUN and TURN servers; return how many ns they took, None when there are none."""

        async def timed() -> int:
            begun = monotonic_ns()
            await peer.gather(limit_s)
            return monotonic_ns() - begun

        if not peer.asks_servers:
            return None
        try:
            return await turn.away(timed())
        except IceError as error:
            raise SetupFailure(Cause.ICE_FAILED, error.detail) from error

    @property
    def relay(self) -> RelayUse | None:
        """How a TURN server relayed the call; None when none did."""
        return None if self._peer is None else self._peer.relay_use()

    async def _join(self, peer: OfferingPeer, answer_sdp: str, left_s: float) -> PeerMedia:
        try:
            peer.accept(sabotage.answered(answer_sdp, self._plan.sabotage))
        except RemoteProtocolError as error:
            raise SetupFailure(Cause.SIGNALLING_REFUSED, f"the agent's SDP answer is unusable: {error}") from error
        try:
            return await peer.connect(max(0.0, left_s))
        except IceError as error:
            raise SetupFailure(Cause.ICE_FAILED, error.detail) from error
        except DtlsError as error:
            raise SetupFailure(Cause.DTLS_FAILED, error.detail) from error

    def _start_media(self, media: PeerMedia, connected_ns: int) -> None:
        if self._plan.record:
            self.recorder = Recorder(connected_ns)
        self.media = self._media_loop.add_call(
            media.port,
            MediaSpec(
                remote=media.remote,
                channel=media.channel,
                is_bridged=media.is_bridged,
                ssrc=media.ssrc,
                first_sequence=secrets.randbits(15),
                first_timestamp=secrets.randbits(32),
                cname=self._plan.call_id,
                quiet_ms=self._plan.limits.quiet_ms,
                media_timeout_ms=self._plan.limits.media_timeout_ms,
                post=self._post,
                codec=media.codec,
                payload_type=media.payload_type,
                outgoing=media.outgoing,
                incoming=media.incoming,
                remote_ssrc=media.remote_ssrc,
                recorder=self.recorder,
                impair_outgoing=self._plan.impair_outgoing,
                impair_incoming=self._plan.impair_incoming,
            ),
        )

    # --- data channel ----------------------------------------------------------------------------------------------

    def _open_channel(self, peer: OfferingPeer) -> None:
        if self._side is not None and peer.takes_data:
            # The agent may hang up in this very moment; then that is the news, and it has been posted.
            with contextlib.suppress(ConnectionError):
                self._channel = peer.open_channel(
                    self._channel_opened, self._message_arrived, self._channel_closed, self._side.label
                )

    def _channel_opened(self) -> None:
        if self._side is None:
            return
        for text in self._side.hello():
            self._tell(text)
        if self._side.ping_interval_s is not None:
            self._ping(self._side, self._side.ping_interval_s)

    def _tell(self, text: str) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.send(text)

    def _ping(self, side: "SideChannel", interval_s: float) -> None:
        self._tell(side.ping())
        self._pinger = asyncio.get_running_loop().call_later(interval_s, self._ping, side, interval_s)

    def _message_arrived(self, text: str | bytes) -> None:
        if self._side is None:
            return
        if self._plan.trace and len(self._messages) < _MOST_MESSAGES:
            shown = text if isinstance(text, str) else text.decode(errors="replace")
            self._messages.append({"at_ns": monotonic_ns(), "text": shown[:_MOST_TEXT]})
        try:
            events = self._side.read(text)
        except RemoteProtocolError as error:
            _logger.warning("call %s: %s", self._plan.call_id, error)
            return
        for event in events:
            if self._plan.trace and isinstance(event, AgentText | UserTranscript):
                who, source = ("agent", event.source) if isinstance(event, AgentText) else ("user", "stt")
                self._texts.append({"at_ns": monotonic_ns(), "who": who, "source": source, "text": event.text})
            self._post(event)

    def _channel_closed(self) -> None:
        self._agent_gone("the agent closed the data channel")

    def _agent_gone(self, detail: str, cause: Cause = Cause.AGENT_HUNG_UP) -> None:
        if not self._closing:
            self._post(Disconnected(detail, cause))

    def _peer_gone(self, detail: str) -> None:
        link = None if self._peer is None else self._peer.link
        if link is None or not link.is_vanished:
            self._agent_gone(detail)
        elif link.relay is not None and link.relay.is_lost:
            self._agent_gone(detail, Cause.RELAY_LOST)
        else:
            self._agent_gone(detail, Cause.MEDIA_LOST)

    @property
    def details(self) -> dict[str, Any]:
        """What a traced call asked, was answered, agreed on and was told on the data channel."""
        beside = {"texts": self._texts, "messages": self._messages}
        return {"requests": self._requests.log, **self._agreed, **beside}

    def vanish(self) -> None:
        """Send nothing any more but the media loop's, whatever comes; `close` says no goodbye."""
        self._is_gone = True
        if self._pinger is not None:
            self._pinger.cancel()
        if self._peer is not None:
            self._peer.link.vanish()

    async def close(self) -> None:
        """Hang up and release everything; safe to call at any point of the call."""
        self._closing = True
        if self._pinger is not None:
            self._pinger.cancel()
        try:
            if self.media is not None:
                await self.media.close()
            url, self._session_url = self._session_url, None
            if url is not None and not self._is_gone:
                await self._requests.end(url)
        finally:
            if self._peer is not None:
                self._peer.close()


def _agreed_words(peer: OfferingPeer, media: PeerMedia) -> dict[str, Any]:
    """Return what was negotiated, for a traced call."""
    ours, theirs = media.pair
    return {
        "codec": {"name": media.codec.name, "payload_type": media.payload_type},
        "ice": {
            "local": f"{ours[0]}:{ours[1]}",
            "remote": f"{theirs[0]}:{theirs[1]}",
            "types": list(media.candidate_types),
        },
        "srtp": media.srtp_profile,
        "dtls": peer.dtls_words(),
        "data_channel": peer.takes_data,
    }
