"""A call's packet of one 20 ms tick: payload, RTP header, SRTP, impairment, batch.

clip, background or silence --> RTP header --> srtp_protect --> impairment --> batch --> sendmmsg
"""

from typing import Any

from harness.media.hot import native
from harness.media.hot.batch import (
    CLIP_STARTED,
    FIRST_VOICED,
    LAST_VOICED,
    commit_slot,
    note_tick,
    open_slot,
    slot_address,
    tell_moments,
)
from harness.media.hot.big_endian import put16, put32
from harness.media.hot.clock import monotonic_ns
from harness.media.hot.gcm import gcm_seal
from harness.media.hot.impair import impair_decide
from harness.media.hot.impaired import delay_datagram
from harness.media.hot.jit import compiled
from harness.media.hot.layout import RTP_HEADER_BYTES

# `next_clip` of a call: nothing was asked.
NO_CHANGE = -2
NOTHING = -1


@compiled
def send_tick(media: Any, index: int, now_ns: int, due_ns: int) -> None:
    """Send the call's packet of this tick, or nothing while a call that uses DTX is silent."""
    call = media.calls[index]
    if call.next_clip != NO_CHANGE and now_ns >= call.next_clip_at_ns:
        call.clip = call.next_clip
        call.position = 0
        call.next_clip = NO_CHANGE
    clip = call.clip
    marks = 0
    if clip >= 0:
        marks = _clip_marks(media.clips[clip], call.position)
    packet = _next_packet(media, call)
    if packet == NOTHING:
        call.was_quiet = 1
        note_tick(media, now_ns - due_ns)
    else:
        _send_packet(media, index, packet, marks, clip, due_ns)
    call.timestamp = (call.timestamp + call.ticks_per_packet) & 0xFFFFFFFF


@compiled
def _clip_marks(clip: Any, position: int) -> int:
    marks = 0
    if position == 0:
        marks |= CLIP_STARTED
    if position == clip.first_voiced:
        marks |= FIRST_VOICED
    if position == clip.last_voiced:
        marks |= LAST_VOICED
    return marks


@compiled
def _next_packet(media: Any, call: Any) -> int:
    """Return the row of the payload that is due, NOTHING in DTX; moves the positions on."""
    if call.clip >= 0:
        clip = media.clips[call.clip]
        packet = clip.first_packet + call.position
        call.position += 1
        if call.position >= clip.packets:
            call.clip = NOTHING
        return packet
    if call.dtx:
        return NOTHING
    if call.background >= 0:
        clip = media.clips[call.background]
        packet = clip.first_packet + call.background_position
        call.background_position = (call.background_position + 1) % clip.packets
        return packet
    return call.silence_packet


@compiled
def _send_packet(media: Any, index: int, packet: int, marks: int, clip: int, due_ns: int) -> None:
    call = media.calls[index]
    slot = open_slot(media, call.port, due_ns)
    data = media.batch.data[slot]
    # The marker bit opens a talkspurt (RFC 3551 4.1).
    is_talkspurt = (marks & CLIP_STARTED) != 0 or call.was_quiet != 0
    call.was_quiet = 0
    data[0] = 0x80
    data[1] = call.payload_type | (0x80 if is_talkspurt else 0)
    put16(data, 2, call.sequence)
    put32(data, 4, call.timestamp)
    put32(data, 8, call.ssrc)
    call.sequence = (call.sequence + 1) & 0xFFFF
    octets = int(media.packets[packet, 1])
    address = slot_address(media, slot)
    native.memcpy(address + RTP_HEADER_BYTES, media.packets[packet, 0], octets)
    length = RTP_HEADER_BYTES + octets
    if call.srtp_out != 0:
        length = _protect(media, index, slot, address, length)
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
    if delay_ns == 0:
        commit_slot(media, index, length, octets, marks, clip)
    else:
        if delay_ns > 0:
            delay_datagram(media, index, True, now_ns, delay_ns, slot_address(media, slot), length)
        call.packets_sent += 1
        call.octets_sent += octets
        note_tick(media, now_ns - due_ns)
        tell_moments(media, index, marks, clip, now_ns)
    if media.impair_out[index].copy:
        delay_datagram(
            media, index, True, now_ns, media.impair_out[index].copy_delay_ns, slot_address(media, slot), length
        )
