"""A call's packet of one 20 ms tick: which payload it carries. packet.py has the rest of its way.

hold, digits (aside.py) --> clip --> background or silence --> packet.py
"""

from typing import Any

from harness.media.hot.aside import ASIDE, FREE, NO_CHANGE, QUIET, TAKEN, end_aside, send_aside
from harness.media.hot.batch import CLIP_STARTED, FIRST_VOICED, LAST_VOICED
from harness.media.hot.jit import compiled
from harness.media.hot.likely import unlikely
from harness.media.hot.packet import NOTHING, quiet_packet, send_payload, skip_packet

__all__ = ["NOTHING", "NO_CHANGE", "send_tick"]


@compiled
def send_tick(media: Any, index: int, now_ns: int, due_ns: int) -> None:
    """Send the call's packet of this tick, or nothing while a call that uses DTX is silent."""
    call = media.calls[index]
    clip = call.clip
    if unlikely(call.next_clip != NO_CHANGE) and now_ns >= call.next_clip_at_ns:
        took = _change(media, index, now_ns, due_ns)
        if took == TAKEN:
            return
        clip = NOTHING if took == QUIET else call.clip
    marks = 0
    if clip >= 0:
        marks = _clip_marks(media.clips[clip], call.position)
        packet = _clip_packet(media, call)
    else:
        packet = quiet_packet(media, call)
    if packet == NOTHING:
        skip_packet(media, call, now_ns, due_ns)
    else:
        send_payload(media, index, packet, marks, (marks & CLIP_STARTED) != 0, clip, due_ns)
    call.timestamp = (call.timestamp + call.ticks_per_packet) & 0xFFFFFFFF


@compiled
def _change(media: Any, index: int, now_ns: int, due_ns: int) -> int:
    """Do what was asked for this tick; return what it leaves of it (aside.py)."""
    call = media.calls[index]
    if call.next_clip == ASIDE:
        took = send_aside(media, index, now_ns, due_ns)
        if took == TAKEN:
            call.timestamp = (call.timestamp + call.ticks_per_packet) & 0xFFFFFFFF
        if took != FREE:
            return took
        end_aside(media, index)
    if call.next_clip != NO_CHANGE and now_ns >= call.next_clip_at_ns:
        call.clip = call.next_clip
        call.position = 0
        call.next_clip = NO_CHANGE
    return FREE


@compiled
def _clip_marks(clip: Any, position: int) -> int:
    marks = 0
    if position == 0:
        marks |= CLIP_STARTED
    if position == clip.first_voiced:
        marks |= FIRST_VOICED
    if position == clip.last_voiced:
        marks |= LAST_VOICED
    return marks


@compiled
def _clip_packet(media: Any, call: Any) -> int:
    """Return the row of the clip's payload that is due; moves the position on."""
    clip = media.clips[call.clip]
    packet = clip.first_packet + call.position
    call.position += 1
    if call.position >= clip.packets:
        call.clip = NOTHING
    return packet
