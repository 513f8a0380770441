"""Where in a recording an agent's packets lie: by RTP time, each talkspurt from when it came.

RTP time alone is smooth, but knows nothing of how late an answer was on its way: a sender that falls behind between two
answers, or whose clock drifts, would have its answers earlier in the file than they came. So a talkspurt, from 100 ms
before an onset that the call's ear told to 100 ms behind its last audible packet, is moved to the arrival of the packet
with its onset; within it packets lie by RTP time. A playout buffer adapts in the same places (RFC 3551 4.1).

Pure; positions in samples of the recording.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

AROUND_MS = 100
# An onset that was dated between packets that were lost belongs to none further away than this.
SAME_PACKET_MS = 30
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Talkspurt:
    """What the ear told: arrival of the packet with the onset, and of the last audible one; None = it speaks on."""

    onset: int
    last: int | None


def placed(at: Positions, arrived: Positions, spurts: Sequence[Talkspurt], rate: int) -> Positions:
    """Return where each packet lies; `at` is where it does by RTP time alone, `arrived` when it came."""
    moved = at.copy()
    if not len(at):
        return moved
    around = AROUND_MS * rate // 1000
    for index, spurt in enumerate(spurts):
        first = int(np.argmin(np.abs(arrived - spurt.onset)))
        if abs(int(arrived[first]) - spurt.onset) > SAME_PACKET_MS * rate // 1000:
            continue
        ends = [] if spurt.last is None else [spurt.last + around]
        if index + 1 < len(spurts):
            ends.append(spurts[index + 1].onset - around)
        its = at >= at[first] - around
        if ends:
            its &= at < min(ends)
        moved[its] = at[its] + (arrived[first] - at[first])
    return moved
