"""Rings between two threads: nothing lost, nothing half written, in order; a full one refuses."""

import threading

import pytest

from harness.media.hot import rings
from harness.media.ring_reader import RingReader

pytestmark = pytest.mark.unit


def reader_of(ring):
    return RingReader(ring.rows, ring.cells, rings.EVENT)


def put(ring, number):
    """Write an event of which every field follows from `number`."""
    return rings.put_event(ring, number, number + 1, number * 2, number * 3, -number)


def fields(number):
    return [number, number + 1, number * 2, number * 3, -number]


def take(reader):
    (row,) = reader.take(1)
    return row


def test_a_full_ring_refuses_and_keeps_what_it_has():
    ring = rings.new_ring(rings.EVENT, 4)
    reader = reader_of(ring)
    assert reader.waiting() == 0
    assert [bool(put(ring, i)) for i in range(5)] == [True] * 4 + [False]
    assert reader.waiting() == 4
    assert take(reader) == fields(0)
    assert put(ring, 7)
    assert [take(reader) for _ in range(4)] == [fields(i) for i in (1, 2, 3, 7)]
    assert reader.waiting() == 0


def test_rows_come_in_order_over_many_wraps():
    ring = rings.new_ring(rings.EVENT, 8)
    reader = reader_of(ring)
    written = read = 0
    for burst in (1, 8, 3, 5, 8, 7, 2) * 20:
        while written < read + burst:
            assert put(ring, written)
            written += 1
        taken = reader.take(written - burst // 2 - read)
        assert taken == [fields(read + i) for i in range(len(taken))]
        read += len(taken)
        assert reader.waiting() == written - read


def test_a_command_is_read_as_it_was_written():
    ring = rings.new_ring(rings.COMMAND, 2)
    reader = RingReader(ring.rows, ring.cells, rings.COMMAND)
    assert rings.put_command(ring, 3, 4, 5, 6)
    assert rings.waiting_row(ring.rows, ring.cells) == 0
    assert reader.take(1) == [[3, 4, 5, 6]]
    assert rings.waiting_row(ring.rows, ring.cells) == -1


def test_two_threads_lose_nothing_and_see_no_half_row():
    count = 5000
    ring = rings.new_ring(rings.EVENT, 64)
    refused = 0
    is_over = threading.Event()

    def write():
        nonlocal refused
        for i in range(count):
            while not put(ring, i):
                refused += 1
                if is_over.wait(0.0001):
                    return

    writer = threading.Thread(target=write)
    writer.start()
    reader = reader_of(ring)
    try:
        for i in range(count):
            while not reader.waiting():
                assert writer.is_alive() or reader.waiting(), f"the writer ended before row {i}"
            assert take(reader) == fields(i)
    finally:
        is_over.set()
        writer.join()
    assert reader.waiting() == 0


def test_parcels_carry_their_bytes():
    parcels = rings.new_parcels(2)
    for letter in b"ab":
        row = rings.free_row(parcels.rows, parcels.cells)
        parcels.data[row, :3] = letter
        parcels.rows[row].length = 3
        rings.publish(parcels.cells)
    assert rings.free_row(parcels.rows, parcels.cells) == -1
    reader = RingReader(parcels.rows, parcels.cells, rings.PARCEL)
    waiting = zip(reader.indices(2), reader.rows(2), strict=True)
    assert [parcels.data[at, : row[6]].tobytes() for at, row in waiting] == [b"aaa", b"bbb"]
    reader.release(2)
    assert rings.free_row(parcels.rows, parcels.cells) == 0
