"""One toxic of a proxy: its type, attributes, stream and toxicity, as the API takes and tells them. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

STREAMS = ("upstream", "downstream")
# Each type's attributes. Milliseconds; bytes; the slicer's delay in microseconds; a rate in 1,000 bytes a second.
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "latency": ("latency", "jitter"),
    "bandwidth": ("rate",),
    "slow_close": ("delay",),
    "timeout": ("timeout",),
    "reset_peer": ("timeout",),
    "slicer": ("average_size", "size_variation", "delay"),
    "limit_data": ("bytes",),
}


class ToxicError(ValueError):
    """A toxic as it cannot be; the text is the API's answer."""


@dataclass(frozen=True, slots=True)
class Toxic:
    """One toxic in force. `since_s`: when it was added or changed last, by the event loop's clock."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: Mapping[str, float]
    since_s: float

    def __getitem__(self, attribute: str) -> float:
        """Return an attribute, 0 where it was not given."""
        return self.attributes.get(attribute, 0)

    @property
    def instance(self) -> tuple[str, float]:
        """What this one is told apart by from one of the same name that was before it, or was it before a change."""
        return self.name, self.since_s

    def as_json(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        told = {name: int(value) if float(value).is_integer() else value for name, value in self.attributes.items()}
        return {
            "attributes": told,
            "name": self.name,
            "type": self.type,
            "stream": self.stream,
            "toxicity": self.toxicity,
        }


def toxic_from(said: Mapping[str, Any], now_s: float) -> Toxic:
    """Return a new toxic. Raises ToxicError."""
    type_ = said.get("type")
    if type_ not in ATTRIBUTES:
        raise ToxicError(f"invalid toxic type; legal: {', '.join(ATTRIBUTES)}")
    stream = said.get("stream") or "downstream"
    if stream not in STREAMS:
        raise ToxicError("stream was invalid, can be either upstream or downstream")
    name = said.get("name") or f"{type_}_{stream}"
    if not isinstance(name, str):
        raise ToxicError("name: legal: text")
    empty = Toxic(name, str(type_), str(stream), 1.0, dict.fromkeys(ATTRIBUTES[str(type_)], 0), now_s)
    return changed(empty, said, now_s)


def changed(toxic: Toxic, said: Mapping[str, Any], now_s: float) -> Toxic:
    """Return it with another toxicity or other attributes; its type, name and stream stay. Raises ToxicError."""
    attributes = said.get("attributes") or {}
    if not isinstance(attributes, Mapping):
        raise ToxicError("attributes: legal: an object")
    unknown = sorted(set(attributes) - set(ATTRIBUTES[toxic.type]))
    if unknown:
        raise ToxicError(f"attributes.{unknown[0]}: unknown; legal: {', '.join(ATTRIBUTES[toxic.type])}")
    for name, value in attributes.items():
        if not _is_number(value):
            raise ToxicError(f"attributes.{name}: legal: a number of at least 0")
    toxicity = said.get("toxicity", toxic.toxicity)
    if not _is_number(toxicity) or toxicity > 1:
        raise ToxicError("toxicity: legal: a number from 0 to 1")
    return replace(toxic, toxicity=toxicity, attributes={**toxic.attributes, **attributes}, since_s=now_s)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
