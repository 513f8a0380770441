"""The few SVG parts that the charts are made of. Every text is escaped here."""

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def _number(value: Any) -> Any:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def tag(name: str, content: Any = "", **attributes: Any) -> Markup:
    """Return an element; a trailing or inner "_" in an attribute's name reads as nothing or "-"."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, Markup(pairs), content)  # noqa: S704 (every value is escaped above)


def join(parts: list[Markup]) -> Markup:
    """Return the parts in order."""
    return Markup("").join(parts)


def label(x: float, y: float, text: Any, kind: str = "label", anchor: str = "start") -> Markup:
    """Return a text; `kind` is its class."""
    return tag("text", escape(text), x=float(x), y=float(y), class_=kind, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> Markup:
    """Return a straight line."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=kind)


def box(x: float, y: float, width: float, height: float, kind: str, *, title: str = "", radius: float = 0) -> Markup:
    """Return a rectangle; `title` is what a pointer over it shows."""
    tip = tag("title", escape(title)) if title else ""
    width, height = max(0.0, float(width)), max(0.0, float(height))
    return tag("rect", tip, x=float(x), y=float(y), width=width, height=height, class_=kind, rx=radius or None)


def drawing(width: float, height: float, parts: list[Markup]) -> str:
    """Return a picture that is a file of its own."""
    whole = tag(
        "svg",
        join(parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        role="img",
    )
    return f"{whole}\n"


def chart(width: float, height: float, parts: list[Markup], summary: str) -> Markup:
    """Return the whole picture; `summary` is what a screen reader says of it."""
    return tag(
        "svg",
        join([tag("title", escape(summary)), *parts]),
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        class_="chart",
        style=f"max-width:{width:g}px",
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps 0..`top` to `start`..`end` in picture units, held to the ends."""

    top: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where `value` lies."""
        share = min(1.0, max(0.0, value / self.top)) if self.top > 0 else 0.0
        return self.start + share * (self.end - self.start)


def step_for(top: float, parts: int) -> float:
    """Return the round step (1, 2, 2.5 or 5 times a power of ten) that cuts 0..`top` into at most `parts`."""
    raw = max(top, 1e-9) / parts
    power = 10.0 ** math.floor(math.log10(raw))
    return next(s * power for s in _STEPS if s * power >= raw * (1 - 1e-9))


def ticks(top: float, parts: int) -> list[float]:
    """Return 0 and every round step up to `top`."""
    step = step_for(top, parts)
    return [i * step for i in range(math.floor(top / step * (1 + 1e-9)) + 1)]


def time_tick(value_ms: float, top_ms: float) -> str:
    """Return an axis label of a duration: ms below two seconds of range, else seconds."""
    if top_ms <= 2_000:
        return f"{value_ms:g} ms" if value_ms else "0"
    return f"{value_ms / 1000:g} s"
