"""The audio of one call over RTP, whoever signals it: the port it leaves from, its offer, and its media once agreed."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.callers.addresses import check_reachable, resolve
from harness.callers.exchange import CallEvent
from harness.callers.exhaustion import raise_if_ours
from harness.callers.setup_failure import SetupFailure
from harness.callers.source_ports import SourcePort, SourcePorts
from harness.media.codecs import OPUS, Codec, codec_named
from harness.media.loop import MediaLoop
from harness.media.recorder import Recorder
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.media.spec import Address, MediaSpec
from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.model.plan import CallPlan
from harness.model.records import Cause
from harness.protocols import audio_sdp, sdes
from harness.protocols.audio_sdp import AudioSdp, Format
from harness.protocols.offer_answer import Agreed, agree

if TYPE_CHECKING:
    from harness.media.media_call import MediaCall


def format_of(codec: Codec) -> Format:
    """Return how SDP writes `codec`; Opus is always "two channels" there (RFC 7587 4.1)."""
    return Format(codec.payload_type, codec.name, codec.clock_rate, 2 if codec is OPUS else 1)


@dataclass(frozen=True, slots=True)
class MediaPeer:
    """Where a call's media goes, and how what comes back is told from other calls'."""

    remote: Address
    codec: Codec
    by_ssrc: bool = False
    remote_ssrc: int | None = None
    outgoing: sdes.Crypto | None = None
    incoming: sdes.Crypto | None = None


class AudioLeg:
    """One call's RTP. `open` a port, `offer`, take the answer with `peer_of`, `begin`; `close` at any point."""

    def __init__(
        self, plan: CallPlan, media_loop: MediaLoop, ports: SourcePorts, post: Callable[[CallEvent], None]
    ) -> None:
        self._plan = plan
        self._media_loop = media_loop
        self._ports = ports
        self._post = post
        self.codecs: Sequence[Codec] = (codec_named(plan.target.codec),)
        self.ssrc = ports.new_ssrc()
        self.source: SourcePort | None = None
        self.media: MediaCall | None = None
        self.recorder: Recorder | None = None

    # --- the port --------------------------------------------------------------------------------------------------

    def open(self, local: str, *, shared: bool) -> SourcePort:
        """Take hold of a port on the local address; one held before is let go."""
        self.release()
        self.source = self._ports.shared(local) if shared else self._ports.own(local)
        return self.source

    def may_share(self, peer_name: str) -> bool:
        """Tell whether a call to this peer may leave from a shared port, by the scenario's word and by experience."""
        wanted = self._plan.target.source_ports
        return wanted == "shared" or (wanted == "auto" and peer_name not in self._ports.need_own_port)

    def note_own_port_needed(self, peer_name: str) -> bool:
        """Remember that this peer's calls cannot share a port; False where the scenario forbids any other."""
        if self._plan.target.source_ports != "auto":
            return False
        self._ports.need_own_port.add(peer_name)
        return True

    def release(self) -> None:
        """Let go of the port."""
        if self.source is not None:
            self.source.release()
            self.source = None

    # --- what is offered and agreed on -----------------------------------------------------------------------------

    def offer(self) -> AudioSdp:
        """Return the offer of a two-way call from the port."""
        target, address = self._plan.target, self._held().port.address
        suites = _suites(target.srtp_suites) if target.srtp != "off" else []
        material = secrets.token_bytes
        return AudioSdp(
            host=address[0],
            port=address[1],
            formats=tuple(format_of(codec) for codec in self.codecs),
            profile=audio_sdp.SECURE if target.srtp == "required" else audio_sdp.PLAIN,
            crypto=tuple(sdes.Crypto(i, s, material(s.material_bytes)) for i, s in enumerate(suites, 1)),
            ptime_ms=20,
            rtcp_mux=True,
            ssrc=self.ssrc,
            cname=self._plan.call_id,
            session_id=secrets.randbits(62),
        )

    def agree(self, offer: AudioSdp, text: str) -> Agreed:
        """Read the answer to `offer`; SetupFailure tells what is wrong with it."""
        try:
            return agree(offer, audio_sdp.parse(text))
        except RemoteProtocolError as error:
            detail = f"{self._plan.target.url}: the SDP answer is unusable: {error}"
            raise SetupFailure(Cause.SIGNALLING_REFUSED, detail) from error

    async def peer_of(self, agreed: Agreed) -> MediaPeer | None:
        """Return where the answer wants the media; None where a shared port has another call by that mark."""
        source = self._held()
        remote = await resolve(agreed.host, agreed.port)
        self.check_reachable(*remote)
        ssrc = agreed.ssrc if source.is_shared else None
        if not source.claim(remote if ssrc is None else ssrc):
            return None
        codec = next(c for c in self.codecs if format_of(c).is_same_codec(agreed.form))
        return MediaPeer(remote, codec, ssrc is not None, ssrc, agreed.outgoing, agreed.incoming)

    def cannot_share(self) -> SetupFailure:
        """Return the error for a peer whose calls cannot be told apart on a shared port."""
        return SetupFailure(
            Cause.GENERATOR_ERROR,
            f"{self._plan.target.url} answered two calls with one address and no SSRC of their own, so that calls from "
            "a shared port cannot be told apart; legal for this target: source_ports: auto, per_call",
        )

    def check_reachable(self, host: str, port: int) -> None:
        """Raise SetupFailure where the call's port cannot send to an address that the agent named."""
        local = self._held().port.address[0]
        try:
            check_reachable(local, (host, port))
        except OSError as error:
            raise_if_ours(error, f"probing the way to {host}:{port}")
            where = f"{host}:{port} cannot be reached from {local}"
            detail = f"{self._plan.target.url}: the SDP answer's address {where}: {error.strerror}"
            raise SetupFailure(Cause.SIGNALLING_REFUSED, detail) from error

    def _held(self) -> SourcePort:
        if self.source is None:
            raise LocalProtocolError("an audio leg was used before it had a port")
        return self.source

    # --- media -----------------------------------------------------------------------------------------------------

    def begin(self, peer: MediaPeer, at_ns: int) -> None:
        """Hand the call's audio to the media loop; `at_ns` is where its recording begins."""
        self.start(
            replace(
                self.spec(peer, at_ns),
                outgoing=None if peer.outgoing is None else outgoing_session(peer.outgoing),
                incoming=None if peer.incoming is None else incoming_session(peer.incoming),
            )
        )

    def spec(self, peer: MediaPeer, at_ns: int) -> MediaSpec:
        """Return what the media loop is to know, but for keys."""
        if self._plan.record:
            self.recorder = Recorder(at_ns, peer.codec)
        limits = self._plan.limits
        return MediaSpec(
            remote=peer.remote,
            ssrc=self.ssrc,
            first_sequence=secrets.randbits(15),
            first_timestamp=secrets.randbits(32),
            cname=self._plan.call_id,
            quiet_ms=limits.quiet_ms,
            media_timeout_ms=limits.media_timeout_ms,
            post=self._post,
            codec=peer.codec,
            payload_type=peer.codec.payload_type,
            by_ssrc=peer.by_ssrc,
            remote_ssrc=peer.remote_ssrc,
            any_source=not self._held().is_shared,
            recorder=self.recorder,
            impair_outgoing=self._plan.impair_outgoing,
            impair_incoming=self._plan.impair_incoming,
        )

    def start(self, spec: MediaSpec) -> "MediaCall":
        """Hand the call's audio to the media loop."""
        self.media = self._media_loop.add_call(self._held().port, spec)
        return self.media

    async def close(self) -> None:
        """Say goodbye by RTCP, leave the loop and let go of the port; safe to call at any point."""
        try:
            if self.media is not None:
                await self.media.close()
        finally:
            self.release()


def agreed_words(leg: AudioLeg, peer: MediaPeer) -> dict[str, Any]:
    """Return what was agreed on, for a traced call."""
    local = None if leg.source is None else f"{leg.source.port.address[0]}:{leg.source.port.address[1]}"
    encryption = "none" if peer.outgoing is None else f"SDES {peer.outgoing.suite.name}"
    return {
        "codec": {"name": peer.codec.name, "payload_type": peer.codec.payload_type},
        "media": {"local": local, "remote": f"{peer.remote[0]}:{peer.remote[1]}"},
        "srtp": encryption,
    }


def _suites(names: Sequence[str]) -> Sequence[sdes.Suite]:
    """Return the suites called so, all of ours where none is named; the scenario has checked the names."""
    return [s for s in map(sdes.suite_named, names) if s is not None] or sdes.SUITES
