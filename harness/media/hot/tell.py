"""Events and parcels up to Python; what a full ring refuses is counted, never waited for."""

from typing import Any

from harness.media.hot import native
from harness.media.hot.jit import compiled
from harness.media.hot.layout import BELL_INTERVAL_NS, EVENT_FD, NEXT_BELL_NS, TOLD, Counter
from harness.media.hot.rings import PARCEL_BYTES, free_row, publish, put_event

# What was told since the last bell: nothing, what can wait, what a call's set-up waits for.
_NOTHING, _PATIENT, _URGENT = 0, 1, 2


@compiled
def tell(media: Any, kind: int, call: int, at_ns: int, value: int) -> None:
    """Tell one event of a call."""
    generation = 0 if call < 0 else media.calls[call].generation
    if not put_event(media.events, kind, call, generation, at_ns, value):
        media.counters[Counter.EVENTS_LOST] += 1
    media.cells[TOLD] = max(media.cells[TOLD], _PATIENT)


@compiled
def hand_up(media: Any, kind: int, call: int, port: int, at_ns: int, value: int, source: int, length: int) -> int:
    """Copy `length` bytes at address `source` into a parcel; return its row for the sender's name, -1 if refused."""
    parcels = media.parcels
    row = free_row(parcels.rows, parcels.cells)
    if row < 0 or length > PARCEL_BYTES:
        media.counters[Counter.PARCELS_LOST] += 1
        return -1
    parcel = parcels.rows[row]
    parcel.kind = kind
    parcel.call = call
    parcel.generation = 0 if call < 0 else media.calls[call].generation
    parcel.port = port
    parcel.at_ns = at_ns
    parcel.value = value
    parcel.length = length
    parcel.name_length = 0
    native.memcpy(parcels.data.ctypes.data + PARCEL_BYTES * row, source, length)
    # Nobody's datagram is one of a set-up; an established call's consent checks can wait.
    media.cells[TOLD] = max(media.cells[TOLD], _URGENT if call < 0 else _PATIENT)
    return row


@compiled
def publish_parcel(media: Any) -> None:
    """Hand the parcel filled last to Python."""
    publish(media.parcels.cells)


@compiled
def ring_bell(media: Any, now_ns: int) -> None:
    """Wake Python's event loop when something was told since the last bell, soon or at once."""
    told = media.cells[TOLD]
    if told == _NOTHING or (told == _PATIENT and now_ns < media.cells[NEXT_BELL_NS]):
        return
    media.cells[TOLD] = _NOTHING
    media.cells[NEXT_BELL_NS] = now_ns + BELL_INTERVAL_NS
    # An eventfd takes eight bytes; the first cell of the clock serves as the 1 that is added.
    media.clock[0] = 1
    native.write(media.cells[EVENT_FD], media.clock.ctypes.data, 8)
