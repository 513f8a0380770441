"""The parameters of a fault, read out of a request and checked: errors name the field and what is legal."""

import math
from collections.abc import Sequence
from typing import Any


class Parameters:
    """Reads each parameter once; `close` refuses what nobody read. All raise ValueError."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._left = dict(values)
        self._known: list[str] = []

    def number(self, name: str, default: float | None = None, *, low: float = 0.0, high: float = math.inf) -> float:
        """Return a finite number from `low` to `high`; without a default it must be there."""
        value = self._take(name, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not low <= value <= high:
            bound = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise ValueError(f"parameters.{name}: got {_shown(value)}; legal: a number {bound}")
        return float(value)

    def whole(self, name: str, default: int | None = None, *, low: int = 0, high: float = math.inf) -> int:
        """Return a whole number from `low` to `high`."""
        value = self.number(name, default, low=low, high=high)
        if not value.is_integer():
            raise ValueError(f"parameters.{name}: got {value:g}; legal: a whole number")
        return int(value)

    def choice(self, name: str, legal: Sequence[str], default: str | None = None) -> str:
        """Return one of some words."""
        value = self._take(name, default)
        if value not in legal:
            raise ValueError(f"parameters.{name}: got {_shown(value)}; legal: {', '.join(legal)}")
        return str(value)

    def text(self, name: str, default: str) -> str:
        """Return text."""
        value = self._take(name, default)
        if not isinstance(value, str):
            raise ValueError(f"parameters.{name}: got {_shown(value)}; legal: text")  # noqa: TRY004  one error class for a bad request
        return value

    def close(self) -> None:
        """Refuse what is left."""
        if self._left:
            legal = ", ".join(self._known) or "none"
            raise ValueError(f"parameters.{next(iter(self._left))}: unknown; legal: {legal}")

    def _take(self, name: str, default: Any) -> Any:
        self._known.append(name)
        value = self._left.pop(name, default)
        if value is None:
            raise ValueError(f"parameters.{name}: missing")
        return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
