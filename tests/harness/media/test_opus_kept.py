"""What an agent that speaks on costs: packets kept and dropped in order, few decoded, never many in one tick."""

import numpy as np
import pytest
from agent_lab import PACKET_NS, RATE, SILENCE_FRAME, START_NS, Encoder, Listener

from harness.calibrate.voice import voiced
from harness.media.hot import opus_kept as kept
from harness.media.hot.ear import EAR, EAR_LINES
from harness.media.hot.jit import address_of, make_table
from harness.media.hot.opus_state import BY_CELT, BY_SILK, CODED_SILENCE, SMALL, opus_kind

pytestmark = pytest.mark.unit

QUIET = [SILENCE_FRAME] * 60


def payload_at(row, at):
    start = kept.kept_payload(row, at) - row.kept_memory
    return start, kept.kept_length(row, at)


def test_packets_are_kept_in_order_and_dropped_from_the_front():
    table, memory = make_table(EAR, 1), np.zeros(kept.KEPT_BYTES, np.uint8)
    row = table[0]
    row.kept_memory = address_of(memory)
    payloads = [np.full(20 + i, i, np.uint8) for i in range(10)]
    for i, payload in enumerate(payloads):
        assert kept.has_room(row, len(payload))
        kept.keep_packet(row, address_of(payload), len(payload), 8, BY_CELT if i != 4 else SMALL, 1000 + i)
    kept.keep_packet(row, 0, 0, 120, kept.PAUSE, 0)
    assert (row.kept, row.unheard) == (11, 9)
    row.heard, row.sampled = 2, 6
    kept.drop_before(row, 3)
    assert (row.kept, row.heard, row.sampled, row.unheard) == (8, 0, 3, 6)
    for at, payload in enumerate(payloads[3:]):
        start, length = payload_at(row, at)
        assert list(memory[start : start + length]) == list(payload)
        assert kept.kept_at_ns(row, at) == 1003 + at
    assert (kept.kept_kind(row, 7), kept.kept_units(row, 7)) == (kept.PAUSE, 120)
    assert kept.last_larger(row) == 6
    assert kept.largest_before(row, 5, 3) == 5
    kept.keep_none(row)
    assert (row.kept, row.kept_end, row.unheard, row.sampled) == (0, 0, 0, 0)


def test_room_ends_with_bytes_or_places():
    table, memory = make_table(EAR, 1), np.zeros(kept.KEPT_BYTES, np.uint8)
    row, payload = table[0], np.zeros(2000, np.uint8)
    row.kept_memory = address_of(memory)
    while kept.has_room(row, 2000):
        kept.keep_packet(row, address_of(payload), 2000, 8, BY_CELT, 1)
    assert row.kept == kept.KEPT_BYTES // 2000
    kept.keep_none(row)
    while kept.has_room(row, 1):
        kept.keep_packet(row, address_of(payload), 1, 8, SMALL, 1)
    # For a pause.
    assert row.kept == kept.MOST_KEPT - 1


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (SILENCE_FRAME, CODED_SILENCE),
        (b"\xfc\xff\xfe", CODED_SILENCE),
        # Of CELT, but without its silence flag; of two frames; DTX; of SILK.
        (b"\xf8\xff\xfd", SMALL),
        (b"\xf9\xff\xfe", SMALL),
        (b"\xf8", SMALL),
        (b"\x48\xff\xfe", SMALL),
        (b"\xf8\xff\xfe" + bytes(10), BY_CELT),
        (b"\x78" + bytes(40), BY_SILK),
    ],
)
def test_kinds(payload, kind):
    assert opus_kind(np.frombuffer(b"?" + payload, np.uint8), 1, len(payload)) == kind


def most_at_once(payloads, quiet_ms):
    """Return the stops and the most full-size packets heard in order within one tick."""
    listener = Listener(quiet_ms=quiet_ms)
    most, stops = 0, []
    for tick, payload in enumerate(payloads):
        before = int(listener.row.decoded)
        listener.packet(payload, tick, tick * 960, START_NS + tick * PACKET_NS)
        stopped_ns = listener.poll(START_NS + tick * PACKET_NS + 1_000_000)
        most = max(most, int(listener.row.decoded) - before)
        if stopped_ns:
            stops.append((stopped_ns - START_NS) // PACKET_NS)
    return stops, most, int(listener.row.decoded)


def test_an_end_before_silence_takes_no_decoding_in_order():
    speech = Encoder("lowdelay").encode(voiced(500, RATE))
    stops, most, decoded = most_at_once(QUIET + speech + QUIET, 200)
    assert stops == [60 + len(speech) - 1]
    assert most == 1
    # The onset's 60 ms, and samples.
    assert decoded <= 3 + 5


@pytest.mark.parametrize("quiet_ms", [200, 600, 1200])
def test_an_end_before_noise_is_found_in_small_steps(quiet_ms):
    rng = np.random.default_rng(1)
    encoder = Encoder("audio")
    noise = rng.standard_normal(2 * RATE) * 60
    pcm = np.concatenate([noise, voiced(500, RATE), noise, noise]).astype(np.int16)
    stops, most, _decoded = most_at_once(encoder.encode(pcm), quiet_ms)
    assert stops == [pytest.approx(100 + 25, abs=1)]
    assert most <= 6


def test_a_row_begins_with_what_packets_touch_in_whole_lines():
    offsets = {name: EAR.fields[name][1] for name in EAR.names}
    # Order and silence, the floor, telephone codecs, what is kept; then a line a kept packet.
    assert [offsets[name] for name in ("is_speaking", "is_out_of_step", "learnt", "awaited", "kept")] == [
        0,
        64,
        128,
        192,
        256,
    ]
    assert offsets["kept_packets"] == 64 * EAR_LINES
    # Rows of an even number of lines would share few places of the processor's caches.
    assert EAR.itemsize % 128 == 64
