"""What one datagram becomes, from the kernel to the ear.

recvmmsg + kernel time --> STUN, DTLS: up to Python
                       --> whose call? --> impairment --> srtp_unprotect --> RTCP: reports, BYE
                                                                       --> RTP: sequence, loss, jitter --> ear --> onset
"""

from typing import Any

from harness.media.hot import native
from harness.media.hot.big_endian import get16, get32
from harness.media.hot.clock import monotonic_ns
from harness.media.hot.dtmf import take_event
from harness.media.hot.ear import EAR_BYTES, EAR_LINES, ear_packet
from harness.media.hot.gcm import NOT_OURS, fetch_stream, gcm_open
from harness.media.hot.impair import impair_decide, impair_report
from harness.media.hot.impaired import delay_datagram
from harness.media.hot.jit import compiled
from harness.media.hot.layout import (
    BATCH,
    CALL_BYTES,
    CONTROL_BYTES,
    DATAGRAM_BYTES,
    EPOLL_FD,
    HEARD_UNTIL_NS,
    HEARING_LINE,
    HEARING_LINES,
    MOST_READY,
    NAME_BYTES,
    OFFSET_NS,
    PORT_BYTES,
    READY,
    READY_AT_NS,
    READY_READ,
    RECEPTION_BYTES,
    RECEPTION_LINES,
    RTP_HEADER_BYTES,
    Counter,
    Event,
    Parcel,
)
from harness.media.hot.prefetch import AHEAD, fetch_row
from harness.media.hot.reception import DUPLICATE, count_packet
from harness.media.hot.relayed import media_length, media_start, stamp_of
from harness.media.hot.rtcp import take_report
from harness.media.hot.senders import address_key, find_call, ssrc_key
from harness.media.hot.tell import hand_up, publish_parcel, tell

_DONTWAIT = 0x40
# One port's share before the others and the next deadline are looked at.
_MOST_READS = 16
_HEADER_BYTES = 64
_SOL_SOCKET = 1
_SCM_TIMESTAMPNS = 35
_SO_RXQ_OVFL = 40
_NS = 1_000_000_000
COMFORT_NOISE = 13
# An RTCP head with its SSRC; no RTP packet is shorter.
_FEWEST_BYTES = 8


@compiled
def read_ports(media: Any, until_ns: int) -> None:
    """Read what has come: a port at least, then on until a time; the rest is read the next time, where this one ended.

    Reading late costs nothing, sending late does. HEARD_UNTIL_NS is what this comes to: how far all ports were read.
    """
    cells = media.cells
    if cells[READY_READ] < cells[READY]:
        # More had come than one time was enough for: what has come since is asked for when all of that is read.
        if not _read_ready(media, until_ns):
            return
        if monotonic_ns(media) >= until_ns:
            return
    cells[READY_AT_NS] = monotonic_ns(media)
    cells[READY] = max(0, native.epoll_wait(cells[EPOLL_FD], media.inbox.events.ctypes.data, MOST_READY, 0))
    cells[READY_READ] = 0
    _read_ready(media, until_ns)


@compiled
def _read_ready(media: Any, until_ns: int) -> bool:
    """Read the ports that were told until all are or it is time; True when all are."""
    cells, events = media.cells, media.inbox.events
    ready = cells[READY]
    i = cells[READY_READ]
    while i < ready:
        if i + 2 * AHEAD < ready:
            fetch_row(media.ports, PORT_BYTES, _ready_port(events, i + 2 * AHEAD), 0, 1)
        if i + AHEAD < ready:
            call = media.ports[_ready_port(events, i + AHEAD)].last_call
            fetch_row(media.calls, CALL_BYTES, call, HEARING_LINE, HEARING_LINES)
            _fetch(media, call)
        port = _ready_port(events, i)
        if _read_port(media, port, until_ns):
            media.ports[port].behind_since_ns = 0
        else:
            _leave_unread(media, port)
        i += 1
        if i < ready and monotonic_ns(media) >= until_ns:
            break
    cells[READY_READ] = i
    if i < ready:
        return False
    if ready < MOST_READY:
        cells[HEARD_UNTIL_NS] = cells[READY_AT_NS]
    return True


@compiled
def _leave_unread(media: Any, port: int) -> None:
    """Note that a port has more than is read at a time, so that nobody takes what is left for silence."""
    if media.ports[port].behind_since_ns == 0:
        media.ports[port].behind_since_ns = media.cells[HEARD_UNTIL_NS]


@compiled
def _ready_port(events: Any, place: int) -> int:
    return int(events[native.EPOLL_EVENT_WORDS * place + native.EPOLL_DATA_WORD])


@compiled
def _read_port(media: Any, port: int, until_ns: int) -> bool:
    """Read one port; True when it has no more."""
    if not media.ports[port].open:
        return True
    headers = media.inbox.headers
    for _ in range(_MOST_READS):
        count = native.recvmmsg(media.ports[port].fd, headers.ctypes.data, BATCH, _DONTWAIT, 0)
        if count <= 0:
            # Nothing left, or an ICMP error of an earlier send; the media watchdog decides when the peer is gone.
            return True
        media.counters[Counter.READS] += 1
        media.counters[Counter.DATAGRAMS] += count
        _find_calls(media, port, count)
        for slot in range(count):
            if slot + AHEAD < count:
                _fetch(media, media.inbox.calls[slot + AHEAD])
            _take_datagram(media, port, slot)
            headers[slot, 1] = NAME_BYTES
            headers[slot, 5] = CONTROL_BYTES
        if count < BATCH:
            return True
        if monotonic_ns(media) >= until_ns:
            return False
    return False


@compiled
def _find_calls(media: Any, port: int, count: int) -> None:
    """Tell whose each datagram is, by its sender's address or its source, and have the calls' rows fetched."""
    inbox = media.inbox
    for slot in range(count):
        call = find_call(media, address_key(port, inbox.names[slot]))
        if call < 0:
            call = _by_source(media, port, inbox.data[slot], _length(media, slot))
        inbox.calls[slot] = call
        if call >= 0:
            fetch_row(media.calls, CALL_BYTES, call, HEARING_LINE, HEARING_LINES)
            media.ports[port].last_call = call
    for slot in range(min(AHEAD, count)):
        _fetch(media, inbox.calls[slot])


@compiled
def _fetch(media: Any, call: int) -> None:
    """Have what hearing a datagram of a call touches fetched; its own row has been. -1 is no call's."""
    if call < 0:
        return
    fetch_row(media.receptions, RECEPTION_BYTES, call, 0, RECEPTION_LINES)
    fetch_row(media.ears, EAR_BYTES, call, 0, EAR_LINES)
    fetch_stream(media.gcm, 2 * call + 1)


@compiled
def _length(media: Any, slot: int) -> int:
    return int(media.inbox.headers[slot, 7]) & 0xFFFFFFFF


@compiled
def _arrival(media: Any, port: int, slot: int) -> int:
    """Return when the kernel had the datagram; notes the port's drop count on the way."""
    words = media.inbox.control[slot]
    left = media.inbox.headers[slot, 5]
    at = 0
    arrived_at_ns = 0
    while left >= 16:
        length = words[at]
        level = words[at + 1] & 0xFFFFFFFF
        kind = words[at + 1] >> 32
        if length < 16 or length > left:
            break
        if level == _SOL_SOCKET and kind == _SCM_TIMESTAMPNS:
            arrived_at_ns = words[at + 2] * _NS + words[at + 3] - media.cells[OFFSET_NS]
        elif level == _SOL_SOCKET and kind == _SO_RXQ_OVFL:
            media.ports[port].drops = words[at + 2] & 0xFFFFFFFF
        padded = (length + 7) & ~7
        at += padded >> 3
        left -= padded
    return arrived_at_ns if arrived_at_ns != 0 else monotonic_ns(media)


@compiled
def _take_datagram(media: Any, port: int, slot: int) -> None:
    at_ns = _arrival(media, port, slot)
    length = _length(media, slot)
    data = media.inbox.data[slot]
    call = int(media.inbox.calls[slot])
    is_media = _is_media(data, length)
    if not is_media and call >= 0 and media.calls[call].channel != 0:
        start = media_start(int(media.calls[call].channel), data, length)
        if start > 0:
            is_media = True
            at_ns = stamp_of(data) if media.calls[call].channel < 0 else at_ns
            length = media_length(data)
            address = media.inbox.data.ctypes.data + DATAGRAM_BYTES * slot
            native.memcpy(address, address + start, length)
    if is_media:
        if call >= 0 and length < _FEWEST_BYTES:
            media.calls[call].last_heard_ns = at_ns
            media.calls[call].bad_packets += 1
            return
        if call >= 0:
            _through_the_network(media, call, slot, length, at_ns)
            return
        media.counters[Counter.UNKNOWN_SOURCE] += 1
        if not media.ports[port].tells_unknown:
            return
    if call >= 0:
        media.calls[call].last_heard_ns = at_ns
    source = media.inbox.data.ctypes.data + DATAGRAM_BYTES * slot
    row = hand_up(media, Parcel.DATAGRAM, call, port, at_ns, 0, source, length)
    if row >= 0:
        name_length = media.inbox.headers[slot, 1] & 0xFFFFFFFF
        for i in range(NAME_BYTES):
            media.parcels.names[row, i] = media.inbox.names[slot, i]
        media.parcels.rows[row].name_length = name_length
        publish_parcel(media)


@compiled
def _is_media(data: Any, length: int) -> bool:
    """RFC 7983: a first byte of 128..191 is RTP or RTCP."""
    return bool(length > 0 and 128 <= data[0] <= 191)


@compiled
def _by_source(media: Any, port: int, data: Any, length: int) -> int:
    """Return the call of an RTP or RTCP datagram from an unknown address, by its SSRC or as the port's only call."""
    if not _is_media(data, length):
        return -1
    at = 4 if 192 <= data[1] <= 223 else 8
    call = find_call(media, ssrc_key(port, get32(data, at))) if length >= at + 4 else -1
    return int(call if call >= 0 else media.ports[port].any_source_call)


@compiled
def _through_the_network(media: Any, call: int, slot: int, length: int, at_ns: int) -> None:
    """Let the emulated network have the datagram first; what it keeps comes back when due."""
    address = media.inbox.data.ctypes.data + DATAGRAM_BYTES * slot
    if not media.calls[call].impaired_in:
        take_media(media, call, media.inbox.data[slot], address, length, at_ns)
        return
    impair = media.impair_in[call]
    delay_ns = 0
    if 192 <= media.inbox.data[slot, 1] <= 223:
        delay_ns = impair_report(impair, at_ns, length)
    else:
        delay_ns = impair_decide(impair, at_ns, length)
        if impair.copy:
            delay_datagram(media, call, False, at_ns, impair.copy_delay_ns, address, length)
    if delay_ns > 0:
        delay_datagram(media, call, False, at_ns, delay_ns, address, length)
    elif delay_ns == 0:
        take_media(media, call, media.inbox.data[slot], address, length, at_ns)


@compiled
def take_media(media: Any, index: int, data: Any, address: int, length: int, at_ns: int) -> None:
    """Take one RTP or RTCP datagram of a call, protected or not; a malformed or forged one changes nothing."""
    call = media.calls[index]
    # What the emulated network ate was not heard.
    call.last_heard_ns = at_ns
    # RFC 5761: RTCP has types 192..223 in the second byte.
    is_rtcp = 192 <= data[1] <= 223
    if call.srtp_in != 0:
        length = _unprotect(media, index, data, address, length, is_rtcp)
    if length < 0 or (is_rtcp and not take_report(media, index, data, length, at_ns)):
        call.bad_packets += 1
    elif not is_rtcp:
        _take_rtp(media, index, data, address, length, at_ns)


@compiled
def _unprotect(media: Any, index: int, data: Any, address: int, length: int, is_rtcp: bool) -> int:
    """Return the plain length, -1 when authentication fails."""
    call = media.calls[index]
    if not is_rtcp and media.gcm.streams[2 * index + 1].bits != 0:
        start = _payload_start(data, length)
        opened = -1 if start < 0 else gcm_open(media.gcm, 2 * index + 1, data, address, start, length)
        if opened != NOT_OURS:
            return int(opened)
    box = media.inbox.length
    box[0] = length
    if is_rtcp:
        status = native.srtp_unprotect_rtcp(call.srtp_in, address, box.ctypes.data)
    else:
        status = native.srtp_unprotect(call.srtp_in, address, box.ctypes.data)
    return -1 if status != 0 else int(box[0])


@compiled
def _take_rtp(media: Any, index: int, data: Any, address: int, length: int, at_ns: int) -> None:
    call = media.calls[index]
    start = _payload_start(data, length)
    end = length
    if start >= 0 and data[0] & 0x20:
        padding = int(data[length - 1])
        end = length - padding
        if padding == 0 or end < start:
            start = -1
    if start < 0:
        call.bad_packets += 1
        return
    payload_type = int(data[1]) & 0x7F
    is_noise = payload_type == COMFORT_NOISE and call.clock_rate == 8000
    if payload_type != call.heard_type and not is_noise:
        if payload_type == media.asides[index].events_in:
            take_event(media, index, data, start, end, at_ns)
        return
    timestamp = get32(data, 4)
    extended = count_packet(media.receptions[index], get32(data, 8), get16(data, 2), timestamp, at_ns, call.clock_rate)
    if extended == DUPLICATE:
        return
    call.packets_received += 1
    if call.record and not is_noise:
        _record(media, index, address + start, end - start, timestamp, at_ns)
    onset_ns = ear_packet(
        media.ears[index], data, start, end - start, is_noise, extended, timestamp, at_ns, media.scratch
    )
    if onset_ns != 0:
        tell(media, Event.AGENT_ONSET, index, onset_ns, media.ears[index].decided_at_ns)


@compiled
def _payload_start(data: Any, length: int) -> int:
    """Return where the payload begins behind CSRCs and extension, -1 when the header is malformed."""
    if length < RTP_HEADER_BYTES or data[0] >> 6 != 2:
        return -1
    start = RTP_HEADER_BYTES + 4 * (int(data[0]) & 0x0F)
    if data[0] & 0x10:
        if length < start + 4:
            return -1
        start += 4 + 4 * get16(data, start + 2)
    return start if start <= length else -1


@compiled
def _record(media: Any, index: int, source: int, length: int, timestamp: int, at_ns: int) -> None:
    if hand_up(media, Parcel.AGENT_AUDIO, index, 0, at_ns, timestamp, source, length) >= 0:
        publish_parcel(media)
