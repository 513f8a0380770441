"""The loop's lateness counts as a histogram of model/histogram.py."""

import numpy as np
import numpy.typing as npt

from harness.media.hot.layout import LATENESS_ZERO
from harness.model.histogram import ZERO_BUCKET, Histogram


def to_histogram(counts: npt.NDArray[np.int64], maximum_ms: float) -> Histogram:
    """Return the histogram in ms of `counts`, shape (LATENESS_BUCKETS,); bucket 0 holds what was in time."""
    histogram = Histogram()
    for bucket in np.flatnonzero(counts):
        index = ZERO_BUCKET if bucket == 0 else int(bucket) - LATENESS_ZERO
        histogram.counts[index] = int(counts[bucket])
    histogram.n = int(counts.sum())
    histogram.maximum = maximum_ms if histogram.n else 0.0
    return histogram
