"""The loop's lateness counts are those of the histogram the reports read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.media.hot import layout
from harness.media.hot.batch import note_tick
from harness.media.hot.layout import Counter
from harness.media.lateness import to_histogram
from harness.model.histogram import GROWTH, Histogram

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def media():
    return layout.new_media(2, 2, 4, 4, -1, -1)


def count(media, lateness_ns):
    media.counters[:] = 0
    media.lateness[:] = 0
    for late_ns in lateness_ns:
        note_tick(media, late_ns)
    return to_histogram(media.lateness, int(media.counters[Counter.LATENESS_MAX_NS]) / 1e6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10**13) | st.integers(0, 10**7), max_size=40))
def test_buckets_are_the_histograms_own(media, lateness_ns):
    told = count(media, lateness_ns)
    expected = Histogram.of(late_ns / 1e6 for late_ns in lateness_ns)
    assert (told.n, told.counts) == (expected.n, expected.counts)
    assert told.maximum == pytest.approx(expected.maximum)
    assert told.percentile(0.99) == (None if expected.n == 0 else pytest.approx(expected.percentile(0.99)))


def test_a_packet_in_time_or_before_it_is_not_late(media):
    told = count(media, [-5_000, 0, 900])
    assert (told.n, told.maximum, told.percentile(1.0)) == (3, 0.0009, 0.0)


def test_hours_of_lateness_are_counted_in_the_last_bucket_they_have(media):
    told = count(media, [10**18])
    assert told.n == 1
    assert told.percentile(0.5) is not None


def test_a_maximum_read_too_early_is_not_below_what_the_buckets_say():
    counts = np.zeros(layout.LATENESS_BUCKETS, np.int64)
    counts[layout.LATENESS_ZERO + 100] = 2
    told = to_histogram(counts, 0.0)
    assert told.maximum == pytest.approx(GROWTH**99)
    assert told.percentile(0.5) == pytest.approx(GROWTH**99)


def test_nothing_counted_is_no_lateness(media):
    told = count(media, [])
    assert (told.n, told.maximum, told.percentile(0.5)) == (0, 0.0, None)
