"""What stops a benchmark."""


class BenchmarkError(Exception):
    """A peer is missing, a process died or would not do its part; the text says what to do."""
