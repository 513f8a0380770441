"""Checked reads of JSON that a peer sent: every error is RemoteProtocolError and names the path of the field."""

import json
import math
from dataclasses import dataclass, field
from typing import Any, NoReturn

from harness.model.errors import RemoteProtocolError

_SHOWN = 80


def load_object(text: str | bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in `text`; RemoteProtocolError for anything else, with NaN and endless nesting refused."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    # RecursionError: nesting deeper than the interpreter's stack.
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"{what} must be a JSON object, not {shown(value)}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def shown(value: object) -> str:
    """Return how `value` is named in an error: short, and without what the user said."""
    if value is None or isinstance(value, bool | int | float):
        return str(value)[:_SHOWN]
    return "a string" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"


class _Required:
    """No default: the field must be there."""


_REQUIRED: Any = _Required()


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object whose reads are checked; errors name the path. null counts as missing (`exclude_none` JSON)."""

    path: str
    values: dict[str, Any] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        """Return the raw value, None when missing."""
        return self.values.get(key)

    def text(self, key: str, default: str = _REQUIRED) -> str:
        """Return a string."""
        value: str = self._read(key, str, "a string", default)
        # A lone surrogate escape is legal JSON but no text: it could not be written to a UTF-8 file.
        return value.encode(errors="replace").decode()

    def flag(self, key: str, default: bool = _REQUIRED) -> bool:
        """Return true or false."""
        value: bool = self._read(key, bool, "true or false", default)
        return value

    def integer(self, key: str) -> int:
        """Return a required integer."""
        value = self._read(key, int, "an integer", _REQUIRED)
        if isinstance(value, bool):
            raise RemoteProtocolError(f"{self.path}.{key} must be an integer, not {shown(value)}")
        return int(value)

    def number(self, key: str) -> float:
        """Return a required finite number."""
        value = self._read(key, (int, float), "a number", _REQUIRED)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if isinstance(value, bool) or not math.isfinite(number):
            raise RemoteProtocolError(f"{self.path}.{key} must be a finite number, not {shown(value)}")
        return number

    def inner(self, key: str, default: dict[str, Any] = _REQUIRED) -> "Fields":
        """Return the object under `key`, with its path."""
        return Fields(f"{self.path}.{key}", self._read(key, dict, "an object", default))

    def objects(self, key: str) -> "list[Fields]":
        """Return the list of objects under `key`, empty when missing."""
        values = self._read(key, list, "a list", [])
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise RemoteProtocolError(f"{self.path}.{key}[{index}] must be an object, not {shown(value)}")
        return [Fields(f"{self.path}.{key}[{i}]", v) for i, v in enumerate(values)]

    def _read(self, key: str, kind: type | tuple[type, ...], legal: str, default: Any) -> Any:
        value = self.values.get(key)
        if value is None:
            if default is _REQUIRED:
                raise RemoteProtocolError(f"{self.path}.{key} is missing")
            return default
        if not isinstance(value, kind):
            raise RemoteProtocolError(f"{self.path}.{key} must be {legal}, not {shown(value)}")
        return value
