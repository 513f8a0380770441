"""What an SDP offer and its answer settle on for one audio stream (RFC 3264, with RFC 4568 for keys).

audio_session.py keeps these rules over a whole dialog: re-offers, hold, the state to go back to.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.model.errors import RemoteProtocolError
from harness.protocols import dtmf, sdes
from harness.protocols.audio_sdp import COMFORT_NOISE, AudioSdp, Format

# Of our packets, always: a=ptime is a wish (RFC 8866 6.4), a=maxptime is not.
PACKET_MS = 20
# By (its writer sends, its writer receives).
_DIRECTIONS = {
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}


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
    # Takes telephone events, comfort noise, where they are offered.
    events: bool = False
    comfort_noise: bool = False
    rtcp_mux: bool = True
    # What the answerer wants; it gets no more than what is offered.
    direction: str = "sendrecv"


def sends(direction: str) -> bool:
    """Tell whether who writes `direction` sends."""
    return direction in ("sendrecv", "sendonly")


def receives(direction: str) -> bool:
    """Tell whether who writes `direction` receives."""
    return direction in ("sendrecv", "recvonly")


def is_unspecified(host: str) -> bool:
    """Tell whether an address is 0.0.0.0 or ::, by which some put a call on hold (RFC 3264 8.4)."""
    address = _numeric(host)
    return address is not None and address.is_unspecified


def _numeric(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _receives(sdp: AudioSdp) -> bool:
    return receives(sdp.direction) and not is_unspecified(sdp.host)


# --- answering -----------------------------------------------------------------------------------------------------


def answer(offer: AudioSdp, ours: Answerer) -> AudioSdp:
    """Return the answer to `offer`: its first codec that we have, its payload types, its profile (RFC 3264 6).

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
    is_muxed = offer.rtcp_mux and ours.rtcp_mux
    return AudioSdp(
        host=ours.host,
        port=ours.port,
        formats=(replace(mine, payload_type=theirs.payload_type), *_extras(offer, ours, mine)),
        profile=offer.profile,
        crypto=() if taken is None else (sdes.Crypto(taken.tag, taken.suite, ours.new_material(taken.suite)),),
        direction=_DIRECTIONS[
            sends(ours.direction) and _receives(offer), receives(ours.direction) and sends(offer.direction)
        ],
        ptime_ms=PACKET_MS,
        rtcp_mux=is_muxed,
        ssrc=ours.ssrc,
        cname=ours.cname,
        session_id=ours.session_id,
        media_before=offer.media_before,
        media_after=offer.media_after,
    )


def _extras(offer: AudioSdp, ours: Answerer, codec: Format) -> list[Format]:
    """Return what stands beside the codec in an answer, under the offer's numbers."""
    found = []
    events = events_beside(codec, offer.formats) if ours.events else None
    if events is not None:
        found.append(replace(events, parameters=dtmf.DIGIT_EVENTS))
    if ours.comfort_noise and codec.clock_rate == COMFORT_NOISE.clock_rate:
        found += [f for f in offer.formats if f.is_same_codec(COMFORT_NOISE)][:1]
    return found


def events_beside(codec: Format, formats: Sequence[Format]) -> Format | None:
    """Return the telephone events on the codec's own clock (RFC 4733 2.1), the only ones that fit into its stream."""
    return next((f for f in formats if f.name.lower() == dtmf.NAME and f.clock_rate == codec.clock_rate), None)


# --- agreeing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an offer and its answer settled on, from one side."""

    # Where we send: the peer's.
    host: str
    port: int
    # The codec, under the number that we send it with: the peer's (RFC 3264 5.1).
    form: Format
    # Keys: what we send is encrypted by `outgoing`, what arrives by `incoming`; both None = plain RTP.
    outgoing: sdes.Crypto | None
    incoming: sdes.Crypto | None
    # Announced by the peer.
    ssrc: int | None
    rtcp_mux: bool
    # The number that the peer sends the codec with: ours.
    heard_payload_type: int
    # Numbers of telephone events, as we send them and as the peer does; None = they are not spoken.
    events_out: int | None = None
    events_in: int | None = None
    # Where RTCP goes when it has a port of its own.
    rtcp: tuple[str, int] | None = None
    # Whether audio flows, each way; one that does not is on hold.
    sends: bool = True
    hears: bool = True
    # The packet length that the peer wishes for.
    ptime_ms: int = PACKET_MS


def agree(offer: AudioSdp, answered: AudioSdp) -> Agreed:
    """Check an answer against our offer of a two-way call; RemoteProtocolError names the flaw."""
    agreed = as_offerer(offer, answered)
    if answered.direction != "sendrecv":
        raise RemoteProtocolError(f"the answer's audio is {answered.direction}; a call needs sendrecv")
    if is_unspecified(answered.host):
        raise RemoteProtocolError(f"the answer's address {answered.host} puts the call on hold; a call needs one host")
    if agreed.form.payload_type != agreed.heard_payload_type:
        form, offered = agreed.form, agreed.heard_payload_type
        raise RemoteProtocolError(
            f"the answer gives {form.name} payload type {form.payload_type}; it was offered as {offered}"
        )
    return agreed


def as_offerer(offer: AudioSdp, answered: AudioSdp) -> Agreed:
    """Return what holds for us who made `offer`; either side may hold. RemoteProtocolError names the flaw."""
    if answered.port == 0:
        raise RemoteProtocolError("the answer refuses the audio (port 0)")
    _check_usable("answer", answered)
    theirs, mine = _agreed_format(offer, answered)
    outgoing, incoming = _agreed_keys(offer, answered)
    return _settled(offer, answered, theirs, mine, outgoing, incoming)


def as_answerer(offer: AudioSdp, answered: AudioSdp) -> Agreed:
    """Return what holds for us who gave the answer `answered`. RemoteProtocolError where the offer cannot be used."""
    _check_usable("offer", offer)
    mine = answered.formats[0]
    theirs = next(f for f in offer.formats if f.is_same_codec(mine))
    outgoing = answered.crypto[0] if answered.crypto else None
    incoming = None if outgoing is None else next(c for c in offer.crypto if c.tag == outgoing.tag)
    return _settled(answered, offer, theirs, mine, outgoing, incoming)


def _settled(
    ours: AudioSdp,
    theirs: AudioSdp,
    form: Format,
    heard: Format,
    outgoing: sdes.Crypto | None,
    incoming: sdes.Crypto | None,
) -> Agreed:
    """Return what two descriptions settle on; `form` is the codec as theirs numbers it, `heard` as ours does."""
    events_out, events_in = events_beside(form, theirs.formats), events_beside(heard, ours.formats)
    has_events = events_out is not None and events_in is not None
    is_muxed = ours.rtcp_mux and theirs.rtcp_mux
    rtcp_port = min(theirs.port + 1, 65_535) if theirs.rtcp_port is None else theirs.rtcp_port
    return Agreed(
        host=theirs.host,
        port=theirs.port,
        form=form,
        outgoing=outgoing,
        incoming=incoming,
        ssrc=theirs.ssrc,
        rtcp_mux=is_muxed,
        heard_payload_type=heard.payload_type,
        events_out=events_out.payload_type if has_events and events_out is not None else None,
        events_in=events_in.payload_type if has_events and events_in is not None else None,
        rtcp=None if is_muxed else (theirs.rtcp_host or theirs.host, rtcp_port),
        sends=sends(ours.direction) and _receives(theirs),
        hears=receives(ours.direction) and sends(theirs.direction),
        ptime_ms=theirs.ptime_ms or PACKET_MS,
    )


def _check_usable(what: str, sdp: AudioSdp) -> None:
    if sdp.longest_packet_ms is not None and sdp.longest_packet_ms < PACKET_MS:
        most = sdp.longest_packet_ms
        raise RemoteProtocolError(f"the {what} takes packets of at most {most} ms (a=maxptime); ours hold {PACKET_MS}")
    address = _numeric(sdp.host)
    if address is not None and address.is_multicast:
        raise RemoteProtocolError(f"the {what}'s address {sdp.host} is a multicast group; a call needs one host")


def _agreed_format(offer: AudioSdp, answered: AudioSdp) -> tuple[Format, Format]:
    """Return the answer's first codec that was offered, as the answer and as the offer number it."""
    for form in answered.formats:
        mine = next((f for f in offer.formats if f.is_same_codec(form)), None)
        if mine is not None and not _is_extra(form):
            return form, mine
    raise RemoteProtocolError(
        f"the answer has no offered codec: answered {spell(answered.formats)}; offered {spell(offer.formats)}"
    )


def _is_extra(form: Format) -> bool:
    return form.name.lower() in (dtmf.NAME, "cn")


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
