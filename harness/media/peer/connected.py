"""What a set-up gives: everything the media loop must be told, or the step that failed."""

from dataclasses import dataclass

from pylibsrtp import Session

from harness.media.codecs import Codec
from harness.media.port import MediaPort
from harness.media.spec import Address
from harness.model.errors import TargetError


class SetupError(TargetError):
    """The peer could not be connected; `detail` says what was tried."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class IceError(SetupError):
    """No candidate pair worked."""


class DtlsError(SetupError):
    """The handshake failed, or did not end in time."""


@dataclass(frozen=True, slots=True)
class PeerMedia:
    """One connected peer's audio path."""

    port: MediaPort
    remote: Address
    outgoing: Session
    incoming: Session
    # Ours, as the SDP told the peer; the peer's, where its SDP told us.
    ssrc: int
    remote_ssrc: int | None
    codec: Codec
    payload_type: int
    # e.g. SRTP_AEAD_AES_128_GCM.
    srtp_profile: str
    # Ours and the peer's: host, srflx, prflx or relay.
    candidate_types: tuple[str, str]
    # Through a TURN server: its channel to the peer, then `remote` is the server, or a bridge of ours to its stream.
    channel: int | None
    is_bridged: bool
    # The chosen pair of candidates: ours (relayed, where it is a relay's) and the peer's.
    pair: tuple[Address, Address]
    # Monotonic ns: a pair was nominated; keys were there.
    ice_up_ns: int
    dtls_up_ns: int
