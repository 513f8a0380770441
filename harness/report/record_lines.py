"""One record file, read line by line: what cannot be a record is left out and told with its line.

The types of a record say what its fields may hold; numbers must be finite and of a size that a run can come to, or the
figures and the JSON made of them would break far from the line at fault.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Hashable
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from harness.model.audit_sample import AuditSample
from harness.model.codec import from_json
from harness.model.errors import ScenarioError
from harness.model.fault import FaultEvent
from harness.model.histogram import Histogram
from harness.model.records import CallRecord, HealthSample, TurnRecord
from harness.model.target_sample import TargetSample

T = TypeVar("T", CallRecord, TurnRecord, HealthSample, FaultEvent, TargetSample, AuditSample)
# Half of 64 bits, as CLOCK_MONOTONIC counts; no time, count or ratio of a run is beyond it.
_LARGEST = 2**63
_SHOWN = 5


def read_records(path: Path, cls: type[T], notes: list[str], key: Callable[[T], Hashable] | None = None) -> list[T]:
    """Return the records of `path`, none when it was never written; of those with one `key`, the last.

    Lines left out are counted in `notes`. Raises ScenarioError when the file cannot be read at all.
    """
    lines = _lines(path)
    records: dict[Hashable, T] = {}
    faults: list[str] = []
    repeated: list[int] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = _record(cls, line)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            torn = number == len(lines)
            why = "the last line is torn: the run was killed while writing it" if torn else _in_words(error)
            faults.append(f"{path.name}:{number}: {why}")
            continue
        name: Hashable = number if key is None else key(record)
        if records.pop(name, None) is not None:
            repeated.append(number)
        records[name] = record
    n_lines = sum(bool(line.strip()) for line in lines)
    notes += _left_out(path.name, faults, n_lines) + _repeats(path.name, repeated)
    return list(records.values())


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from error


def _record(cls: type[T], line: bytes) -> T:
    record = from_json(cls, json.loads(line))
    _check(cls, record, cls.__name__)
    if isinstance(record, HealthSample):
        ticks = Histogram.from_json(record.tick_lateness_ms)
        _check(dict[int, int], ticks.counts, "HealthSample.tick_lateness_ms.counts")
        _check(float, ticks.maximum, "HealthSample.tick_lateness_ms.max")
        ticks.percentile(1.0)
    return record


def check_fields(record: Any) -> None:
    """Raise TypeError or ValueError, naming the place, when a field of a dataclass holds what its type does not say."""
    _check(type(record), record, type(record).__name__)


def _check(hint: Any, value: Any, where: str) -> None:
    """Raise TypeError or ValueError, naming the place, when `value` is not what `hint` says."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is not None:
            _check(next(a for a in typing.get_args(hint) if a is not type(None)), value, where)
    elif dataclasses.is_dataclass(hint):
        for name, kind in typing.get_type_hints(hint).items():
            _check(kind, getattr(value, name), f"{where}.{name}")
    elif origin is tuple:
        arms = typing.get_args(hint)
        if arms[-1] is Ellipsis:
            arms = arms[:1] * len(value)
        if len(value) != len(arms):
            raise ValueError(f"{where}: {len(arms)} values expected, got {len(value)}")
        for arm, each in zip(arms, value, strict=True):
            _check(arm, each, where)
    elif origin is dict:
        _check_dict(typing.get_args(hint), value, where)
    else:
        _check_scalar(hint, value, where)


def _check_dict(arms: tuple[Any, ...], value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"{where}: an object expected, got {value!r:.60}")
    for name, each in value.items():
        _check_scalar(arms[0], name, where)
        if arms[1] is not object:
            _check(arms[1], each, f"{where}.{name}")


def _check_scalar(hint: Any, value: Any, where: str) -> None:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return
    if type(value) is not hint:
        raise TypeError(f"{where}: {_NAMES[hint]} expected, got {value!r:.60}")
    if isinstance(value, str):
        # A lone surrogate, which JSON can hold and no report can.
        value.encode()
    # Not a number is not below anything, either.
    elif isinstance(value, int | float) and not abs(value) < _LARGEST:
        raise ValueError(f"{where}: {value!r:.60} is no time, count or ratio of a run")


_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _in_words(error: Exception) -> str:
    if isinstance(error, OverflowError):
        return "a number in it is too large"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _left_out(name: str, faults: list[str], n_lines: int) -> list[str]:
    if not faults:
        return []
    more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
    shown = "; ".join([*faults[:_SHOWN], *more])
    return [f"{len(faults)} of the {n_lines} lines of {name} could not be read and are in no figure: {shown}"]


def _repeats(name: str, numbers: list[int]) -> list[str]:
    if not numbers:
        return []
    shown = ", ".join(f"{name}:{number}" for number in numbers[:_SHOWN])
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return [f"{len(numbers)} records stand more than once in {name}; the last of each counts: {shown}{more}"]
