"""Records and plans to JSON values and back.

One rule: a missing optional field takes its default, an unknown one is left out.
"""

import dataclasses
import types
import typing
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


# Already JSON; by exact type, for a StrEnum is none of them.
_PLAIN = frozenset((str, int, float, bool, type(None)))
_NAMES: dict[type, tuple[str, ...]] = {}


def _names(cls: type) -> tuple[str, ...]:
    """Return the field names of a dataclass, none for any other type; looked up once."""
    if cls not in _NAMES:
        _NAMES[cls] = tuple(f.name for f in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else ()
    return _NAMES[cls]


def to_json(value: Any) -> Any:
    """Return `value` (dataclasses, tuples, enums nested at will) as JSON-ready dicts, lists and scalars."""
    cls = type(value)
    if cls in _PLAIN:
        return value
    if names := _names(cls):
        fields = ((name, getattr(value, name)) for name in names)
        return {name: v if type(v) in _PLAIN else to_json(v) for name, v in fields}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    return value


_HINTS: dict[Any, dict[str, Any]] = {}


def _hints(cls: Any) -> dict[str, Any]:
    """Resolve the annotations of a dataclass once."""
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)
    return _HINTS[cls]


def from_json(cls: type[T], raw: Any) -> T:
    """Build a `cls` from what `to_json` wrote; raises TypeError or ValueError naming the field that does not fit."""
    if not isinstance(raw, dict):
        raise TypeError(f"{cls.__name__}: expected an object, got {type(raw).__name__}")
    values: dict[str, Any] = {}
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        if f.name in raw:
            values[f.name] = _value(_hints(cls)[f.name], raw[f.name], f"{cls.__name__}.{f.name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise TypeError(f"{cls.__name__}.{f.name} is missing")
    return cls(**values)


def _value(hint: Any, raw: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        arms = typing.get_args(hint)
        if raw is None:
            if type(None) in arms:
                return None
            raise TypeError(f"{where} must not be null")
        return _value(next(a for a in arms if a is not type(None)), raw, where)
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast("type[Any]", hint), raw)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(raw)
    if origin is tuple:
        arms = typing.get_args(hint)
        each = arms[0]
        return tuple(_value(each, v, where) for v in raw)
    return float(raw) if hint is float else raw
