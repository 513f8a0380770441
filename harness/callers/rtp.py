"""One RTP call: to a fixed address without signalling (rtp://host:port), or agreed on by SDP over HTTP.

rtp://   call the address                       one address for all calls: told apart by local port, or by SSRC
http://  POST offer -> answer -> agree -> call  SDES keys; an address per call, or an announced SSRC, or a port each
"""

import asyncio
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from harness.callers import sdp_signalling
from harness.callers.exchange import CallEvent
from harness.callers.exhaustion import raise_if_ours
from harness.callers.setup_failure import SetupFailure
from harness.callers.setup_queue import Turn
from harness.callers.source_ports import SourcePort, SourcePorts, as_literal, check_reachable, local_address_towards
from harness.media.codecs import OPUS, Codec, codec_named
from harness.media.loop import MediaLoop
from harness.media.recorder import Recorder
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.media.spec import Address, MediaSpec
from harness.model.clock import monotonic_ns, ms_between
from harness.model.errors import RemoteProtocolError
from harness.model.plan import CallPlan
from harness.model.records import Cause, SetupTimes
from harness.protocols import audio_sdp, sdes
from harness.protocols.audio_sdp import AudioSdp, Format
from harness.protocols.offer_answer import Agreed, agree

if TYPE_CHECKING:
    from harness.media.media_call import MediaCall

_HTTP_PORTS = {"http": 80, "https": 443}


def format_of(codec: Codec) -> Format:
    """Return how SDP writes `codec`; Opus is always "two channels" there (RFC 7587 4.1)."""
    return Format(codec.payload_type, codec.name, codec.clock_rate, 2 if codec is OPUS else 1)


@dataclass(frozen=True, slots=True)
class _Peer:
    """Where a call's media goes, and how what comes back is told from other calls'."""

    remote: Address
    source: SourcePort
    by_ssrc: bool = False
    remote_ssrc: int | None = None
    outgoing: sdes.Crypto | None = None
    incoming: sdes.Crypto | None = None


class RtpCaller:
    """One call over RTP; harness/callers/caller.py says what its methods promise."""

    def __init__(
        self,
        plan: CallPlan,
        http: aiohttp.ClientSession,
        media_loop: MediaLoop,
        ports: SourcePorts,
        post: Callable[[CallEvent], None],
    ) -> None:
        self._plan = plan
        self._http = http
        self._media_loop = media_loop
        self._ports = ports
        self._post = post
        self._codec = codec_named(plan.target.codec)
        self._ssrc = ports.new_ssrc()
        self._source: SourcePort | None = None
        self._call_url: str | None = None
        self.media: MediaCall | None = None
        self.recorder: Recorder | None = None
        self.setup = SetupTimes()
        self.candidate_types: tuple[str, str] | None = None

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
        self._start_media(peer, connected)
        self.setup = SetupTimes(
            queue_ms=turn.waited_ns / 1e6,
            signalling_ms=signalling_ms,
            total_ms=ms_between(turn.due_at_ns, connected),
        )
        return connected

    async def close(self) -> None:
        """Hang up and release everything; safe to call at any point of the call."""
        try:
            if self.media is not None:
                await self.media.close()
        finally:
            self._release_source()
            await self._end_signalling()

    # --- a fixed address -------------------------------------------------------------------------------------------

    async def _static_peer(self) -> _Peer:
        parts = urlsplit(self._plan.target.url)
        remote = await _resolve(parts.hostname or "", parts.port or 0)
        local = _towards(remote)
        if self._plan.target.source_ports == "shared":
            # Every call has the same remote address: an echo is known by our own SSRC.
            return _Peer(remote, self._hold(self._ports.shared(local)), by_ssrc=True)
        return _Peer(remote, self._hold(self._ports.own(local)))

    def _hold(self, source: SourcePort) -> SourcePort:
        self._source = source
        return source

    # --- SDP over HTTP ---------------------------------------------------------------------------------------------

    async def _signalled_peer(self, turn: Turn, deadline_ns: int) -> _Peer:
        target = self._plan.target
        parts = urlsplit(target.url)
        server = await _resolve(parts.hostname or "", parts.port or _HTTP_PORTS[parts.scheme])
        local = _towards(server)
        may_share = target.source_ports != "per_call"
        if target.source_ports == "auto" and parts.netloc in self._ports.need_own_port:
            may_share = False
        peer = await self._exchange(turn, local, may_share, deadline_ns)
        if peer is None and target.source_ports == "auto":
            # The agent has two calls on one address with one SSRC, or does not say which. Now that this is known, call
            # again from a port of our own, as all calls to it do from here on.
            self._ports.need_own_port.add(parts.netloc)
            await self._end_signalling()
            self._release_source()
            peer = await self._exchange(turn, local, False, deadline_ns)
        if peer is None:
            raise SetupFailure(
                Cause.GENERATOR_ERROR,
                f"{target.url} answered two calls with one address and no SSRC of their own, so that calls from a "
                "shared port cannot be told apart; legal for this target: source_ports: auto, per_call",
            )
        return peer

    async def _exchange(self, turn: Turn, local: str, is_shared: bool, deadline_ns: int) -> _Peer | None:
        """Offer from a port and take the answer; None where a shared port has another call by that mark."""
        source = self._hold(self._ports.shared(local) if is_shared else self._ports.own(local))
        offer = self._offer(source.port.address)
        left_s = max(0.001, (deadline_ns - monotonic_ns()) / 1e9)
        answered = await turn.away(
            sdp_signalling.offer(self._http, self._plan.target, audio_sdp.build(offer), self._plan.call_id, left_s)
        )
        self._call_url = answered.call_url
        agreed = self._agree(offer, answered.sdp)
        remote = await _resolve(agreed.host, agreed.port)
        self._check_reachable(source, remote)
        ssrc = agreed.ssrc if source.is_shared else None
        if not source.claim(remote if ssrc is None else ssrc):
            return None
        return _Peer(remote, source, ssrc is not None, ssrc, agreed.outgoing, agreed.incoming)

    def _offer(self, address: Address) -> AudioSdp:
        target = self._plan.target
        suites = _suites(target.srtp_suites) if target.srtp != "off" else []
        material = secrets.token_bytes
        return AudioSdp(
            host=address[0],
            port=address[1],
            formats=(format_of(self._codec),),
            profile=audio_sdp.SECURE if target.srtp == "required" else audio_sdp.PLAIN,
            crypto=tuple(sdes.Crypto(i, s, material(s.material_bytes)) for i, s in enumerate(suites, 1)),
            ptime_ms=20,
            rtcp_mux=True,
            ssrc=self._ssrc,
            cname=self._plan.call_id,
            session_id=secrets.randbits(62),
        )

    def _agree(self, offer: AudioSdp, text: str) -> Agreed:
        try:
            return agree(offer, audio_sdp.parse(text))
        except RemoteProtocolError as error:
            detail = f"{self._plan.target.url}: the SDP answer is unusable: {error}"
            raise SetupFailure(Cause.SIGNALLING_REFUSED, detail) from error

    def _check_reachable(self, source: SourcePort, remote: Address) -> None:
        try:
            check_reachable(source.port, remote)
        except OSError as error:
            raise_if_ours(error, f"probing the way to {remote[0]}:{remote[1]}")
            where = f"{remote[0]}:{remote[1]} cannot be reached from {source.port.address[0]}"
            detail = f"{self._plan.target.url}: the SDP answer's address {where}: {error.strerror}"
            raise SetupFailure(Cause.SIGNALLING_REFUSED, detail) from error

    async def _end_signalling(self) -> None:
        if self._call_url is not None:
            url, self._call_url = self._call_url, None
            await sdp_signalling.end(self._http, self._plan.target, url)

    def _release_source(self) -> None:
        if self._source is not None:
            self._source.release()
            self._source = None

    # --- media -----------------------------------------------------------------------------------------------------

    def _start_media(self, peer: _Peer, connected_ns: int) -> None:
        if self._plan.record:
            self.recorder = Recorder(connected_ns, self._codec)
        limits = self._plan.limits
        self.media = self._media_loop.add_call(
            peer.source.port,
            MediaSpec(
                remote=peer.remote,
                ssrc=self._ssrc,
                first_sequence=secrets.randbits(15),
                first_timestamp=secrets.randbits(32),
                cname=self._plan.call_id,
                quiet_ms=limits.quiet_ms,
                media_timeout_ms=limits.media_timeout_ms,
                post=self._post,
                codec=self._codec,
                payload_type=self._codec.payload_type,
                outgoing=None if peer.outgoing is None else outgoing_session(peer.outgoing),
                incoming=None if peer.incoming is None else incoming_session(peer.incoming),
                by_ssrc=peer.by_ssrc,
                remote_ssrc=peer.remote_ssrc,
                any_source=not peer.source.is_shared,
                recorder=self.recorder,
                impair_outgoing=self._plan.impair_outgoing,
                impair_incoming=self._plan.impair_incoming,
            ),
        )


def _suites(names: Sequence[str]) -> Sequence[sdes.Suite]:
    """Return the suites called so, all of ours where none is named; the scenario has checked the names."""
    return [s for s in map(sdes.suite_named, names) if s is not None] or sdes.SUITES


async def _resolve(host: str, port: int) -> Address:
    literal = as_literal(host)
    if literal is not None:
        return literal, port
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise_if_ours(error, f"resolving {host}")
        detail = f"the host name {host} does not resolve: {error.strerror}"
        raise SetupFailure(Cause.SIGNALLING_UNREACHABLE, detail) from error
    # IPv4 first: few agents on "localhost" listen on ::1 alone.
    name = min(found, key=lambda entry: entry[0] != socket.AF_INET)[4]
    return str(name[0]), int(name[1])


def _towards(remote: Address) -> str:
    try:
        return local_address_towards(remote)
    except OSError as error:
        raise_if_ours(error, f"probing the way to {remote[0]}:{remote[1]}")
        detail = f"no way to {remote[0]}:{remote[1]}: {error.strerror}"
        raise SetupFailure(Cause.SIGNALLING_UNREACHABLE, detail) from error
