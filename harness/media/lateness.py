"""The loop's lateness counts as a histogram of model/histogram.py."""

import numpy as np
import numpy.typing as npt

from harness.media.hot.layout import LATENESS_ZERO
from harness.model.histogram import GROWTH, ZERO_BUCKET, Histogram


def to_histogram(counts: npt.NDArray[np.int64], maximum_ms: float) -> Histogram:
    """Return the histogram in ms of `counts`, shape (LATENESS_BUCKETS,); bucket 0 holds what was in time."""
    histogram = Histogram()
    for bucket in np.flatnonzero(counts):
        index = ZERO_BUCKET if bucket == 0 else int(bucket) - LATENESS_ZERO
        histogram.counts[index] = int(counts[bucket])
    histogram.n = int(counts.sum())
    if histogram.n:
        # The loop may have noted its latest maximum just after that was read: not less than its bucket says.
        last = max(histogram.counts)
        histogram.maximum = max(maximum_ms, 0.0 if last == ZERO_BUCKET else GROWTH ** (last - 1))
    return histogram
