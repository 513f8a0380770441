"""Rows of what few packets need: a call's digits and holds, and what a call that is redirected will be like.

They lie apart from the calls' rows, which are fetched for each packet.
"""

import numpy as np

from harness.media.hot.jit import whole_lines
from harness.media.hot.rings import NAME_BYTES

# Digits of one call that can wait.
MOST_DIGITS = 64

ASIDE = whole_lines(
    np.dtype(
        [
            # Nothing is sent.
            ("held", "i8"),
            # The call's media timeout while its silence is no loss; 0 = it is watched.
            ("media_timeout_ns", "i8"),
            # What was asked to be spoken meanwhile, as `next_clip` and `next_clip_at_ns` of a call.
            ("waiting_clip", "i8"),
            ("waiting_clip_at_ns", "i8"),
            # Of the address that RTCP is sent to where it has a port of its own (Media.rtcp_names); 0 = that of RTP.
            ("rtcp_name_length", "i8"),
            # Payload types of telephone events, -1 = not spoken.
            ("events_out", "i8"),
            ("events_in", "i8"),
            # --- digits to be sent: a queue, and the ticks and the RTP time since the first one began
            ("digits_first", "i8"),
            ("digits_count", "i8"),
            ("tick", "i8"),
            ("timestamp", "i8"),
            # --- the event heard last: code (-1 = none), RTP time of its last segment, ticks of that and before it
            ("heard_code", "i8"),
            ("heard_timestamp", "i8"),
            ("heard_ticks", "i8"),
            ("heard_ticks_before", "i8"),
            ("heard_end", "i8"),
            # Each as `digit_of` packs it.
            ("digits", "i8", (MOST_DIGITS,)),
        ]
    )
)
# What a redirected call becomes.
REDIRECT = whole_lines(
    np.dtype(
        [
            ("key", "i8"),
            ("remote_id", "i8"),
            ("name_length", "i8"),
            ("rtcp_name_length", "i8"),
            ("ssrc", "i8"),
            ("payload_type", "i8"),
            ("heard_type", "i8"),
            ("events_out", "i8"),
            ("events_in", "i8"),
            # Whether there are other keys than before, out and in; then sessions of libsrtp, 0 = plain RTP.
            ("rekeyed_out", "i8"),
            ("rekeyed_in", "i8"),
            ("srtp_out", "i8"),
            ("srtp_in", "i8"),
            ("codec", "i8"),
            ("ticks_per_packet", "i8"),
            ("clock_rate", "i8"),
            ("silence_packet", "i8"),
            ("background", "i8"),
            ("by_size", "i8"),
            ("opus_memory", "i8"),
            ("name", "u1", (NAME_BYTES,)),
            ("rtcp_name", "u1", (NAME_BYTES,)),
        ]
    )
)


def digit_of(code: int, duration_ms: int, pause_ms: int) -> int:
    """Return what stands for a digit in a command and in the queue: code, pause, duration, 16 bits each."""
    return (duration_ms << 32) | (pause_ms << 16) | code
