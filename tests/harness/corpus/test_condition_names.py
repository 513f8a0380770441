"""Conditions as a recipe writes them: names, legal values, errors."""

import itertools
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from harness.corpus.conditions.names import CHANNELS, CODECS, condition_name
from harness.corpus.conditions.specs import (
    BUILT_IN,
    BUILT_IN_DISTORTIONS,
    BUILT_IN_ROOMS,
    ClippedSpec,
    ConditionLibrary,
    ConditionSpec,
    NoiseSpec,
    RoomSpec,
    StreetSpec,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        ({}, "clean"),
        ({"noise": "babble", "snr_db": 10}, "babble-10db"),
        ({"noise": "street", "snr_db": -5, "channel": "phone"}, "street-m5db-phone"),
        ({"noise": "car", "snr_db": 2.5}, "car-2p5db"),
        ({"room": "hall"}, "room-hall"),
        ({"channel": "gsm"}, "gsm"),
        (
            {"noise": "babble", "snr_db": 0, "room": "hall", "distortion": "clipped", "channel": "phone-gsm"},
            "babble-0db-room-hall-clipped-phone-gsm",
        ),
    ],
)
def test_a_condition_is_spelled_in_the_order_in_which_it_happens(condition, name):
    assert ConditionSpec(**condition).name == name
    assert ConditionSpec(**condition).is_clean == (name == "clean")


def test_no_two_built_in_conditions_share_a_name():
    snrs = [("clean", None), ("babble", 5), ("babble", -5), ("babble", 0.5), ("street", 5)]
    rooms, distortions = ["none", *BUILT_IN_ROOMS], ["none", *BUILT_IN_DISTORTIONS]
    all_of_them = list(itertools.product(snrs, rooms, distortions, CHANNELS))
    assert len({condition_name(*snr, *rest) for snr, *rest in all_of_them}) == len(all_of_them)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"noise": "babble"}, "legal: both, or neither"),
        ({"snr_db": 5}, "legal: both, or neither"),
        ({"noise": "babble", "snr_db": 99}, "less than or equal to 60"),
        ({"channel": "isdn"}, r"channel 'isdn'; legal: wideband, phone, g711-ulaw"),
        ({"room": "Große Halle"}, "should match pattern"),
        ({"loudness": 3}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_condition_is_refused_with_what_is_legal(wrong, says):
    with pytest.raises(ValidationError, match=says):
        ConditionSpec(**wrong)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (ConditionSpec(noise="rain", snr_db=5), "noise 'rain'; legal: street"),
        (ConditionSpec(room="cave"), "room 'cave'; legal: office, meeting-room, hall"),
        (ConditionSpec(distortion="crackle"), "distortion 'crackle'; legal: clipped, low-level"),
    ],
)
def test_a_name_that_nobody_defined_is_refused(condition, says):
    library = ConditionLibrary(noises={"street": StreetSpec(kind="street")})
    with pytest.raises(ValueError, match=says):
        library.check(condition)


def test_a_library_without_noises_says_so():
    with pytest.raises(ValueError, match="legal: none, for no noise is defined"):
        BUILT_IN.check(ConditionSpec(noise="babble", snr_db=5))


def test_a_recipe_may_redefine_what_is_built_in():
    bathroom = RoomSpec(size_m=(2.4, 2.1, 2.5), rt60_s=0.5, distance_m=0.5)
    library = ConditionLibrary(
        rooms={"hall": bathroom}, distortions={"clipped": ClippedSpec(kind="clipped", over_db=20)}
    )
    assert library.room("hall") == bathroom
    assert library.distortion("clipped").over_db == 20
    assert library.room("office") == BUILT_IN_ROOMS["office"]


@pytest.mark.parametrize("group", ["noises", "rooms", "distortions"])
def test_the_names_of_nothing_cannot_name_something(group):
    spec = {
        "noises": ("clean", {"kind": "street"}),
        "rooms": ("none", BUILT_IN_ROOMS["hall"].model_dump()),
        "distortions": ("none", {"kind": "low-level", "active_dbfs": -50}),
    }[group]
    with pytest.raises(ValidationError, match=f"'{spec[0]}' says that there is nothing"):
        ConditionLibrary(**{group: dict([spec])})


@pytest.mark.parametrize(
    ("room", "says"),
    [
        ({"rt60_s": 0.11}, r"rt60_s 0.11; legal: at least 0\.\d+ in a room of this size"),
        ({"size_m": (2, 2, 2), "rt60_s": 4, "distance_m": 0.5}, r"rt60_s 4; legal: at most \d\.\d+ in a room"),
        ({"size_m": (8, 7, 3), "distance_m": 12}, "distance_m 12 does not fit a room of 8 x 7 m"),
        ({"size_m": (21, 14, 1)}, "greater than or equal to 1.5"),
    ],
)
def test_a_room_that_cannot_be_is_refused(room, says):
    with pytest.raises(ValidationError, match=says):
        RoomSpec(**{**BUILT_IN_ROOMS["hall"].model_dump(), "rt60_s": 1.0, **room})


@pytest.mark.parametrize(
    ("noise", "says"),
    [
        ({"kind": "rain"}, "'babble', 'speech-shaped', 'street', 'car', 'office', 'hum', 'music', 'file'"),
        ({"kind": "hum", "mains_hz": 55}, "Input should be 50 or 60"),
        ({"kind": "hum"}, "Field required"),
        ({"kind": "file", "path": "train.ogg"}, "licence"),
        ({"kind": "babble", "talkers": ["a", "b"], "lines": ["x"]}, "at least 6 items"),
        ({"kind": "music", "bed_ms": 100}, "greater than or equal to 5000"),
    ],
)
def test_a_wrong_noise_is_refused_with_what_is_legal(noise, says):
    with pytest.raises(ValidationError, match=says):
        TypeAdapter(NoiseSpec).validate_python(noise)


@pytest.mark.parametrize("limits", [{}, {"share": 0.1, "over_db": 6}])
def test_clipping_is_stated_in_one_way(limits):
    with pytest.raises(ValidationError, match="either share or over_db"):
        ClippedSpec(kind="clipped", **limits)


DOCS = (Path(__file__).parents[3] / "docs" / "conditions.md").read_text()


def test_the_documented_recipe_is_one():
    document = yaml.safe_load(re.search(r"```yaml\n(.*?)```", DOCS, re.DOTALL)[1])
    library = ConditionLibrary(**{group: document[group] for group in ("noises", "rooms", "distortions")})
    conditions = [ConditionSpec(**condition) for condition in document["conditions"]]
    for condition in conditions:
        library.check(condition)
    assert [condition.name for condition in conditions] == [
        "babble-10db",
        "car-5db-phone-gsm",
        "room-kitchen-overdriven",
    ]


def test_the_documentation_lists_every_kind_room_distortion_and_channel():
    kinds = {get_args(cls.model_fields["kind"].annotation)[0] for cls in get_args(get_args(NoiseSpec)[0])}
    for name in kinds | set(BUILT_IN_ROOMS) | set(BUILT_IN_DISTORTIONS):
        assert f"| `{name}` |" in DOCS, name
    for codec in CODECS:
        assert f"`{codec}`" in DOCS or f"`-{codec.split('-')[-1]}`" in DOCS, codec
