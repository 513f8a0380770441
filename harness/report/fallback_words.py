"""How many WebRTC calls went on over a WebSocket, and after how long, as reports say it."""

from collections.abc import Sequence
from typing import Any

from harness.measure import fallbacks
from harness.measure.distribution import Sample
from harness.measure.fallbacks import Fallbacks
from harness.model.records import CallRecord
from harness.report.words import bounded_ms, words


def notes_of_fallbacks(calls: Sequence[CallRecord]) -> list[str]:
    """Return a sentence on the calls that gave WebRTC up, and one on what that does to figures; [] without any."""
    found = fallbacks.measure(calls)
    if not found.n_tried:
        return []
    causes = ", ".join(f"{words(cause)} {n}" for cause, n in found.by_cause.items())
    lost = found.n_tried - found.n_went_on
    said = (
        f"{found.n_tried} of {found.n_calls} calls gave WebRTC up ({causes}) after {_span(found.after)}: "
        f"{found.n_went_on} went on over a WebSocket"
        + (f", {_span(found.took)} later" if found.n_went_on else "")
        + (f", {lost} failed there, too." if lost else ".")
    )
    if not found.n_went_on:
        return [said]
    return [
        said,
        (
            "Calls and turns that a WebSocket carried have the transport media_stream: their TTFB is by arrival, as of "
            "every call, and no bad network put on purpose on WebRTC's packets applies to them."
        ),
    ]


def fallbacks_json(calls: Sequence[CallRecord]) -> dict[str, Any] | None:
    """Return the same for summary.json; None where no call gave WebRTC up."""
    found = fallbacks.measure(calls)
    return None if not found.n_tried else _json(found)


def _json(found: Fallbacks) -> dict[str, Any]:
    return {
        "n_calls": found.n_calls,
        "tried": found.n_tried,
        "went_on": found.n_went_on,
        "ratio": round(found.n_went_on / found.n_calls, 6),
        "by_cause": found.by_cause,
        "after_ms": _figures(found.after),
        "took_ms": _figures(found.took),
    }


def _figures(sample: Sample) -> dict[str, float | None]:
    estimates = {
        "p50": sample.percentile(0.5),
        "p95": sample.percentile(0.95),
        "min": sample.minimum(),
        "max": sample.maximum(),
    }
    return {name: None if found is None else round(found.value, 3) for name, found in estimates.items()}


def _span(sample: Sample) -> str:
    """Return the median, and the longest where there are several."""
    median = bounded_ms(sample.percentile(0.5))
    return median if sample.n == 1 else f"{median} at the median and {bounded_ms(sample.maximum())} at most"
