"""Records and plans to JSON values and back.

One rule: a missing optional field takes its default, an unknown one is left out.
"""

import dataclasses
import operator
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


# Already JSON; by exact type, for a StrEnum is none of them.
_PLAIN = frozenset((str, int, float, bool, type(None)))
_Write = Callable[[Any], dict[str, Any]]
_WRITERS: dict[type, _Write | None] = {}


def _writer(cls: Any) -> _Write | None:
    """Return what writes a dataclass, None for any other type; made once, since records come by the thousand."""
    if cls not in _WRITERS:
        _WRITERS[cls] = _new_writer(cls) if dataclasses.is_dataclass(cls) else None
    return _WRITERS[cls]


def _new_writer(cls: Any) -> _Write | None:
    hints = typing.get_type_hints(cls)
    names = tuple(f.name for f in dataclasses.fields(cls))
    # The rest is JSON as it is.
    deep = tuple(name for name in names if not _is_plain(hints[name]))
    if len(names) < 2:
        return lambda value: {name: to_json(getattr(value, name)) for name in names}
    read = operator.attrgetter(*names)

    def write(value: Any) -> dict[str, Any]:
        fields = dict(zip(names, read(value), strict=True))
        for name in deep:
            if type(fields[name]) not in _PLAIN:
                fields[name] = to_json(fields[name])
        return fields

    return write


def _is_plain(hint: Any) -> bool:
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return set(typing.get_args(hint)) <= _PLAIN if is_union else hint in _PLAIN


def to_json(value: Any) -> Any:
    """Return `value` (dataclasses, tuples, enums nested at will) as JSON-ready dicts, lists and scalars."""
    cls = type(value)
    if cls in _PLAIN:
        return value
    write = _writer(cls)
    if write is not None:
        return write(value)
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
    """How one field of a dataclass is read; `read` takes the raw value and where it stands, None takes it as it is."""

    name: str
    where: str
    read: _Read | None
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
                _field_reader(hints[f.name]),
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
    for f in _FIELDS.get(cls) or _fields(cls):
        name = f.name
        if name in raw:
            values[name] = raw[name] if f.read is None else f.read(raw[name], f.where)
        elif not f.is_optional:
            raise TypeError(f"{f.where} is missing")
    return cls(**values)


def _field_reader(hint: Any) -> _Read | None:
    return None if hint in _PLAIN - {float} or hint is Any else _reader(hint)


def _reader(hint: Any) -> _Read:
    """Return what reads a value of this annotation."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        arms = typing.get_args(hint)
        read = _reader(next(a for a in arms if a is not type(None)))
        return (lambda raw, where: None if raw is None else read(raw, where)) if type(None) in arms else _not_null(read)
    if dataclasses.is_dataclass(hint):
        # What somebody has read before is taken as it is.
        return lambda raw, _where: raw if type(raw) is hint else from_json(typing.cast("type[Any]", hint), raw)
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
