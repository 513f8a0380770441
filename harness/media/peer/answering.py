"""The agent's side of a WebRTC call, as cheap as the caller's: for the reference responder."""

import contextlib
import random
import secrets
from collections.abc import Callable, Sequence

from harness.media.codecs import OPUS, Codec
from harness.media.peer.connected import PeerMedia
from harness.media.peer.host import PeerHost
from harness.media.peer.ice import usable
from harness.media.peer.link import PeerLink
from harness.media.peer.rtp_maps import chosen_codec, rtp_map
from harness.media.peer.seam import DataChannel
from harness.model.errors import RemoteProtocolError, ScenarioError
from harness.protocols import webrtc_sdp
from harness.protocols.webrtc_sdp import OurAudio

SOURCE_PORTS = ("per_call", "shared")


class AnsweringPeer:
    """One call: send `answer_sdp`, `connect`, in the end `close`. Checks begin at once, after its making.

    Raises RemoteProtocolError on an offer that cannot be answered. With `source_ports` "shared" all calls are answered
    from one port, as behind a UDP mux, as long as no two of them come from one address of their caller's.
    """

    def __init__(
        self,
        host: PeerHost,
        offer_sdp: str,
        addresses: Sequence[str],
        *,
        source_ports: str = "per_call",
        codecs: Sequence[Codec] = (OPUS,),
        cname: str = "callquake",
        on_closed: Callable[[str], None] | None = None,
        on_message: Callable[[str | bytes], None] | None = None,
    ) -> None:
        if source_ports not in SOURCE_PORTS:
            raise ScenarioError(f"source_ports: '{source_ports}' is unknown; legal: {', '.join(SOURCE_PORTS)}")
        self._offer = offer = webrtc_sdp.parse(offer_sdp)
        self._audio = offer.audio
        self._codec, self._payload_type = chosen_codec(self._audio, codecs)
        remote = self._audio.transport
        if remote is None:
            raise RemoteProtocolError("its audio has no transport")
        theirs = [(c.host, c.port) for c in usable(remote.candidates)]
        is_own = source_ports == "per_call"
        ports = [host.own_port(a) if is_own else host.shared_port(a, theirs) for a in addresses]
        self.link = PeerLink(host, ports, is_controlling=remote.is_lite, on_closed=on_closed)
        self.link.own_ports = list(ports) if is_own else []
        self.ssrc = secrets.randbits(32) or 1
        self._on_message = on_message
        self.channel: DataChannel | None = None
        # RFC 5763 5: active, unless the caller wants to be it.
        is_server = remote.setup == "active"
        audio = OurAudio((rtp_map(self._codec, self._payload_type),), self.ssrc, cname)
        local = self.link.local("passive" if is_server else "active")
        self.answer_sdp = webrtc_sdp.build_answer(random.getrandbits(48), offer, audio, local)
        self.link.begin(remote, is_server=is_server)

    async def connect(self, timeout_s: float) -> PeerMedia:
        """Wait for ICE and DTLS; raises IceError or DtlsError."""
        keys = await self.link.connected(timeout_s)
        dtls, data = self.link.dtls, self._offer.data
        if self._on_message is not None and data is not None and dtls is not None:
            with contextlib.suppress(ConnectionError):
                self.channel = DataChannel(dtls, data.sctp_port or 0, label=None, on_message=self._on_message)
        return self.link.media(keys, self._audio, self.ssrc, self._codec, self._payload_type)

    def close(self) -> None:
        """Hang up; any number of times. The media loop must have let go of the call."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        self.link.close()
