"""From what an SDP offer and answer settled on to what the media loop is told, at first and after each re-offer."""

import ipaddress
from dataclasses import replace

from pylibsrtp import Session

from harness.media.codecs import codec_named
from harness.media.sdes_srtp import incoming_session, outgoing_session
from harness.media.spec import Address, MediaSpec
from harness.protocols import sdes
from harness.protocols.offer_answer import Agreed


def with_agreed(spec: MediaSpec, now: Agreed, remote: Address, before: Agreed | None = None) -> MediaSpec:
    """Return `spec` with codec, numbers, keys and addresses as agreed; `remote` is `now`'s address, resolved.

    `before` is what `spec` was made of: keys that are still the same go on where they are in the stream.
    """
    was_out, was_in = (None, None) if before is None else (before.outgoing, before.incoming)
    return replace(
        spec,
        remote=remote,
        rtcp_remote=None if now.rtcp is None else (_host_of(now.rtcp[0], remote[0]), now.rtcp[1]),
        codec=codec_named(now.form.name),
        payload_type=now.form.payload_type,
        heard_payload_type=now.heard_payload_type,
        events_out=now.events_out,
        events_in=now.events_in,
        remote_ssrc=now.ssrc if spec.by_ssrc else spec.remote_ssrc,
        outgoing=spec.outgoing if is_same_key(was_out, now.outgoing) else _new(now.outgoing, is_ours=True),
        incoming=spec.incoming if is_same_key(was_in, now.incoming) else _new(now.incoming, is_ours=False),
    )


def _host_of(host: str, resolved: str) -> str:
    """Return a numeric address as it is; a name is that which `resolved` was made of, in any SDP there is."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return resolved


def is_same_key(one: sdes.Crypto | None, other: sdes.Crypto | None) -> bool:
    """Tell whether both protect alike, under whatever tag."""
    if one is None or other is None:
        return one is other
    return (one.suite, one.material) == (other.suite, other.material)


def _new(crypto: sdes.Crypto | None, *, is_ours: bool) -> Session | None:
    if crypto is None:
        return None
    return outgoing_session(crypto) if is_ours else incoming_session(crypto)
