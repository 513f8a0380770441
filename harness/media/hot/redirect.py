"""A call that goes on elsewhere or otherwise: another address, other numbers, keys or codec (re-INVITE, forks).

Its row stays, and with it what was counted and what the ear knows, who is speaking included, whatever the codec. Python
has written what the call becomes into a row of `redirects`, which the loop takes over between two ticks.
"""

from typing import Any

from harness.media.hot.aside import ASIDE, NO_CHANGE
from harness.media.hot.batch import flush
from harness.media.hot.dtmf import drop_digits
from harness.media.hot.ear import ear_change
from harness.media.hot.gcm import move_stream
from harness.media.hot.jit import compiled
from harness.media.hot.layout import NAME_BYTES, Event
from harness.media.hot.members import insert_member, take_out_member
from harness.media.hot.packet import NOTHING
from harness.media.hot.senders import forget_call, keep_call
from harness.media.hot.tell import tell


@compiled
def redirect_call(media: Any, index: int, row: int, now_ns: int) -> None:
    """Have a call become what row `row` of `redirects` says, and tell that the row is free."""
    call = media.calls[index]
    if call.active:
        flush(media)
        _address(media, index, row)
        _rekey(media, index, row)
        _speak(media, index, row)
        # Whom the call is with from now on has all the time there is to be heard.
        call.last_heard_ns = now_ns
        call.lost_told = 0
    tell(media, Event.REDIRECTED, index, now_ns, row)


@compiled
def _address(media: Any, index: int, row: int) -> None:
    call = media.calls[index]
    becomes = media.redirects[row]
    if becomes.key != call.key:
        if call.key != 0:
            forget_call(media, call.key)
        call.key = becomes.key
        if call.key != 0:
            keep_call(media, call.key, index)
    for i in range(NAME_BYTES):
        media.names[index, i] = becomes.name[i]
        media.rtcp_names[index, i] = becomes.rtcp_name[i]
    call.name_length = becomes.name_length
    media.asides[index].rtcp_name_length = becomes.rtcp_name_length
    if becomes.remote_id != call.remote_id:
        take_out_member(media, call.phase, index)
        call.remote_id = becomes.remote_id
        insert_member(media, call.phase, index)


@compiled
def _rekey(media: Any, index: int, row: int) -> None:
    call = media.calls[index]
    becomes = media.redirects[row]
    # The keys of redirects lie behind those of the calls.
    staged = 2 * (len(media.calls) + row)
    if becomes.rekeyed_out:
        call.srtp_out = becomes.srtp_out
        move_stream(media.gcm, staged, 2 * index)
    if becomes.rekeyed_in:
        call.srtp_in = becomes.srtp_in
        move_stream(media.gcm, staged + 1, 2 * index + 1)


@compiled
def _speak(media: Any, index: int, row: int) -> None:
    call = media.calls[index]
    aside = media.asides[index]
    becomes = media.redirects[row]
    call.ssrc = becomes.ssrc
    call.payload_type = becomes.payload_type
    call.heard_type = becomes.heard_type
    call.background = becomes.background
    call.silence_packet = becomes.silence_packet
    aside.events_out = becomes.events_out
    aside.events_in = becomes.events_in
    if aside.events_out < 0:
        drop_digits(aside)
    if media.ears[index].codec == becomes.codec:
        return
    # Clips are of one codec: what is being spoken ends here.
    call.ticks_per_packet = becomes.ticks_per_packet
    call.clock_rate = becomes.clock_rate
    call.background_position = 0
    call.clip = NOTHING
    if call.next_clip == ASIDE:
        aside.waiting_clip = NO_CHANGE
    else:
        call.next_clip = NO_CHANGE
    # Another clock: what it says of jitter has no common unit with what was.
    media.receptions[index].has_transit = 0
    media.receptions[index].jitter = 0.0
    ear_change(media.ears[index], becomes.codec, becomes.by_size, becomes.opus_memory)
