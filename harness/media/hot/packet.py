"""A call's RTP packet from its header to the batch: what outgoing.py (audio) and dtmf.py (telephone events) share.

RTP header --> payload --> SRTP --> impairment --> batch
"""

from typing import Any

from harness.media.hot import native
from harness.media.hot.batch import commit_slot, note_tick, open_slot, slot_address, tell_moments
from harness.media.hot.big_endian import put16, put32
from harness.media.hot.clock import monotonic_ns
from harness.media.hot.gcm import gcm_seal
from harness.media.hot.impair import impair_decide
from harness.media.hot.impaired import delay_datagram
from harness.media.hot.jit import compiled
from harness.media.hot.layout import RTP_HEADER_BYTES

NOTHING = -1


@compiled
def begin_packet(media: Any, call: Any, payload_type: int, is_marked: bool, timestamp: int, due_ns: int) -> int:
    """Write the header of the call's next packet; return its slot."""
    slot = open_slot(media, call.port, due_ns)
    data = media.batch.data[slot]
    data[0] = 0x80
    data[1] = payload_type | (0x80 if is_marked else 0)
    put16(data, 2, call.sequence)
    put32(data, 4, timestamp)
    put32(data, 8, call.ssrc)
    call.sequence = (call.sequence + 1) & 0xFFFF
    return int(slot)


@compiled
def finish_packet(media: Any, index: int, slot: int, octets: int, marks: int, clip: int, due_ns: int) -> None:
    """Send the packet of a slot, `octets` of payload behind its header."""
    call = media.calls[index]
    length = RTP_HEADER_BYTES + octets
    if call.srtp_out != 0:
        length = _protect(media, index, slot, slot_address(media, slot), length)
    if length < 0:
        # As a datagram that the kernel refuses: lost, but its moment has come.
        call.send_errors += 1
        now_ns = monotonic_ns(media)
        note_tick(media, now_ns - due_ns)
        tell_moments(media, index, marks, clip, now_ns)
        return
    if call.impaired_out:
        _impair(media, index, slot, length, octets, marks, clip, due_ns)
    else:
        commit_slot(media, index, length, octets, marks, clip)


@compiled
def quiet_packet(media: Any, call: Any) -> int:
    """Return the row of the payload that is due while nothing is spoken, NOTHING in DTX; moves the background on."""
    if call.background >= 0:
        clip = media.clips[call.background]
        packet = clip.first_packet + call.background_position
        call.background_position = (call.background_position + 1) % clip.packets
        return packet
    return call.silence_packet


@compiled
def send_payload(media: Any, index: int, packet: int, marks: int, is_marked: bool, clip: int, due_ns: int) -> None:
    """Send the payload of a row of `packets`."""
    call = media.calls[index]
    # The marker bit opens a talkspurt (RFC 3551 4.1).
    is_talkspurt = is_marked or call.was_quiet != 0
    call.was_quiet = 0
    slot = begin_packet(media, call, call.payload_type, is_talkspurt, call.timestamp, due_ns)
    octets = int(media.packets[packet, 1])
    native.memcpy(slot_address(media, slot) + RTP_HEADER_BYTES, media.packets[packet, 0], octets)
    finish_packet(media, index, slot, octets, marks, clip, due_ns)


@compiled
def skip_packet(media: Any, call: Any, now_ns: int, due_ns: int) -> None:
    """Send nothing at this tick."""
    call.was_quiet = 1
    note_tick(media, now_ns - due_ns)


@compiled
def _protect(media: Any, index: int, slot: int, address: int, length: int) -> int:
    """Protect in place; return the new length, -1 when libsrtp or OpenSSL refuses."""
    if media.gcm.streams[2 * index].bits != 0:
        return int(gcm_seal(media.gcm, 2 * index, media.batch.data[slot], address, RTP_HEADER_BYTES, length))
    call = media.calls[index]
    lengths = media.batch.lengths
    lengths[slot] = length
    if native.srtp_protect(call.srtp_out, address, lengths.ctypes.data + 4 * slot) != 0:
        return -1
    return int(lengths[slot])


@compiled
def _impair(media: Any, index: int, slot: int, length: int, octets: int, marks: int, clip: int, due_ns: int) -> None:
    """Let the emulated network have the datagram; for the caller it has left now."""
    call = media.calls[index]
    now_ns = monotonic_ns(media)
    delay_ns = impair_decide(media.impair_out[index], now_ns, length)
    address = slot_address(media, slot)
    if delay_ns > 0:
        delay_datagram(media, index, True, now_ns, delay_ns, address, length)
    # Before what leaves now gets a relay's header.
    if media.impair_out[index].copy:
        delay_datagram(media, index, True, now_ns, media.impair_out[index].copy_delay_ns, address, length)
    if delay_ns == 0:
        commit_slot(media, index, length, octets, marks, clip)
    else:
        call.packets_sent += 1
        call.octets_sent += octets
        note_tick(media, now_ns - due_ns)
        tell_moments(media, index, marks, clip, now_ns)
