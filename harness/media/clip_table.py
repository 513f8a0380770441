"""Clips as the loop reads them: every payload of every clip by its memory address."""

import numpy as np
import numpy.typing as npt

from harness.media.background_line import MOST_BYTES, PACKETS, BackgroundLine, memory_of_a_line
from harness.media.clips import Clip
from harness.media.codecs import CODECS, Codec
from harness.media.hot.jit import address_of
from harness.media.hot.layout import Media
from harness.media.payloads import Payloads
from harness.model.errors import GeneratorError

# Of a ring: no packet is the first voiced one, none the last.
_NOWHERE = -1


class ClipTable:
    """Enters each clip once; entered clips stay for the life of the loop."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self._clips: list[Clip] = []
        self._index: dict[int, int] = {}
        # Keeps the payloads' memory.
        self._memory: list[npt.NDArray[np.uint8]] = []
        self._packets = 0
        # Rings that no call has at the moment.
        self._lines: list[BackgroundLine] = []
        self._silence = [self._enter(Payloads([codec.silence])) for codec in CODECS]

    def silence_packet(self, codec: Codec) -> int:
        """Return the row of the codec's silence."""
        return self._silence[codec.index]

    def __getitem__(self, index: int) -> Clip:
        """Return the clip of a row."""
        return self._clips[index]

    def index_of(self, clip: Clip) -> int:
        """Return the clip's row, entering it when it is new. Raises GeneratorError when the table is full."""
        known = self._index.get(id(clip))
        return self._keep(clip) if known is None else known

    def take_line(self) -> BackgroundLine:
        """Return a ring of packets that one call is to have. Raises GeneratorError when the table is full."""
        if self._lines:
            return self._lines.pop()
        clip = Clip("", Payloads([b"\0"] * PACKETS), _NOWHERE, _NOWHERE)
        row = self._media.clips[self._keep(clip)]
        memory = memory_of_a_line()
        self._memory.append(memory.reshape(-1))
        addresses = self._media.packets[row.first_packet : row.first_packet + PACKETS]
        addresses[:, 0] = address_of(memory) + MOST_BYTES * np.arange(PACKETS)
        return BackgroundLine(clip, addresses, memory)

    def give_back(self, line: BackgroundLine) -> None:
        """Let another call have a ring that the loop sends from no more."""
        self._lines.append(line)

    def _keep(self, clip: Clip) -> int:
        index = len(self._clips)
        if index >= len(self._media.clips):
            raise GeneratorError(f"more than {index} different clips in one engine")
        row = self._media.clips[index]
        row.first_packet, row.packets = self._enter(clip.payloads), len(clip.payloads)
        row.first_voiced, row.last_voiced = clip.first_voiced_packet, clip.last_voiced_packet
        self._clips.append(clip)
        self._index[id(clip)] = index
        return index

    def _enter(self, payloads: Payloads) -> int:
        first = self._packets
        if first + len(payloads) > len(self._media.packets):
            raise GeneratorError(f"more than {len(self._media.packets)} packets of different clips in one engine")
        # The clip's own: nothing is copied.
        memory = np.frombuffer(payloads.joined, np.uint8)
        self._memory.append(memory)
        lengths = np.array(payloads.lengths, np.int64)
        rows = self._media.packets[first : first + len(payloads)]
        rows[:, 1] = lengths
        rows[:, 0] = address_of(memory) + np.concatenate(([0], np.cumsum(lengths)[:-1]))
        self._packets += len(payloads)
        return first
