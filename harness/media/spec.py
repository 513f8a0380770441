"""What the media loop is told about a call when it begins: plain data, no behaviour."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pylibsrtp import Session

from harness.media.clips import Clip
from harness.media.codecs import OPUS, Codec
from harness.media.events import MediaEvent
from harness.media.recorder import Recorder

if TYPE_CHECKING:
    from harness.media.impairment import Impairment

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class MediaSpec:
    """One call's media; times in ms, sessions as pylibsrtp makes them (None = plain RTP).

    The loop owns both sessions from `MediaLoop.add_call` on: nobody else may call them.
    """

    remote: Address
    ssrc: int
    first_sequence: int
    first_timestamp: int
    cname: str
    quiet_ms: float
    media_timeout_ms: float
    # Called on the event loop's thread.
    post: Callable[[MediaEvent], None]
    codec: Codec = OPUS
    # The number that what we send has, and that of what we hear; None = the same (RFC 3264 5.1 lets them differ).
    payload_type: int = OPUS.payload_type
    heard_payload_type: int | None = None
    # Numbers of telephone events (RFC 4733), ours and the peer's; None = they are not spoken.
    events_out: int | None = None
    events_in: int | None = None
    # Where RTCP goes where the peer has a port of its own for it; None = to `remote`. Ours has none: it is heard at
    # the RTP port, from an address that is not `remote` by SSRC or `any_source`.
    rtcp_remote: Address | None = None
    outgoing: Session | None = None
    incoming: Session | None = None
    # What is sent while nothing is being spoken: None = silence packets, a clip = that clip over and over.
    background: Clip | None = None
    # Send nothing at all in silence (DTX); `background` is then not used.
    dtx: bool = False
    # Calls that share both a port and a remote address are told apart by the SSRC of what arrives: this one's, or
    # `remote_ssrc` where the peer announced one; None = by remote address alone.
    by_ssrc: bool = False
    remote_ssrc: int | None = None
    # Take packets from any address on a port that no other call uses (a peer behind NAT).
    any_source: bool = False
    # Judge the agent's audio by payload size alone, without decoding: for the reference responder, whose callers
    # speak known clips.
    by_size: bool = False
    # The media goes through this channel of a TURN server, which is `remote` (RFC 8656 12).
    channel: int | None = None
    # `remote` is a bridge of ours to that server's stream: what comes from it says when it came.
    is_bridged: bool = False
    recorder: Recorder | None = None
    impair_outgoing: "Impairment | None" = None
    impair_incoming: "Impairment | None" = None
