"""Records and plans to JSON values and back.

One rule: a missing optional field takes its default, an unknown one is left out.
"""

import dataclasses
import types
import typing
from collections.abc import Callable
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


_Read = Callable[[Any, str], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    """How one field of a dataclass is read; `read` takes the raw value and where it stands."""

    name: str
    where: str
    read: _Read
    is_optional: bool


_FIELDS: dict[type, tuple[_Field, ...]] = {}


def _fields(cls: Any) -> tuple[_Field, ...]:
    """Resolve the annotations of a dataclass once."""
    if cls not in _FIELDS:
        hints = typing.get_type_hints(cls)
        _FIELDS[cls] = tuple(
            _Field(
                f.name,
                f"{cls.__name__}.{f.name}",
                _reader(hints[f.name]),
                f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING,
            )
            for f in dataclasses.fields(cls)
        )
    return _FIELDS[cls]


def from_json(cls: type[T], raw: Any) -> T:
    """Build a `cls` from what `to_json` wrote; raises TypeError or ValueError naming the field that does not fit."""
    if not isinstance(raw, dict):
        raise TypeError(f"{cls.__name__}: expected an object, got {type(raw).__name__}")
    values: dict[str, Any] = {}
    for f in _fields(cls):
        if f.name in raw:
            values[f.name] = f.read(raw[f.name], f.where)
        elif not f.is_optional:
            raise TypeError(f"{f.where} is missing")
    return cls(**values)


def _reader(hint: Any) -> _Read:
    """Return what reads a value of this annotation."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        arms = typing.get_args(hint)
        read = _reader(next(a for a in arms if a is not type(None)))
        return (lambda raw, where: None if raw is None else read(raw, where)) if type(None) in arms else _not_null(read)
    if dataclasses.is_dataclass(hint):
        return lambda raw, _where: from_json(typing.cast("type[Any]", hint), raw)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda raw, _where: hint(raw)
    if origin is tuple:
        read_each = _reader(typing.get_args(hint)[0])
        return lambda raw, where: tuple(read_each(v, where) for v in raw)
    if hint is float:
        return lambda raw, _where: float(raw)
    return lambda raw, _where: raw


def _not_null(read: _Read) -> _Read:
    def read_value(raw: Any, where: str) -> Any:
        if raw is None:
            raise TypeError(f"{where} must not be null")
        return read(raw, where)

    return read_value
