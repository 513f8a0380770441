"""The tags by which turns and calls are told apart, in breakdowns and in threshold filters.

A turn: accent, native ("true", "false", or "unknown" where nobody said), noise, snr_db ("none" without noise), codec,
vocabulary, length, caller, target, transport, and every key of the record's own `tags`: room, channel, distortion,
condition, domain, speaker and sentence_id of the corpus's manifest, whatever else it tags a clip with, and `load`, the
number of calls that were up (load_level.py). A call: caller, accent, region, patience, transport, codec, target. The
target is "" where a scenario has one, the transport of a turn where its record is of a time before it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from harness.measure.load_level import LOAD
from harness.model.records import CallRecord, TurnRecord

T = TypeVar("T")
_NATIVE = {True: "true", False: "false", None: "unknown"}
_NUMBER = re.compile(r"-?\d{1,9}(\.\d{1,9})?")
_MANIFEST_TAGS = ("room", "channel", "distortion", "condition", "domain", "sentence_id", "speaker")
TURN_TAGS = (
    *("accent", "native", "noise", "snr_db", "room", "channel", "distortion", "condition", "codec", "vocabulary"),
    *("domain", "length", LOAD, "speaker", "sentence_id", "caller", "target", "transport"),
)
CALL_TAGS = ("caller", "accent", "region", "patience", "transport", "codec", "target")
# Segments that say nothing where all turns are of one.
_OF_SEVERAL = frozenset({"target", "transport", LOAD, *_MANIFEST_TAGS})

# Whisper reads 30 s windows, so longer speech is a case of its own.
_LENGTHS = ((4_000.0, "0-4 s"), (8_000.0, "4-8 s"), (12_000.0, "8-12 s"), (30_000.0, "12-30 s"))


def length_of(utterance_ms: float) -> str:
    """Return the length bucket of an utterance; a bucket holds its lower edge."""
    return next((name for below, name in _LENGTHS if utterance_ms < below), "30 s+")


def turn_tags(turn: TurnRecord) -> dict[str, str]:
    """Return every tag of a turn, as text."""
    return {
        **turn.tags,
        "accent": turn.accent,
        "native": _NATIVE[turn.native],
        "noise": turn.noise,
        "snr_db": "none" if turn.snr_db is None else f"{turn.snr_db:g}",
        "codec": turn.codec,
        "vocabulary": turn.vocabulary,
        "length": length_of(turn.utterance_ms),
        "caller": turn.caller,
        "target": turn.target,
        "transport": turn.transport,
    }


def call_tags(call: CallRecord) -> dict[str, str]:
    """Return every tag of a call, as text."""
    return {
        "caller": call.caller,
        "accent": call.persona.accent,
        "region": call.persona.region,
        "patience": call.persona.patience,
        "transport": call.transport,
        "codec": call.codec or "none",
        "target": call.target,
    }


def segmented(
    items: Iterable[T], tags_of: Callable[[T], Mapping[str, str]], also: Iterable[str] = ()
) -> list[tuple[str, str, list[T]]]:
    """Return (key, value, items) of every segment: the keys of TURN_TAGS, `also`, then others by name.

    Each key holds an item at most once. Keys that tell something only by comparison are left out where all items have
    one value.
    """
    tagged = [(tags_of(item), item) for item in items]
    known = [*also, *TURN_TAGS]
    keys = [*known, *sorted({key for tags, _ in tagged for key in tags} - set(known))]
    rows: list[tuple[str, str, list[T]]] = []
    for key in keys:
        values: dict[str, list[T]] = {}
        for tags, item in tagged:
            if key in tags:
                values.setdefault(tags[key], []).append(item)
        if (key in _OF_SEVERAL or key not in known) and _says_nothing(values, len(tagged)):
            continue
        rows.extend((key, value, values[value]) for value in sorted(values, key=_in_order))
    return rows


def _says_nothing(values: Mapping[str, list[T]], n: int) -> bool:
    return len(values) == 1 and all(len(items) == n for items in values.values())


def _in_order(value: str) -> tuple[float, str]:
    """Sort values that begin with a number (levels like "2-4", lengths, SNRs) by it, behind all others."""
    number = _NUMBER.match(value)
    return (float(number[0]) if number else float("-inf")), value
