"""Which calls a phase serves, and in which order: sorted by port and remote address, so that they batch."""

from typing import Any

from harness.media.hot.jit import compiled


@compiled
def insert_member(media: Any, phase: int, index: int) -> None:
    """Add a call to a phase."""
    members = media.members[phase]
    place = media.member_counts[phase]
    call = media.calls[index]
    while place > 0:
        other = media.calls[members[place - 1]]
        if other.port < call.port or (other.port == call.port and other.remote_id <= call.remote_id):
            break
        members[place] = members[place - 1]
        place -= 1
    members[place] = index
    media.member_counts[phase] += 1


@compiled
def take_out_member(media: Any, phase: int, index: int) -> None:
    """Take a call out of its phase."""
    members = media.members[phase]
    count = media.member_counts[phase]
    place = 0
    while place < count and members[place] != index:
        place += 1
    for later in range(place, count - 1):
        members[later] = members[later + 1]
    media.member_counts[phase] = count - 1
