"""Sequence numbers, loss and jitter of the hot path against the plain reference, on whatever order packets come in."""

import pytest
import reference_rtp as rtp
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.media.hot.jit import make_table
from harness.media.hot.layout import RECEPTION
from harness.media.hot.reception import DUPLICATE, FIRST_CYCLE, count_packet, fraction_lost, packets_lost

pytestmark = pytest.mark.unit

TICK_NS = 20_000_000
# An uptime of 100 days: products of times and clock rates must not overflow.
START_NS = 100 * 86_400 * 1_000_000_000


class Both:
    """One source's packets counted by both implementations, which must say the same after each."""

    def __init__(self, clock_rate):
        self.table = make_table(RECEPTION, 1)
        self.row = self.table[0]
        self.rate = clock_rate
        self.reference = rtp.ReceptionStats(clock_rate)

    def add(self, sequence, timestamp, at_ns, ssrc=1):
        header = rtp.RtpHeader(0, False, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc, 12, 12)
        expected = self.reference.add(header, at_ns)
        told = int(count_packet(self.row, ssrc, header.sequence_number, header.timestamp, at_ns, self.rate))
        assert told == (DUPLICATE if expected is None else expected + FIRST_CYCLE)
        assert int(self.row.received) == self.reference.received
        assert int(self.row.discarded) == self.reference.discarded
        assert int(packets_lost(self.row)) == self.reference.lost
        assert float(self.row.jitter) == pytest.approx(self.reference.jitter)
        return told

    def report(self):
        assert int(fraction_lost(self.row)) == self.reference.fraction_lost()


# How the sequence number goes on from the newest: mostly the next one, else late, twice, after a loss, or far away.
STEPS = st.one_of(
    st.just(1),
    st.just(1),
    st.integers(-120, 130),
    st.sampled_from([2999, 3000, 3001, -100, -101, 30_000, -32_768, 0]),
)


@settings(max_examples=150, deadline=None)
@given(
    first=st.sampled_from([0, 1, 99, 32_768, 65_500, 65_535]),
    steps=st.lists(st.tuples(STEPS, st.integers(-15_000_000, 15_000_000), st.integers(0, 19)), max_size=120),
    clock_rate=st.sampled_from([8000, 48_000]),
)
def test_both_count_the_same_whatever_comes(first, steps, clock_rate):
    both = Both(clock_rate)
    newest, at_ns = first, START_NS
    both.add(newest, newest * 160, at_ns)
    for index, (step, early_ns, dice) in enumerate(steps):
        at_ns += TICK_NS
        sequence = newest + step
        # Now and then another source takes over, or a report is due.
        ssrc = 2 if dice == 0 and index > 5 else 1
        if dice == 1:
            both.report()
        both.add(sequence, sequence * 160, at_ns + early_ns, ssrc)
        newest = max(newest, sequence) if abs(step) < 3000 else sequence
    both.report()


def feed(sequences, *, ssrc=1):
    both = Both(48_000)
    for index, sequence in enumerate(sequences):
        both.add(sequence, index * 960, START_NS + index * TICK_NS, ssrc)
    return both.row


def test_a_duplicate_cannot_hide_a_loss():
    row = feed([0, 1, 1, 1, 4])
    assert (int(packets_lost(row)), int(row.received), int(row.discarded)) == (2, 3, 2)


def test_the_numbers_wrap_twice_without_a_loss():
    row = feed(range(65_400, 65_400 + 66_000 + 300))
    assert (int(packets_lost(row)), int(row.discarded)) == (0, 0)
    assert int(row.highest) - FIRST_CYCLE == 65_400 + 66_000 + 299


def test_a_restart_is_believed_at_its_second_packet_and_keeps_what_was_lost_before():
    row = feed([0, 1, 3, 40_000, 40_001, 40_003])
    assert (int(packets_lost(row)), int(row.received), int(row.discarded)) == (2, 5, 1)


def test_jitter_of_even_arrivals_is_zero_and_of_alternating_ones_converges_to_its_size():
    assert float(feed(range(50)).jitter) == 0
    both = Both(8000)
    for i in range(400):
        both.add(i, i * 160, START_NS + i * TICK_NS + (5_000_000 if i % 2 else 0))
    assert float(both.row.jitter) / 8 == pytest.approx(5.0, abs=0.3)


def test_nothing_received_is_nothing_lost():
    row = make_table(RECEPTION, 1)[0]
    assert int(packets_lost(row)) == 0
    assert int(fraction_lost(row)) == 0
