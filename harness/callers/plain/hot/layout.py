"""The tables of plain calls: a row of integers a call, the messages it has received, templates, batches.

All times are CLOCK_MONOTONIC in ns, 0 = none. A call is known by a number that its Call-ID and its branches carry: its
row, and a count of the calls that the row has had.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.media.hot.jit import address_of
from harness.media.hot.tables import bundle


class State(IntEnum):
    """Where a call stands; RFC 3261's names of its transaction beside it."""

    FREE = 0
    # Not due yet.
    WAITING = 1
    # INVITE sent, nothing came: Calling.
    CALLING = 2
    # A 1xx came: Proceeding.
    PROCEEDING = 3
    # 2xx came, ACK sent: Accepted.
    UP = 4
    # BYE sent.
    LEAVING = 5
    # Nobody answered the BYE for as long as a record waits; it goes on to Timer F.
    ABANDONED = 6
    # BYE answered; 2xx that come again are acknowledged until Timer M, other answers absorbed.
    OVER = 7
    # Given to the user agent, which is about to take it over.
    HANDED = 8


class Call(IntEnum):
    """Columns of a call's row."""

    STATE = 0
    GENERATION = 1
    TEMPLATE = 2
    # Its row of `papers`, -1 = none any more.
    PAPER = 3
    DUE = 4
    STARTED = 5
    INVITED = 6
    ANSWERED = 7
    # BYE sent, and answered.
    LEFT = 8
    ENDED = 9
    # Timer A or E, and its interval.
    RESEND_AT = 10
    INTERVAL = 11
    # The end of what the state waits for: an answer in time, the hold, a BYE's answer, Timer F.
    LIMIT_AT = 12
    # Timer M.
    LINGER_UNTIL = 13
    # In the wheel: tick, and neighbours (rows + 1, 0 = none).
    TICK = 14
    NEXT = 15
    PREVIOUS = 16
    # Requests sent again: all, and those since the BYE.
    RESENT = 17
    BYE_RESENT = 18
    # Of the 2xx.
    STATUS = 19
    # First 1xx but 100, or the 2xx.
    FIRST_SIGN = 20
    # Messages kept in the paper, and how many bytes they fill.
    KEPT = 21
    FILLED = 22
    # Of To in the first response that had a tag.
    TO_HASH = 23
    # In the paper: To and the Contact's URI of the 2xx, reason, what the agent calls itself.
    TO_AT = 24
    TO_LENGTH = 25
    TARGET_AT = 26
    TARGET_LENGTH = 27
    REASON_AT = 28
    REASON_LENGTH = 29
    AGENT_AT = 30
    AGENT_LENGTH = 31
    NAME_LENGTH = 32
    # Why nothing more is waited for: 0, or one of Goodbye.
    GOODBYE = 33
    WIDTH = 34


class Goodbye(IntEnum):
    """What became of our BYE."""

    NONE = 0
    ANSWERED = 1
    REFUSED = 2
    UNANSWERED = 3


class Message(IntEnum):
    """What a template is of."""

    INVITE = 0
    ACK = 1
    BYE = 2


class Piece(IntEnum):
    """What stands between the fixed parts of a message."""

    END = 0
    # 16 hexadecimal digits of the call's number; of its tag.
    NUMBER = 1
    TAG = 2
    # The call's name in its plan.
    NAME = 3
    # To with the agent's tag, and the URI of its Contact.
    TO = 4
    TARGET = 5


class Setting(IntEnum):
    """Columns of a template's row."""

    HOLD_NS = 0
    LIMIT_NS = 1
    # Nothing is begun: calls that fall due are told instead.
    PAUSED = 2
    ADDRESS_LENGTH = 3
    # In `arena`: the sent-by of Via, From with all but its tag, To, the end of the Call-ID, the agent's host:port.
    VIA_AT = 4
    VIA_LENGTH = 5
    FROM_AT = 6
    FROM_LENGTH = 7
    TO_AT = 8
    TO_LENGTH = 9
    HOST_AT = 10
    HOST_LENGTH = 11
    PEER_AT = 12
    PEER_LENGTH = 13
    WIDTH = 16


class Cell(IntEnum):
    """Single values."""

    # First tick (ms) of the wheel not served yet.
    TICK = 0
    # Calls by what they are: due later, under way (no record yet), lingering.
    WAITING = 1
    ACTIVE = 2
    LINGERING = 3
    FREE_CALLS = 4
    FREE_PAPERS = 5
    # Told to Python, and datagrams that wait to be sent.
    TOLD = 6
    OUT = 7
    FD = 8
    # CLOCK_REALTIME - CLOCK_MONOTONIC.
    OFFSET = 9
    DROPS = 10
    SECRET = 11
    T1 = 12
    T2 = 13
    # How long a record waits for the answer to a BYE.
    PATIENCE = 14
    # Counted: datagrams sent and received, 2xx that came again, system calls.
    SENT = 15
    RECEIVED = 16
    REPEATED = 17
    SENDS = 18
    READS = 19
    WIDTH = 24


class Told(IntEnum):
    """What Python is told of a call."""

    # Its milestone: (kind, call, answered at).
    CONNECTED = 0
    # Its record is due; the row of `facts` of the same place has it.
    ENDED = 1
    # It is not plain any more: (kind, call, datagram of the inbox or -1, arrived at).
    HANDED = 2
    # A datagram of no call here: (kind, -1, datagram, arrived at).
    FOREIGN = 3
    # Due, but its template is paused.
    DUE = 4
    # The kernel refused a datagram of the call.
    UNSENT = 5


class Scan(IntEnum):
    """What a scan found: places in the datagram, lengths, flags; 0 = not there."""

    STATUS = 0
    # The numbers in Call-ID and branch, and the branch's last letter.
    CALL = 1
    BRANCH_NUMBER = 2
    BRANCH_LETTER = 3
    # Which request it answers, a Message.
    METHOD = 4
    VIA_AT = 5
    # Of the Call-ID, what stands behind the number.
    HOST_AT = 6
    HOST_LENGTH = 7
    FROM_AT = 8
    FROM_LENGTH = 9
    TO_AT = 10
    TO_LENGTH = 11
    HAS_TAG = 12
    # The URI of the Contact, host and port in it, and whether the INVITE went there.
    TARGET_AT = 13
    TARGET_LENGTH = 14
    PEER_AT = 15
    PEER_LENGTH = 16
    HAS_PORT = 17
    IS_NEAR = 18
    REASON_AT = 19
    REASON_LENGTH = 20
    SERVER_AT = 21
    SERVER_LENGTH = 22
    AGENT_AT = 23
    AGENT_LENGTH = 24
    # Which fields there were; Content-Length, -1 = none.
    SEEN = 25
    LENGTH = 26
    WIDTH = 28


SLOT_BITS = 20
DIGITS = 16
NAME_BYTES = 96
PAPER_BYTES = 4096
# Messages of one call that are kept; one that gets more 1xx is given to the user agent.
MOST_KEPT = 12
TEMPLATES, PIECES = 64, 16
ARENA_BYTES = 64 * 8192
ADDRESS_BYTES = 28
# Ticks of a millisecond: a power of two over 32 s.
TICKS = 65536
READ_AT_ONCE = 64
SEND_AT_ONCE = 32
MOST_TOLD = 4096
MOST_RECEIVED = 65_536
MOST_SENT = 4096
# To with the agent's tag, and the URI of its Contact: templates leave room for both.
MOST_TEXT = 512
CONTROL_BYTES = 128
_MSGHDR_WORDS = 8
# A record's row: the call's, then time and status of each message kept.
CALL_WIDTH = int(Call.WIDTH)
FACTS = CALL_WIDTH + 2 * MOST_KEPT


@bundle
class Tables(NamedTuple):
    """Everything the compiled part works on."""

    calls: npt.NDArray[np.int64]
    free_calls: npt.NDArray[np.int64]
    papers: npt.NDArray[np.uint8]
    # Of each message kept: when it came, its status, where it ends in the paper.
    kept: npt.NDArray[np.int64]
    free_papers: npt.NDArray[np.int64]
    # First call (row + 1) of each tick.
    wheel: npt.NDArray[np.int64]
    templates: npt.NDArray[np.int64]
    # Of each message of a template: place and length of a fixed part, and the Piece behind it.
    pieces: npt.NDArray[np.int64]
    arena: npt.NDArray[np.uint8]
    addresses: npt.NDArray[np.uint8]
    # 16 hexadecimal digits that begin all our Call-IDs and branches.
    stem: npt.NDArray[np.uint8]
    cells: npt.NDArray[np.int64]
    told: npt.NDArray[np.int64]
    facts: npt.NDArray[np.int64]
    scan: npt.NDArray[np.int64]
    in_data: npt.NDArray[np.uint8]
    in_headers: npt.NDArray[np.int64]
    in_vectors: npt.NDArray[np.int64]
    in_control: npt.NDArray[np.int64]
    in_names: npt.NDArray[np.uint8]
    out_data: npt.NDArray[np.uint8]
    out_headers: npt.NDArray[np.int64]
    out_vectors: npt.NDArray[np.int64]
    # Of each datagram in the outbox: its call, and which column its send time goes to (0 = none).
    out_stamps: npt.NDArray[np.int64]
    clock: npt.NDArray[np.int64]


def _vectors(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    vectors = np.zeros((len(data), 2), np.int64)
    vectors[:, 0] = address_of(data) + data.shape[1] * np.arange(len(data))
    vectors[:, 1] = data.shape[1]
    return vectors


def _headers(count: int, vectors: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    headers = np.zeros((count, _MSGHDR_WORDS), np.int64)
    headers[:, 2] = address_of(vectors) + 16 * np.arange(count)
    headers[:, 3] = 1
    return headers


def new_tables(calls: int, papers: int) -> Tables:
    """Return tables for `calls` rows, at most 2**SLOT_BITS, of which `papers` may be under way; lazily allocated."""
    if not 0 < papers <= calls <= 1 << SLOT_BITS:
        raise ValueError(f"{papers} of {calls} calls under way; legal: 1 to {1 << SLOT_BITS}")
    in_data = np.zeros((READ_AT_ONCE, MOST_RECEIVED), np.uint8)
    in_vectors = _vectors(in_data)
    in_headers = _headers(READ_AT_ONCE, in_vectors)
    in_control = np.zeros((READ_AT_ONCE, CONTROL_BYTES // 8), np.int64)
    in_names = np.zeros((READ_AT_ONCE, ADDRESS_BYTES + 4), np.uint8)
    in_headers[:, 0] = address_of(in_names) + in_names.shape[1] * np.arange(READ_AT_ONCE)
    in_headers[:, 1] = ADDRESS_BYTES
    in_headers[:, 4] = address_of(in_control) + CONTROL_BYTES * np.arange(READ_AT_ONCE)
    in_headers[:, 5] = CONTROL_BYTES
    out_data = np.zeros((SEND_AT_ONCE, MOST_SENT), np.uint8)
    out_vectors = _vectors(out_data)
    cells = np.zeros(Cell.WIDTH, np.int64)
    cells[Cell.FREE_CALLS], cells[Cell.FREE_PAPERS], cells[Cell.FD] = calls, papers, -1
    return Tables(
        calls=np.zeros((calls, Call.WIDTH), np.int64),
        # The last one is taken first: what was used a moment ago is warm.
        free_calls=np.arange(calls, dtype=np.int64)[::-1].copy(),
        papers=np.zeros((papers, PAPER_BYTES), np.uint8),
        kept=np.zeros((papers, MOST_KEPT, 3), np.int64),
        free_papers=np.arange(papers, dtype=np.int64)[::-1].copy(),
        wheel=np.zeros(TICKS, np.int64),
        templates=np.zeros((TEMPLATES, Setting.WIDTH), np.int64),
        pieces=np.zeros((TEMPLATES, len(Message), PIECES, 3), np.int64),
        arena=np.zeros(ARENA_BYTES, np.uint8),
        addresses=np.zeros((TEMPLATES, ADDRESS_BYTES), np.uint8),
        stem=np.zeros(DIGITS, np.uint8),
        cells=cells,
        told=np.zeros((MOST_TOLD, 4), np.int64),
        facts=np.zeros((MOST_TOLD, FACTS), np.int64),
        scan=np.zeros(Scan.WIDTH, np.int64),
        in_data=in_data,
        in_headers=in_headers,
        in_vectors=in_vectors,
        in_control=in_control,
        in_names=in_names,
        out_data=out_data,
        out_headers=_headers(SEND_AT_ONCE, out_vectors),
        out_vectors=out_vectors,
        out_stamps=np.zeros((SEND_AT_ONCE, 2), np.int64),
        clock=np.zeros(2, np.int64),
    )
