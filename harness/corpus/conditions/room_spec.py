"""A room to speak in: its size, how long it rings, and how far the talker is from the microphone."""

from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

SPEED_OF_SOUND = 343.0
# Where the middle between talker and microphone lies, as a share of length and width: off every line of symmetry, on
# which reflections would arrive together.
_MIDDLE = (0.46, 0.43)
# The line between them, off the walls' directions for the same reason.
_BEARING_RAD = 0.35
_HEIGHT_M = 1.2
_WALL_GAP_M = 0.2
# Image sources grow with the cube of the RT60; this many take some seconds and some hundred MB.
_MOST_IMAGES = 3_000_000

Metres = Annotated[float, Field(ge=1.5, le=60)]
Point = tuple[float, float, float]


class RoomSpec(BaseModel):
    """A shoebox room (length, width and height in m) whose walls all absorb alike."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size_m: tuple[Metres, Metres, Metres]
    # Time in which the sound of the room falls by 60 dB (ISO 3382), in the 500 Hz and 1 kHz octaves.
    rt60_s: float = Field(ge=0.1, le=5)
    # From the mouth to the microphone.
    distance_m: float = Field(ge=0.1, le=20)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        length, width, height = self.size_m
        volume = length * width * height
        surface = 2 * (length * width + length * height + width * height)
        # Sabine's formula with walls that swallow nine tenths.
        shortest = 24 * np.log(10) / SPEED_OF_SOUND * volume / (0.9 * surface)
        if self.rt60_s < shortest:
            raise ValueError(f"rt60_s {self.rt60_s:g}; legal: at least {shortest:.2f} in a room of this size")
        longest = (_MOST_IMAGES * volume / (4 / 3 * np.pi)) ** (1 / 3) / SPEED_OF_SOUND
        if self.rt60_s > longest:
            raise ValueError(f"rt60_s {self.rt60_s:g}; legal: at most {longest:.2f} in a room of this size")
        for point in self.placed():
            if not all(_WALL_GAP_M <= at <= side - _WALL_GAP_M for at, side in zip(point, self.size_m, strict=True)):
                raise ValueError(
                    f"distance_m {self.distance_m:g} does not fit a room of {length:g} x {width:g} m with "
                    f"{_WALL_GAP_M} m to the walls; legal: less"
                )
        return self

    def placed(self) -> tuple[Point, Point]:
        """Return where talker and microphone stand, in m from a corner."""
        half = self.distance_m / 2 * np.array([np.cos(_BEARING_RAD), np.sin(_BEARING_RAD)])
        middle = np.array(self.size_m[:2]) * _MIDDLE
        height = min(_HEIGHT_M, 0.45 * self.size_m[2])
        talker, microphone = middle - half, middle + half
        return (float(talker[0]), float(talker[1]), height), (float(microphone[0]), float(microphone[1]), height)


# Sizes are chosen so that no side is a multiple of another. RT60s are what such rooms have: a furnished office 0.3 to
# 0.5 s, a bare meeting room 0.6 s and more, a hall above 1 s.
BUILT_IN_ROOMS = {
    "office": RoomSpec(size_m=(4.6, 3.7, 2.7), rt60_s=0.35, distance_m=0.8),
    "meeting-room": RoomSpec(size_m=(7.3, 5.1, 2.9), rt60_s=0.6, distance_m=2.0),
    "hall": RoomSpec(size_m=(21.0, 14.3, 6.7), rt60_s=1.3, distance_m=4.0),
}
