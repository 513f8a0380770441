"""What takes the place of a call's audio for a while: a hold, in which nothing is sent, and digits (dtmf.py).

What is spoken waits meanwhile, and so does what is asked to be spoken. A call that has nothing aside pays nothing for
it: the mark of an aside stands where a clip is asked for, which each tick looks at anyway.
"""

from typing import Any

from harness.media.hot.dtmf import is_digit_due, send_digit_tick
from harness.media.hot.jit import compiled
from harness.media.hot.packet import skip_packet
from harness.media.hot.rare import MOST_DIGITS

# `next_clip` of a call: nothing was asked; something is aside.
NO_CHANGE, ASIDE = -2, -3
# What an aside leaves of a tick: all of it; the call's silence or background; nothing.
FREE, QUIET, TAKEN = 0, 1, 2
# Longer than any call.
_NEVER_NS = 1 << 62


@compiled
def begin_aside(media: Any, index: int) -> None:
    """Let asides have the ticks from the next one on."""
    call = media.calls[index]
    if call.next_clip == ASIDE:
        return
    media.asides[index].waiting_clip = call.next_clip
    media.asides[index].waiting_clip_at_ns = call.next_clip_at_ns
    call.next_clip = ASIDE
    call.next_clip_at_ns = 0


@compiled
def end_aside(media: Any, index: int) -> None:
    """Go on with what waited."""
    media.calls[index].next_clip = media.asides[index].waiting_clip
    media.calls[index].next_clip_at_ns = media.asides[index].waiting_clip_at_ns


@compiled
def ask_to_play(media: Any, index: int, clip: int, at_ns: int) -> None:
    """Ask for a clip at a time, at the earliest when nothing is aside."""
    if media.calls[index].next_clip == ASIDE:
        media.asides[index].waiting_clip = clip
        media.asides[index].waiting_clip_at_ns = at_ns
    else:
        media.calls[index].next_clip = clip
        media.calls[index].next_clip_at_ns = at_ns


@compiled
def ask_for_digit(media: Any, index: int, digit: int) -> None:
    """Queue a digit (rare.pack_digit); Python sees to it that the queue has room."""
    aside = media.asides[index]
    if aside.digits_count < MOST_DIGITS:
        aside.digits[(aside.digits_first + aside.digits_count) % MOST_DIGITS] = digit
        aside.digits_count += 1
        begin_aside(media, index)


@compiled
def send_aside(media: Any, index: int, now_ns: int, due_ns: int) -> int:
    """Do what is aside at this tick; return what it leaves of it. A digit that has begun ends before a hold begins."""
    if is_digit_due(media.asides[index]):
        return TAKEN if send_digit_tick(media, index, due_ns) else QUIET
    if media.asides[index].held:
        skip_packet(media, media.calls[index], now_ns, due_ns)
        return TAKEN
    return FREE


@compiled
def direct(media: Any, index: int, sends: bool, is_watched: bool, now_ns: int) -> None:
    """Send or fall silent from the next tick on; watch that the agent is heard, or bear its silence."""
    call = media.calls[index]
    aside = media.asides[index]
    aside.held = 0 if sends else 1
    if not sends:
        begin_aside(media, index)
    if not is_watched and aside.media_timeout_ns == 0:
        aside.media_timeout_ns = call.media_timeout_ns
        call.media_timeout_ns = _NEVER_NS
    elif is_watched and aside.media_timeout_ns != 0:
        call.media_timeout_ns = aside.media_timeout_ns
        aside.media_timeout_ns = 0
        call.lost_told = 0
        call.last_heard_ns = now_ns
        # The agent's clock may have stood still meanwhile: no jitter.
        media.receptions[index].has_transit = 0
