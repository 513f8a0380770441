"""RTCP of the loop's calls (RFC 3550 section 6): one report a second each way, round trip, BYE.

The tests hold these packets against a second, plain implementation (tests/harness/media/reference_rtcp.py).
"""

from typing import Any

from harness.media.hot import native
from harness.media.hot.batch import commit_report, open_report, slot_address
from harness.media.hot.big_endian import get16, get32, put16, put32
from harness.media.hot.impair import impair_report
from harness.media.hot.impaired import delay_datagram
from harness.media.hot.jit import compiled
from harness.media.hot.layout import OFFSET_NS, Event
from harness.media.hot.reception import FIRST_CYCLE, fraction_lost, packets_lost
from harness.media.hot.tell import tell

SR, RR, SDES, BYE = 200, 201, 202, 203
_NS = 1_000_000_000
_NTP_UNIX_OFFSET_S = 2_208_988_800
_BLOCK_BYTES = 24


@compiled
def send_report(media: Any, index: int, now_ns: int, due_ns: int) -> None:
    """Send SR (with one report block once the agent is heard) and SDES CNAME as one compound packet."""
    call = media.calls[index]
    slot = open_report(media, index, due_ns)
    data = media.batch.data[slot]
    reception = media.receptions[index]
    blocks = 1 if reception.started else 0
    _put_head(data, 0, blocks, SR, 6 + 6 * blocks)
    put32(data, 4, call.ssrc)
    unix_ns = now_ns + media.cells[OFFSET_NS]
    put32(data, 8, (unix_ns // _NS + _NTP_UNIX_OFFSET_S) & 0xFFFFFFFF)
    put32(data, 12, ((unix_ns % _NS) << 32) // _NS)
    put32(data, 16, call.timestamp)
    put32(data, 20, call.packets_sent & 0xFFFFFFFF)
    put32(data, 24, call.octets_sent & 0xFFFFFFFF)
    end = 28
    if blocks:
        _put_block(data, end, call, reception, now_ns)
        end += _BLOCK_BYTES
    end = _put_cname(data, end, call)
    length = _protect(media, call, slot, end)
    if call.impaired_out:
        _impair(media, index, slot, length, now_ns)
    elif length > 0:
        commit_report(media, index, length)


@compiled
def _impair(media: Any, index: int, slot: int, length: int, now_ns: int) -> None:
    """Let the emulated network have the report."""
    delay_ns = impair_report(media.impair_out[index], now_ns, length)
    if delay_ns == 0 and length > 0:
        commit_report(media, index, length)
    elif delay_ns > 0 and length > 0:
        delay_datagram(media, index, True, now_ns, delay_ns, slot_address(media, slot), length)


@compiled
def send_bye(media: Any, index: int, due_ns: int) -> None:
    """Send an empty RR and BYE, past any impairment: the call's packets in the delay line are gone when it ends."""
    call = media.calls[index]
    slot = open_report(media, index, due_ns)
    data = media.batch.data[slot]
    _put_head(data, 0, 0, RR, 1)
    put32(data, 4, call.ssrc)
    _put_head(data, 8, 1, BYE, 1)
    put32(data, 12, call.ssrc)
    length = _protect(media, call, slot, 16)
    if length > 0:
        commit_report(media, index, length)


@compiled
def _protect(media: Any, call: Any, slot: int, length: int) -> int:
    """Protect in place where the call has keys; return the new length, -1 when libsrtp refuses."""
    if call.srtp_out == 0:
        return length
    lengths = media.batch.lengths
    lengths[slot] = length
    if native.srtp_protect_rtcp(call.srtp_out, slot_address(media, slot), lengths.ctypes.data + 4 * slot) != 0:
        call.send_errors += 1
        return -1
    return int(lengths[slot])


@compiled
def _put_head(data: Any, at: int, count: int, kind: int, words: int) -> None:
    data[at] = 0x80 | count
    data[at + 1] = kind
    put16(data, at + 2, words)


@compiled
def _put_block(data: Any, at: int, call: Any, reception: Any, now_ns: int) -> None:
    put32(data, at, reception.ssrc)
    lost = min(0x7FFFFF, packets_lost(reception))
    put32(data, at + 4, (fraction_lost(reception) << 24) | lost)
    put32(data, at + 8, (reception.highest - FIRST_CYCLE) & 0xFFFFFFFF)
    put32(data, at + 12, int(reception.jitter) & 0xFFFFFFFF)
    put32(data, at + 16, call.remote_sr)
    delay = 0
    if call.remote_sr != 0:
        delay = (now_ns - call.remote_sr_at_ns) * 65536 // _NS
    put32(data, at + 20, delay & 0xFFFFFFFF)


@compiled
def _put_cname(data: Any, at: int, call: Any) -> int:
    """Write an SDES chunk; return where it ends."""
    length = call.cname_length
    item = at + 8
    data[item] = 1
    data[item + 1] = length
    for i in range(length):
        data[item + 2 + i] = call.cname[i]
    end = item + 2 + length
    # At least one zero ends the items, and the chunk fills whole words.
    padded = at + 4 + ((4 + 2 + length + 1 + 3) // 4) * 4
    for i in range(end, padded):
        data[i] = 0
    _put_head(data, at, 1, SDES, (padded - at) // 4 - 1)
    put32(data, at + 4, call.ssrc)
    return padded


@compiled
def take_report(media: Any, index: int, data: Any, length: int, at_ns: int) -> bool:
    """Take a plain compound packet; False when any of it is malformed, which then changes nothing."""
    if not _is_well_formed(data, length):
        return False
    at = 0
    while at < length:
        _take_one(media, index, data, at, at_ns)
        at += 4 + 4 * get16(data, at + 2)
    return True


@compiled
def _is_well_formed(data: Any, length: int) -> bool:
    at = 0
    while at + 4 <= length:
        body_bytes = 4 * get16(data, at + 2)
        if (data[at] >> 6) != 2 or at + 4 + body_bytes > length:
            return False
        if body_bytes < _fewest_bytes(int(data[at + 1]), int(data[at]) & 0x1F):
            return False
        at += 4 + body_bytes
    return at == length


@compiled
def _fewest_bytes(kind: int, count: int) -> int:
    """Return the bytes that the body of one packet must have for what its head counts."""
    if kind == SR:
        return 24 + _BLOCK_BYTES * count
    if kind == RR:
        return 4 + _BLOCK_BYTES * count
    return 4 * count if kind == BYE else 0


@compiled
def _take_one(media: Any, index: int, data: Any, at: int, at_ns: int) -> None:
    call = media.calls[index]
    kind = data[at + 1]
    count = int(data[at]) & 0x1F
    body = at + 4
    if kind == BYE:
        tell(media, Event.REMOTE_BYE, index, at_ns, 0)
    elif kind == SR:
        # The middle 32 bits of the 64-bit NTP time.
        call.remote_sr = get32(data, body + 6)
        call.remote_sr_at_ns = at_ns
        _take_blocks(media, call, data, body + 24, count, at_ns)
    elif kind == RR:
        _take_blocks(media, call, data, body + 4, count, at_ns)


@compiled
def _take_blocks(media: Any, call: Any, data: Any, at: int, count: int, at_ns: int) -> None:
    for _ in range(count):
        if get32(data, at) == call.ssrc:
            _take_round_trip(media, call, get32(data, at + 16), get32(data, at + 20), at_ns)
        at += _BLOCK_BYTES


@compiled
def _take_round_trip(media: Any, call: Any, last_sr: int, delay: int, at_ns: int) -> None:
    if last_sr == 0:
        return
    unix_ns = at_ns + media.cells[OFFSET_NS]
    seconds = (unix_ns // _NS + _NTP_UNIX_OFFSET_S) & 0xFFFF
    middle = (seconds << 16) | ((((unix_ns % _NS) << 32) // _NS) >> 16)
    units = (middle - last_sr - delay) & 0xFFFFFFFF
    # Rounding of 1/65536 s may take a loopback round trip just below zero.
    if units >= 0x80000000:
        units = 0
    # Never 0, which stands for "not known".
    call.round_trip_ns = max(1, units * _NS // 65536)
