"""The tables that the media loop works on, one row a call, port or clip, and the buffers it sends from and reads into.

Python fills a row before it hands it over by a command and does not write to it afterwards; counters may be read at
any time. Addresses are memory addresses, times CLOCK_MONOTONIC ns, unless a name says otherwise.
"""

import enum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.media.hot import rings, seen
from harness.media.hot.ear import EAR, make_ear_scratch
from harness.media.hot.gcm import new_gcm
from harness.media.hot.impair import IMPAIR, new_delay_line
from harness.media.hot.jit import address_of, make_table, whole_lines
from harness.media.hot.rare import ASIDE, REDIRECT
from harness.media.hot.tables import bundle

TICK_NS = 20_000_000
PHASES = 16
PHASE_NS = TICK_NS // PHASES
RTCP_INTERVAL_NS = 1_000_000_000
# Python is woken at most this often for what can wait: all it is told has its own time.
BELL_INTERVAL_NS = 20_000_000
# Datagrams of one system call.
BATCH = 64
# Ports that are told at once to have something: as many as there may be, for one that is not told counts as unread.
MOST_READY = 8192
DATAGRAM_BYTES = 2048
CONTROL_BYTES = 128
RTP_HEADER_BYTES = 12
NAME_BYTES = rings.NAME_BYTES
# How many sequence numbers back a duplicate is known.
SEEN = 128
LATENESS_BUCKETS = 1600
LATENESS_ZERO = 400
# Changes of networks that may wait for the loop at once.
STAGED = 256


class Command(enum.IntEnum):
    """What Python asks of the loop."""

    STOP = 1
    ADD_CALL = 2
    REMOVE_CALL = 3
    # Of no clip: fall silent.
    PLAY = 4
    AWAIT = 5
    REMOVE_PORT = 6
    DIGIT = 7
    # To send or not, to be watched or not.
    DIRECT = 8
    REDIRECT = 9
    HEAR_ANEW = 10
    # To go through another network from now on, in one direction.
    IMPAIR = 11
    # To tell the packets heard, as for a recording, or no more.
    TAP = 12


class Event(enum.IntEnum):
    """What the loop tells Python."""

    SPEECH_STARTED = 1
    SPEECH_ENDED = 2
    AGENT_ONSET = 3
    AGENT_STOPPED = 4
    MEDIA_LOST = 5
    REMOTE_BYE = 6
    CLIP_STARTED = 7
    CALL_REMOVED = 8
    PORT_REMOVED = 9
    DIGIT_SENT = 10
    DIGIT_HEARD = 11
    DIGIT_ENDED = 12
    REDIRECTED = 13


class Parcel(enum.IntEnum):
    """What a parcel holds."""

    DATAGRAM = 1
    AGENT_AUDIO = 2


class Counter(enum.IntEnum):
    """Cells of the loop's counters; all only ever grow, but for the step."""

    TICKS = 0
    EVENTS_LOST = 1
    PARCELS_LOST = 2
    CLOCK_STEP_NS = 3
    LATENESS_MAX_NS = 4
    UNKNOWN_SOURCE = 5
    WAKEUPS = 6
    READS = 7
    DATAGRAMS = 8
    SEGMENTED = 9
    LINE_FULL = 10


# Cells of the loop's own state.
OFFSET_NS, NEXT_OFFSET_NS, NEXT_PHASE, EVENT_FD, EPOLL_FD, TOLD, NEXT_BELL_NS, HEARD_UNTIL_NS = range(8)
# The ports that were told last to have something: how many, how many of them were read since, and when they were told.
READY, READY_READ, READY_AT_NS = range(8, 11)
# When the loop last slept.
RESTED_AT_NS = 11

# In the order in which they are touched: what sending a packet needs, then what hearing one needs, each within a few
# cache lines; then what is rare.
CALL = whole_lines(
    np.dtype(
        [
            # --- what a tick reads and moves on
            ("clip", "i8"),
            ("position", "i8"),
            ("next_clip", "i8"),
            ("next_clip_at_ns", "i8"),
            ("payload_type", "i8"),
            # Neither a background nor silence: nothing is sent (DTX).
            ("background", "i8"),
            ("background_position", "i8"),
            ("silence_packet", "i8"),
            ("port", "i8"),
            ("was_quiet", "i8"),
            ("sequence", "i8"),
            ("timestamp", "i8"),
            ("ticks_per_packet", "i8"),
            ("ssrc", "i8"),
            ("srtp_out", "i8"),
            # Whether the emulated network has anything to do on the way out, on the way in.
            ("impaired_out", "i8"),
            ("name_length", "i8"),
            # Equal for calls with equal remote addresses.
            ("remote_id", "i8"),
            ("packets_sent", "i8"),
            ("octets_sent", "i8"),
            ("next_rtcp_ns", "i8"),
            ("media_timeout_ns", "i8"),
            ("lost_told", "i4"),
            # Of a TURN server, 0 = none; negative where a bridge of ours reads its stream (relayed.py).
            ("channel", "i4"),
            ("send_errors", "i8"),
            # --- what a packet heard reads and moves on
            ("last_heard_ns", "i8"),
            # The payload type of what is heard; the peer may have another one for what it hears.
            ("heard_type", "i8"),
            ("clock_rate", "i8"),
            ("srtp_in", "i8"),
            ("impaired_in", "i8"),
            ("packets_received", "i8"),
            ("record", "i8"),
            ("generation", "i8"),
            # --- RTCP, and what begins and ends a call
            ("bad_packets", "i8"),
            ("remote_sr", "i8"),
            ("remote_sr_at_ns", "i8"),
            ("round_trip_ns", "i8"),
            ("active", "i8"),
            ("phase", "i8"),
            # Key of the table that finds a call by who sent a packet; 0 = none.
            ("key", "i8"),
            ("cname_length", "i8"),
            ("cname", "u1", (64,)),
        ]
    )
)
# Where a row's cache lines of hearing are; those of sending are before.
HEARING_LINE, HEARING_LINES = 3, 1
CALL_BYTES = CALL.itemsize
RECEPTION = whole_lines(
    np.dtype(
        [
            # --- what each packet reads and moves on: two lines
            ("started", "i8"),
            ("ssrc", "i8"),
            ("base", "i8"),
            ("highest", "i8"),
            ("bad_sequence", "i8"),
            ("received", "i8"),
            ("current", "i8"),
            ("has_transit", "i8"),
            ("transit", "i8"),
            ("jitter", "f8"),
            # Of the last SEEN numbers (seen.py).
            ("seen", "i8", (SEEN // seen.BITS,)),
            ("discarded", "i8"),
            # --- restarts and reports
            ("closed_expected", "i8"),
            ("prior_expected", "i8"),
            ("prior_received", "i8"),
        ]
    )
)
RECEPTION_BYTES = RECEPTION.itemsize
RECEPTION_LINES = 2
PORT = np.dtype(
    [
        ("open", "i8"),
        ("fd", "i8"),
        # The one call that takes packets from any source; -1 = none.
        ("any_source_call", "i8"),
        # How often on end a segmented send failed where a plain one passed.
        ("segments_refused", "i8"),
        # RTP and RTCP of unknown senders go up to Python, for it to begin a call; elsewhere they are counted only.
        ("tells_unknown", "i8"),
        ("drops", "i8"),
        # Whose datagram came last: a guess whose comes next.
        ("last_call", "i8"),
        # What came after this time may be unread; 0 = the port was read as far as HEARD_UNTIL_NS.
        ("behind_since_ns", "i8"),
    ]
)
PORT_BYTES = PORT.itemsize
CLIP = np.dtype([("first_packet", "i8"), ("packets", "i8"), ("first_voiced", "i8"), ("last_voiced", "i8")])


@bundle
class Batch(NamedTuple):
    """Up to BATCH datagrams of one port on their way out."""

    data: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int32]
    vectors: npt.NDArray[np.int64]
    headers: npt.NDArray[np.int64]
    # One msghdr with a UDP_SEGMENT control message.
    segment_header: npt.NDArray[np.int64]
    segment_control: npt.NDArray[np.uint8]
    call: npt.NDArray[np.int64]
    # Which of the moments of a clip this packet is: bits STARTED, FIRST_VOICED, LAST_VOICED; or RTCP.
    marks: npt.NDArray[np.int64]
    clip: npt.NDArray[np.int64]
    octets: npt.NDArray[np.int64]
    # [0] = datagrams in the batch, [1] = its port, [2] = when it was due.
    fill: npt.NDArray[np.int64]


@bundle
class Inbox(NamedTuple):
    """What recvmmsg fills."""

    data: npt.NDArray[np.uint8]
    names: npt.NDArray[np.uint8]
    control: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.int64]
    headers: npt.NDArray[np.int64]
    # Whose each datagram is, -1 = not known.
    calls: npt.NDArray[np.int64]
    # int32 for libsrtp's in-out length.
    length: npt.NDArray[np.int32]
    events: npt.NDArray[np.int32]


@bundle
class Media(NamedTuple):
    """Everything the loop works on."""

    calls: Any
    # Each call's remote address as the kernel takes it (sockaddr).
    names: npt.NDArray[np.uint8]
    # And where its RTCP goes, where that has a port of its own.
    rtcp_names: npt.NDArray[np.uint8]
    receptions: Any
    ears: Any
    impair_out: Any
    impair_in: Any
    # What networks become, until the loop has taken it over.
    impair_staged: Any
    asides: Any
    # What redirected calls become, until the loop has taken it over.
    redirects: Any
    ports: Any
    clips: Any
    # Address and length of every payload of every clip, and of the codecs' silence.
    packets: npt.NDArray[np.int64]
    # Calls by phase: members[phase, 0..counts[phase]), sorted by port and address.
    members: npt.NDArray[np.int64]
    member_counts: npt.NDArray[np.int64]
    # Open addressing: who a packet is from, and the call it is of.
    keys: npt.NDArray[np.int64]
    commands: rings.Ring
    events: rings.Ring
    parcels: rings.Parcels
    batch: Batch
    inbox: Inbox
    line: Any
    gcm: Any
    scratch: Any
    counters: npt.NDArray[np.int64]
    lateness: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]
    # [seconds, nanoseconds] for the clock calls.
    clock: npt.NDArray[np.int64]


_MSGHDR_WORDS = 8
_UDP_SEGMENT_CONTROL = bytes.fromhex("120000000000000011000000670000000000000000000000")


def _headers(count: int, vectors: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    headers = np.zeros((count, _MSGHDR_WORDS), np.int64)
    headers[:, 2] = address_of(vectors) + 16 * np.arange(count)
    headers[:, 3] = 1
    return headers


def _vectors(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    vectors = np.zeros((len(data), 2), np.int64)
    vectors[:, 0] = address_of(data) + data.shape[1] * np.arange(len(data))
    vectors[:, 1] = data.shape[1]
    return vectors


def new_batch() -> Batch:
    """Return an empty batch."""
    data = np.zeros((BATCH, DATAGRAM_BYTES), np.uint8)
    vectors = _vectors(data)
    control = np.frombuffer(bytearray(_UDP_SEGMENT_CONTROL), np.uint8)
    segment_header = np.zeros(_MSGHDR_WORDS, np.int64)
    segment_header[4], segment_header[5] = address_of(control), len(control)
    zeros = [np.zeros(BATCH, np.int64) for _ in range(4)]
    return Batch(
        data,
        np.zeros(BATCH, np.int32),
        vectors,
        _headers(BATCH, vectors),
        segment_header,
        control,
        zeros[0],
        zeros[1],
        zeros[2],
        zeros[3],
        np.zeros(4, np.int64),
    )


def new_inbox() -> Inbox:
    """Return the buffers for one recvmmsg."""
    data = np.zeros((BATCH, DATAGRAM_BYTES), np.uint8)
    names = np.zeros((BATCH, NAME_BYTES), np.uint8)
    control = np.zeros((BATCH, CONTROL_BYTES // 8), np.int64)
    vectors = _vectors(data)
    headers = _headers(BATCH, vectors)
    headers[:, 0] = address_of(names) + NAME_BYTES * np.arange(BATCH)
    headers[:, 1] = NAME_BYTES
    headers[:, 4] = address_of(control) + CONTROL_BYTES * np.arange(BATCH)
    headers[:, 5] = CONTROL_BYTES
    return Inbox(
        data,
        names,
        control,
        vectors,
        headers,
        np.zeros(BATCH, np.int64),
        np.zeros(1, np.int32),
        np.zeros(4 * MOST_READY, np.int32),
    )


def new_media(calls: int, ports: int, clips: int, packets: int, event_fd: int, epoll_fd: int) -> Media:
    """Return the tables for at most `calls` calls on `ports` ports, speaking `clips` clips of `packets` payloads."""
    cells = np.zeros(16, np.int64)
    cells[EVENT_FD], cells[EPOLL_FD] = event_fd, epoll_fd
    keys = 1 << (4 * calls - 1).bit_length()
    return Media(
        calls=make_table(CALL, calls),
        names=np.zeros((calls, NAME_BYTES), np.uint8),
        rtcp_names=np.zeros((calls, NAME_BYTES), np.uint8),
        receptions=make_table(RECEPTION, calls),
        ears=make_table(EAR, calls),
        impair_out=make_table(IMPAIR, calls),
        impair_in=make_table(IMPAIR, calls),
        impair_staged=make_table(IMPAIR, STAGED),
        asides=make_table(ASIDE, calls),
        redirects=make_table(REDIRECT, calls),
        ports=make_table(PORT, ports),
        clips=make_table(CLIP, clips),
        packets=np.zeros((packets, 2), np.int64),
        members=np.zeros((PHASES, calls), np.int64),
        member_counts=np.zeros(PHASES, np.int64),
        keys=np.zeros((keys, 2), np.int64),
        commands=rings.new_ring(rings.COMMAND, 16384),
        events=rings.new_ring(rings.EVENT, 65536),
        parcels=rings.new_parcels(4096),
        batch=new_batch(),
        inbox=new_inbox(),
        line=new_delay_line(),
        # Behind the calls' streams those of the redirects.
        gcm=new_gcm(2 * calls),
        scratch=make_ear_scratch(),
        counters=np.zeros(32, np.int64),
        lateness=np.zeros(LATENESS_BUCKETS, np.int64),
        cells=cells,
        clock=np.zeros(2, np.int64),
    )
