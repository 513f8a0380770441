"""A JSON message with holes. One template writes a message on the one side and reads it on the other.

    {"event": "mark", "mark": {"name": TEXT("name")}, "streamSid": TEXT("stream_id", may_lack=True)}

Literals are written as they are. Of those, only the ones at the top level named in KEYS tell messages apart when
reading: agents leave out and add fields as they like, and carriers do not mind.
"""

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols.json_fields import shown

# Under one of these a message says what it is.
KEYS = ("event", "type", "action")
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Hole:
    """A value that differs from message to message, by the name of the value it takes."""

    name: str
    # Reading: do without, the value is then left out.
    may_lack: bool = False

    def write(self, value: Any) -> str:
        """Return `value` as JSON."""
        raise NotImplementedError

    def slot(self) -> str:
        """Return where `%` puts a value, for a hole that is filled that way (Template.form)."""
        raise LocalProtocolError(f"the hole '{self.name}' cannot be filled by formatting")

    def read(self, value: Any, path: str) -> Any:
        """Return what the JSON value stands for; RemoteProtocolError names `path`."""
        raise NotImplementedError


class TEXT(Hole):
    """A string."""

    def write(self, value: Any) -> str:
        """Return it quoted."""
        return json.dumps(value)

    def read(self, value: Any, path: str) -> str:
        """Take strings, and numbers as strings."""
        if isinstance(value, str):
            # A lone surrogate is legal JSON but no text.
            return value.encode(errors="replace").decode()
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise RemoteProtocolError(f"{path} must be a string, not {shown(value)}")


class NUMBER(Hole):
    """A whole number; read from a string of digits, too."""

    def write(self, value: Any) -> str:
        """Return its digits."""
        return str(int(value))

    def slot(self) -> str:
        """Return the place of its digits."""
        return f"%({self.name})d"

    def read(self, value: Any, path: str) -> int:
        """Take 8000, 8000.0 and "8000"."""
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            return int(value)
        raise RemoteProtocolError(f"{path} must be a whole number, not {shown(value)}")


class DIGITS(NUMBER):
    """A whole number, written as a string."""

    def write(self, value: Any) -> str:
        """Return its digits, quoted."""
        return f'"{int(value)}"'

    def slot(self) -> str:
        """Return the place of its digits, quoted."""
        return f'"%({self.name})d"'


class AUDIO(Hole):
    """Audio in base64 (RFC 4648 section 4); written from bytes, or from what is base64 already."""

    def write(self, value: Any) -> str:
        """Return it quoted."""
        return f'"{value if isinstance(value, str) else base64.b64encode(value).decode()}"'

    def slot(self) -> str:
        """Return the place of its base64, quoted."""
        return f'"%({self.name})s"'

    def read(self, value: Any, path: str) -> bytes:
        """Decode strictly: what a carrier could not play must be told, not guessed."""
        if not isinstance(value, str):
            raise RemoteProtocolError(f"{path} must be a string, not {shown(value)}")
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except ValueError as error:
            raise RemoteProtocolError(f"{path} is not base64: {error}") from error


class STRINGS(Hole):
    """An object of strings."""

    def write(self, value: Any) -> str:
        """Return it as JSON."""
        return json.dumps(value)

    def read(self, value: Any, path: str) -> dict[str, str]:
        """Take an object; values that are no strings are read as JSON text."""
        if not isinstance(value, dict):
            raise RemoteProtocolError(f"{path} must be an object, not {shown(value)}")
        return {str(k): v if isinstance(v, str) else json.dumps(v) for k, v in value.items()}


class PAIRS(Hole):
    """Strings by name as `name=value;name=value`."""

    def write(self, value: Any) -> str:
        """Return it quoted."""
        return json.dumps(";".join(f"{k}={v}" for k, v in value.items()))

    def read(self, value: Any, path: str) -> dict[str, str]:
        """Take pairs; "" and "{}" are none."""
        if not isinstance(value, str):
            raise RemoteProtocolError(f"{path} must be a string, not {shown(value)}")
        pairs = (pair.partition("=") for pair in value.split(";") if "=" in pair)
        return {name.strip(): text for name, _, text in pairs}


class OBJECT(Hole):
    """An object of which one may put into it what one likes: kept whole, as a name by which it comes back."""

    def write(self, value: Any) -> str:
        """Return an object that was read as it was, any other name as {"name": name}."""
        return value if value.startswith("{") else json.dumps({"name": value})

    def read(self, value: Any, path: str) -> str:
        """Return what `write` takes."""
        if isinstance(value, dict) and value.keys() == {"name"} and isinstance(value["name"], str):
            name = value["name"]
            return name if not name.startswith("{") else json.dumps(value)
        if not isinstance(value, dict):
            raise RemoteProtocolError(f"{path} must be an object, not {shown(value)}")
        return json.dumps(value)


@dataclass(frozen=True, slots=True)
class WORDS(Hole):
    """One word for each of two states."""

    word_if: str = ""
    word_if_not: str = ""

    def write(self, value: Any) -> str:
        """Return the word."""
        return json.dumps(self.word_if if value else self.word_if_not)

    def read(self, value: Any, path: str) -> bool:
        """Tell which state it is."""
        if value not in (self.word_if, self.word_if_not):
            raise RemoteProtocolError(f"{path} must be '{self.word_if_not}' or '{self.word_if}', not {shown(value)}")
        return bool(value == self.word_if)


@dataclass(frozen=True, slots=True)
class RATED(Hole):
    """A media type with the sample rate in it: `audio/l16;rate=16000`."""

    prefix: str = ""

    def write(self, value: Any) -> str:
        """Return the media type of a rate."""
        return json.dumps(f"{self.prefix}{int(value)}")

    def read(self, value: Any, path: str) -> int:
        """Return the rate."""
        if not isinstance(value, str) or not value.replace(" ", "").lower().startswith(self.prefix):
            raise RemoteProtocolError(f"{path} must be {self.prefix}<Hz>, not {shown(value)}")
        return NUMBER(self.name).read(value.partition("=")[2].strip(), path)


# Beside the other fields, an object's strings stand at the top level: {"event": ..., "name": "value", ...}.
BESIDE = "*"
_Json = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """One kind of message; `json` holds literals and holes."""

    json: _Json
    _parts: list[str | Hole] = field(init=False)
    _holes: list[tuple[tuple[str, ...], Hole]] = field(init=False)

    def __post_init__(self) -> None:
        parts: list[str | Hole] = []
        _cut({k: v for k, v in self.json.items() if k != BESIDE}, parts)
        object.__setattr__(self, "_parts", _joined(parts))
        object.__setattr__(self, "_holes", list(_holes_of(self.json, ())))

    @property
    def mark(self) -> tuple[str, str] | None:
        """By what it is known: one of KEYS and its literal; None for a message without."""
        return next(((key, self.json[key]) for key in KEYS if isinstance(self.json.get(key), str)), None)

    def write(self, values: Mapping[str, Any]) -> str:
        """Return the message; `values` has one for each hole."""
        try:
            text = "".join([part if isinstance(part, str) else part.write(values[part.name]) for part in self._parts])
        except KeyError as error:
            raise LocalProtocolError(f"a {self.mark} message needs a value for {error}") from error
        beside = self.json.get(BESIDE)
        if beside is None or not values[beside.name]:
            return text
        return text[:-1] + ", " + json.dumps(values[beside.name])[1:]

    def form(self, values: Mapping[str, Any], open_holes: Collection[str]) -> str:
        """Return the message as a string for `%` and a mapping: `open_holes` stay open, the others are filled."""
        if BESIDE in self.json:
            raise LocalProtocolError(f"a {self.mark} message has no fixed form")
        return "".join(
            part.slot() if isinstance(part, Hole) and part.name in open_holes else _filled(part, values)
            for part in self._parts
        )

    def read(self, message: _Json, what: str) -> dict[str, Any]:
        """Return the value of each hole that the message fills; RemoteProtocolError for one that it had to."""
        values: dict[str, Any] = {}
        for path, hole in self._holes:
            if path[-1] == BESIDE:
                rest = {k: v for k, v in message.items() if k not in self.json}
                values[hole.name] = hole.read(rest, what)
                continue
            value: Any = message
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                values[hole.name] = hole.read(value, f"{what}.{'.'.join(path)}")
            elif not hole.may_lack:
                raise RemoteProtocolError(f"{what}.{'.'.join(path)} is missing")
        return values


def _filled(part: str | Hole, values: Mapping[str, Any]) -> str:
    text = part if isinstance(part, str) else part.write(values[part.name])
    return text.replace("%", "%%")


def _cut(value: Any, parts: list[str | Hole]) -> None:
    """Write JSON into `parts`, cut at the holes."""
    if isinstance(value, Hole):
        parts.append(value)
    elif isinstance(value, dict):
        for i, (key, inner) in enumerate(value.items()):
            parts.append(("{" if i == 0 else ", ") + json.dumps(key) + ": ")
            _cut(inner, parts)
        parts.append("}")
    else:
        parts.append(json.dumps(value))


def _joined(parts: list[str | Hole]) -> list[str | Hole]:
    joined: list[str | Hole] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _holes_of(value: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Hole]]:
    if isinstance(value, Hole):
        return [(path, value)]
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in _holes_of(inner, (*path, key))]
    return []


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


# Made once: `json.loads` with an option makes one a message.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def load_message(text: str) -> tuple[_Json, tuple[str, str] | None]:
    """Return a JSON object and by what it is known; RemoteProtocolError for anything else."""
    try:
        message = _DECODER.decode(text)
    # RecursionError: nesting deeper than the interpreter's stack.
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"message is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise RemoteProtocolError(f"message must be a JSON object, not {shown(message)}")
    for key in KEYS:
        value = message.get(key)
        if isinstance(value, str):
            return message, (key, value[:_SHOWN])
    return message, None
