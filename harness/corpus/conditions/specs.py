"""How a recipe writes conditions: kinds of noise, rooms, distortions, and which of them meet in a clip.

Parsing needs the base packages only; making a clip needs the `corpus` extra.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.corpus.conditions.names import (
    CHANNELS,
    CLEAN,
    NO_DISTORTION,
    NO_ROOM,
    WIDEBAND,
    condition_name,
)
from harness.corpus.conditions.room_spec import BUILT_IN_ROOMS, RoomSpec

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Spec = TypeVar("Spec")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Bed(_Strict):
    # How long the stretch is that clips are cut from; it joins its own beginning.
    bed_ms: int = Field(default=24_000, ge=5_000, le=600_000)


class BabbleSpec(_Bed):
    """Several talkers at once, at equal level."""

    kind: Literal["babble"]
    talkers: tuple[str, ...] = Field(min_length=6)
    lines: tuple[str, ...] = Field(min_length=1)


class SpeechShapedSpec(_Bed):
    """Steady noise with the long-term spectrum of speech (ITU-T P.50)."""

    kind: Literal["speech-shaped"]


class StreetSpec(_Bed):
    """Road, tyres, an idling engine, vehicles passing."""

    kind: Literal["street"]


class CarSpec(_Bed):
    """Inside a moving car: rumble, engine, tyres, joints of the road."""

    kind: Literal["car"]


class OfficeSpec(_Bed):
    """Air conditioning, fans and keyboards."""

    kind: Literal["office"]


class HumSpec(_Bed):
    """The mains in the wiring: its frequency and harmonics."""

    kind: Literal["hum"]
    mains_hz: Literal[50, 60]


class MusicSpec(_Bed):
    """Music made from the seed: chords, bass, melody and drums; nobody's work."""

    kind: Literal["music"]


class FileSpec(_Bed):
    """A recording of the user's own; shorter ones than `bed_ms` are looped."""

    kind: Literal["file"]
    # Relative to the recipe.
    path: str = Field(min_length=1)
    # Clips that hold the recording are under it, too.
    licence: str = Field(min_length=1)


NoiseSpec = Annotated[
    BabbleSpec | SpeechShapedSpec | StreetSpec | CarSpec | OfficeSpec | HumSpec | MusicSpec | FileSpec,
    Field(discriminator="kind"),
]


class ClippedSpec(_Strict):
    """An overdriven microphone; what was over its limit is flat. The level is as it was before."""

    kind: Literal["clipped"]
    # How much of the active speech time is flat.
    share: float | None = Field(default=None, gt=0, le=0.9)
    # By how much the highest peak would be over the limit.
    over_db: float | None = Field(default=None, gt=0, le=60)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.share is None) == (self.over_db is None):
            raise ValueError("legal: either share or over_db")
        return self


class LowLevelSpec(_Strict):
    """A caller far from the microphone, or a bad line: quiet, noise and all."""

    kind: Literal["low-level"]
    # ITU-T P.56 level of the speech.
    active_dbfs: float = Field(ge=-70, le=-20)


DistortionSpec = Annotated[ClippedSpec | LowLevelSpec, Field(discriminator="kind")]

BUILT_IN_DISTORTIONS: dict[str, ClippedSpec | LowLevelSpec] = {
    "clipped": ClippedSpec(kind="clipped", share=0.1),
    "low-level": LowLevelSpec(kind="low-level", active_dbfs=-46),
}


class ConditionSpec(_Strict):
    """One condition: the names of what meets in a clip, each left out where it does not happen."""

    noise: Name = CLEAN
    snr_db: float | None = Field(default=None, ge=-30, le=60)
    room: Name = NO_ROOM
    distortion: Name = NO_DISTORTION
    channel: Name = WIDEBAND

    @model_validator(mode="after")
    def _snr_with_noise(self) -> Self:
        if (self.noise == CLEAN) != (self.snr_db is None):
            raise ValueError(f"noise {self.noise!r} with snr_db {self.snr_db}; legal: both, or neither")
        if self.channel not in CHANNELS:
            raise ValueError(f"channel {self.channel!r}; legal: {', '.join(CHANNELS)}")
        return self

    @property
    def name(self) -> str:
        """What the condition is called, e.g. "street-5db-phone"."""
        return condition_name(self.noise, self.snr_db, self.room, self.distortion, self.channel)

    @property
    def is_clean(self) -> bool:
        """Whether nothing happens to the speech."""
        return self == _CLEAN


_CLEAN = ConditionSpec()


class ConditionLibrary(_Strict):
    """What the names in conditions mean; a recipe adds to the built-in rooms and distortions, or redefines them."""

    noises: dict[Name, NoiseSpec] = Field(default_factory=dict)
    rooms: dict[Name, RoomSpec] = Field(default_factory=dict)
    distortions: dict[Name, DistortionSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        for group, taken in ((self.noises, CLEAN), (self.rooms, NO_ROOM), (self.distortions, NO_DISTORTION)):
            if taken in group:
                raise ValueError(f"{taken!r} says that there is nothing and cannot name something")
        return self

    def room(self, name: str) -> RoomSpec:
        """Return the room of that name; ValueError names the legal ones."""
        return _find("room", {**BUILT_IN_ROOMS, **self.rooms}, name)

    def distortion(self, name: str) -> ClippedSpec | LowLevelSpec:
        """Return the distortion of that name; ValueError names the legal ones."""
        return _find("distortion", {**BUILT_IN_DISTORTIONS, **self.distortions}, name)

    def check(self, condition: ConditionSpec) -> None:
        """Raise ValueError where a condition names what nobody has defined; the text gives place and legal names."""
        if condition.noise != CLEAN:
            _find("noise", self.noises, condition.noise)
        if condition.room != NO_ROOM:
            self.room(condition.room)
        if condition.distortion != NO_DISTORTION:
            self.distortion(condition.distortion)


BUILT_IN = ConditionLibrary()


def _find(what: str, group: Mapping[str, Spec], name: str) -> Spec:
    if name not in group:
        raise ValueError(f"{what} {name!r}; legal: {', '.join(group) or f'none, for no {what} is defined'}")
    return group[name]
