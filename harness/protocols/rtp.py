"""RTP (RFC 3550): differences of numbers that wrap."""


def sequence_delta(newer: int, older: int) -> int:
    """Return `newer - older` of two 16-bit sequence numbers as a signed number in -32768..32767."""
    return ((newer - older + 0x8000) & 0xFFFF) - 0x8000


def timestamp_delta(newer: int, older: int) -> int:
    """Return `newer - older` of two 32-bit RTP timestamps as a signed number."""
    return ((newer - older + 0x80000000) & 0xFFFFFFFF) - 0x80000000
