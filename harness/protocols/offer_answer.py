"""What an SDP offer and its answer settle on for one audio stream (RFC 3264, with RFC 4568 for keys)."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.model.errors import RemoteProtocolError
from harness.protocols import sdes
from harness.protocols.audio_sdp import AudioSdp, Format

_MIRRORED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_PACKET_MS = 20


@dataclass(frozen=True, slots=True)
class Answerer:
    """What an answering side has: its address, its codecs and suites; `new_material(suite)` makes a fresh key."""

    host: str
    port: int
    formats: Sequence[Format]
    suites: Sequence[sdes.Suite]
    new_material: Callable[[sdes.Suite], bytes]
    ssrc: int | None = None
    cname: str = ""
    session_id: int = 0


def answer(offer: AudioSdp, ours: Answerer) -> AudioSdp:
    """Return the answer to `offer`: its first codec that we have, its payload type, its profile (RFC 3264 6).

    Raises RemoteProtocolError where nothing fits, naming both sides.
    """
    if offer.port == 0:
        raise RemoteProtocolError("the offer refuses its own audio (port 0)")
    pairs = ((theirs, mine) for theirs in offer.formats for mine in ours.formats if theirs.is_same_codec(mine))
    theirs, mine = next(pairs, (None, None))
    if theirs is None or mine is None:
        raise RemoteProtocolError(f"no common codec: offered {spell(offer.formats)}; known here: {spell(ours.formats)}")
    taken = sdes.choose(offer.crypto, ours.suites)
    if taken is None and offer.is_secure:
        names = ", ".join(crypto.suite.name for crypto in offer.crypto)
        why = "; ".join(offer.unusable_crypto) or f"offered suites: {names or 'none'}"
        raise RemoteProtocolError(f"{offer.profile} without an a=crypto line that can be used: {why}")
    return AudioSdp(
        host=ours.host,
        port=ours.port,
        formats=(replace(mine, payload_type=theirs.payload_type),),
        profile=offer.profile,
        crypto=() if taken is None else (sdes.Crypto(taken.tag, taken.suite, ours.new_material(taken.suite)),),
        direction=_MIRRORED[offer.direction],
        ptime_ms=_PACKET_MS,
        rtcp_mux=offer.rtcp_mux,
        ssrc=ours.ssrc,
        cname=ours.cname,
        session_id=ours.session_id,
        media_before=offer.media_before,
        media_after=offer.media_after,
    )


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an offer and its answer settled on, from the offerer's side."""

    host: str
    port: int
    form: Format
    # Keys: what we send is encrypted by `outgoing`, what arrives by `incoming`; both None = plain RTP.
    outgoing: sdes.Crypto | None
    incoming: sdes.Crypto | None
    # Announced by the answerer.
    ssrc: int | None
    rtcp_mux: bool


def agree(offer: AudioSdp, answered: AudioSdp) -> Agreed:
    """Check an answer against our offer of a two-way call; RemoteProtocolError names the flaw."""
    if answered.port == 0:
        raise RemoteProtocolError("the answer refuses the audio (port 0)")
    _check_reachable(answered)
    form = _agreed_format(offer, answered)
    outgoing, incoming = _agreed_keys(offer, answered)
    return Agreed(answered.host, answered.port, form, outgoing, incoming, answered.ssrc, answered.rtcp_mux)


def _check_reachable(answered: AudioSdp) -> None:
    if answered.direction != "sendrecv":
        raise RemoteProtocolError(f"the answer's audio is {answered.direction}; a call needs sendrecv")
    if answered.longest_packet_ms is not None and answered.longest_packet_ms < _PACKET_MS:
        most = answered.longest_packet_ms
        raise RemoteProtocolError(f"the answer takes packets of at most {most} ms (a=maxptime); ours hold {_PACKET_MS}")
    try:
        address = ipaddress.ip_address(answered.host)
    except ValueError:
        return
    if address.is_unspecified or address.is_multicast:
        what = "puts the call on hold" if address.is_unspecified else "is a multicast group"
        raise RemoteProtocolError(f"the answer's address {answered.host} {what}; a call needs one host")


def _agreed_format(offer: AudioSdp, answered: AudioSdp) -> Format:
    for form in answered.formats:
        mine = next((f for f in offer.formats if f.is_same_codec(form)), None)
        if mine is None:
            continue
        if mine.payload_type != form.payload_type:
            raise RemoteProtocolError(
                f"the answer gives {form.name} payload type {form.payload_type}; it was offered as {mine.payload_type}"
            )
        return form
    raise RemoteProtocolError(
        f"the answer has no offered codec: answered {spell(answered.formats)}; offered {spell(offer.formats)}"
    )


def _agreed_keys(offer: AudioSdp, answered: AudioSdp) -> tuple[sdes.Crypto | None, sdes.Crypto | None]:
    if not answered.crypto:
        if offer.is_secure or answered.is_secure:
            why = "; ".join(answered.unusable_crypto) or "it has no a=crypto line"
            raise RemoteProtocolError(f"the answer ({answered.profile}) has no key for SRTP: {why}")
        return None, None
    if not offer.crypto:
        raise RemoteProtocolError("the answer has an a=crypto line; the offer had none")
    if offer.is_secure and not answered.is_secure:
        raise RemoteProtocolError(f"the answer is {answered.profile}, the offer {offer.profile}; the two must be equal")
    return sdes.chosen_by_answer(offer.crypto, answered.crypto)


def spell(formats: Sequence[Format]) -> str:
    """Name formats for a message."""
    return ", ".join(f"{f.name}/{f.clock_rate}" for f in formats) or "none that is known"
