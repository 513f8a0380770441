"""report.html: one file that opens offline. The template escapes everything; charts escape their own texts."""

from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from harness.report.analysis import Analysis
from harness.report.view import view_of
from harness.report.wer_words import entity_words
from harness.report.words import bounded_ms, interval, ms, percent, seconds, words

_FILTERS = {
    "ms": ms,
    "bounded_ms": bounded_ms,
    "percent": percent,
    "interval": interval,
    "seconds": seconds,
    "words": words,
    "entity": entity_words,
}


def render(analysis: Analysis) -> str:
    """Return the document."""
    return _template().render(style=Markup(_asset("report.css")), **view_of(analysis))  # noqa: S704 (our own file)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(_FILTERS)
    environment.tests["shown"] = _is_shown
    return environment.from_string(_asset("report.html"))


def _is_shown(value: Any) -> bool:
    return value is not None and value != ""


def _asset(name: str) -> str:
    return files("harness.report").joinpath(name).read_text(encoding="utf-8")
