"""One parameter of a kind of fault: its type, default and legal values; and a value checked against them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Marks a parameter without a default.
REQUIRED: Any = object()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A named value of a kind. `type`: "number", "whole", "text", "flag", "texts" or "choice"."""

    name: str
    type: str
    about: str
    default: Any = REQUIRED
    low: float = 0.0
    high: float = math.inf
    choices: tuple[str, ...] = ()

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.default is REQUIRED

    def legal(self) -> str:
        """Return what it may be, in words."""
        match self.type:
            case "choice":
                return ", ".join(self.choices)
            case "number" | "whole":
                noun = "a number" if self.type == "number" else "a whole number"
                bound = f"of at least {self.low:g}" if self.high == math.inf else f"from {self.low:g} to {self.high:g}"
                return f"{noun} {bound}"
            case "flag":
                return "true or false"
            case "texts":
                return "a list of texts, like [a, b]"
            case _:
                return "text that is not empty"

    def check(self, value: Any) -> Any:
        """Return `value` in its own type. Raises ValueError saying what is legal."""
        if not self._fits(value):
            raise ValueError(f"got {_shown(value)}; legal: {self.legal()}")
        if self.type == "number":
            return float(value)
        return tuple(value) if self.type == "texts" else value

    def _fits(self, value: Any) -> bool:
        match self.type:
            case "choice":
                return isinstance(value, str) and value in self.choices
            case "number":
                return _is_number(value) and self.low <= value <= self.high
            case "whole":
                return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high
            case "flag":
                return isinstance(value, bool)
            case "texts":
                return isinstance(value, list | tuple) and bool(value) and all(isinstance(v, str) and v for v in value)
            case _:
                return isinstance(value, str) and bool(value)

    def read(self, text: str) -> Any:
        """Return the value that a command line's word stands for, unchecked where it stands for none."""
        match self.type:
            case "number" | "whole":
                return _number(text)
            case "flag":
                return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text, text)
            case "texts":
                return [part for part in text.split(",") if part]
            case _:
                return text

    def schema(self) -> dict[str, Any]:
        """Return its JSON Schema."""
        types: dict[str, dict[str, Any]] = {
            "number": {"type": "number"},
            "whole": {"type": "integer"},
            "flag": {"type": "boolean"},
            "texts": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "choice": {"enum": list(self.choices)},
        }
        found: dict[str, Any] = {"description": self.about, **types.get(self.type, {"type": "string", "minLength": 1})}
        if self.type in ("number", "whole"):
            found |= {"minimum": self.low} | ({} if self.high == math.inf else {"maximum": self.high})
        return found if self.is_required or self.default is None else found | {"default": _plain(self.default)}


def number(name: str, about: str, default: Any = REQUIRED, *, low: float = 0.0, high: float = math.inf) -> Parameter:
    """Return a parameter that is a number."""
    return Parameter(name, "number", about, default, low, high)


def whole(name: str, about: str, default: Any = REQUIRED, *, low: float = 0, high: float = math.inf) -> Parameter:
    """Return a parameter that is a whole number."""
    return Parameter(name, "whole", about, default, low, high)


def choice(name: str, about: str, choices: Sequence[str], default: Any = REQUIRED) -> Parameter:
    """Return a parameter that is one of some words."""
    return Parameter(name, "choice", about, default, choices=tuple(choices))


def text(name: str, about: str, default: Any = REQUIRED) -> Parameter:
    """Return a parameter that is text."""
    return Parameter(name, "text", about, default)


def texts(name: str, about: str, default: Any = REQUIRED) -> Parameter:
    """Return a parameter that is a list of texts."""
    return Parameter(name, "texts", about, default)


def flag(name: str, about: str, default: Any = REQUIRED) -> Parameter:
    """Return a parameter that is true or false."""
    return Parameter(name, "flag", about, default)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(word: str) -> Any:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
