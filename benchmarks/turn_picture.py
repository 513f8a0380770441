"""`python -m benchmarks.turn_picture FILE --out docs/img/turn.svg`: one measured turn's way through the stack.

FILE is what `python -m benchmarks.overlap --json` wrote. Drawn is one clip of it, spoken to both agents: the one whose
TTFB with overlap, over the sum of the stages' times without, is the median of all. Every bar is a span that the agent
told; nothing is drawn to a wish.

    caller       the clip's speech, up to its last voice at 0
    endpointing  last voice ─ end of turn
    stt llm tts  each request, pale where it was cancelled or nobody waited for it
    agent        first audible packet and the reply's speech
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks.failure import BenchmarkError
from harness.report.charts import svg

WIDTH, LEFT, RIGHT = 1100.0, 104.0, 16.0
LANE, GAP, TOP = 22.0, 5.0, 40.0
LANES = ("caller", "endpointing", "stt", "llm", "tts", "agent")
PANEL = len(LANES) * (LANE + GAP) + 64.0
# Of the clip's speech, and of the reply's.
BEFORE_MS, AFTER_MS = 3_000.0, 900.0
# What is narrower than this has its length beside it.
LEAST_LABELLED = 48.0
TITLES = {
    "on": "stages overlap (the default)",
    "off": "every stage waits for the whole of the one before (--overlap off)",
}
_STYLE = (
    "text{font:12px sans-serif;fill:#333}.lane{fill:#f6f7f9}.caller{fill:#3b6fb6}.agent{fill:#2f8f5b}"
    ".endpointing{fill:#9aa3ad}.stt{fill:#e0a100}.llm{fill:#8e44ad}.tts{fill:#c0562b}.vain{opacity:.35}"
    ".mark{stroke:#333;stroke-width:1}.grid{stroke:#ddd}.head{font-weight:bold}.wait{stroke:#c0392b;stroke-width:2}"
    ".in{fill:#fff}"
)

Call = Mapping[str, Any]


def median_pair(calls: Sequence[Call]) -> tuple[Call, Call]:
    """Return the calls of one clip with and without overlap whose ratio is nearest to the median of all clips'."""
    by_mode: dict[str, dict[str, list[Call]]] = {"on": {}, "off": {}}
    for call in calls:
        by_mode[call["mode"]].setdefault(call["clip"], []).append(call)
    pairs = [
        (on, off)
        for clip, ours in sorted(by_mode["on"].items())
        for on, off in zip(ours, by_mode["off"].get(clip, []), strict=False)
    ]
    if not pairs:
        raise BenchmarkError("no clip was spoken to both agents")
    middle = statistics.median(map(_ratio, pairs))
    return min(pairs, key=lambda pair: abs(_ratio(pair) - middle))


def _ratio(pair: tuple[Call, Call]) -> float:
    on, off = pair
    return float(on["ttfb_ms"]) / float(off["stage_sum_ms"])


def picture(document: Mapping[str, Any]) -> str:
    """Return the SVG's text of what `benchmarks.overlap --json` wrote."""
    pair = median_pair(document["calls"])
    last_ms = max(float(call["ttfb_ms"]) for call in pair) + AFTER_MS
    x = _Axis(last_ms)
    facts = document["machine"]
    title = (
        f"One turn, clip {pair[0]['clip']}, as measured on {facts['cores']} cores ({facts['date']}, commit "
        f"{facts['commit']}); the median of {len(document['calls']) // 2} such pairs"
    )
    parts = [svg.tag("style", Markup(_STYLE)), svg.label(LEFT, 18, title, "head")]
    for row, call in enumerate(pair):
        parts += _panel(call, x, TOP + row * PANEL)
    height = TOP + 2 * PANEL
    return svg.drawing(WIDTH, height, parts)


class _Axis:
    """ms after the last voice to picture units, held to the ends."""

    def __init__(self, last_ms: float) -> None:
        self.last_ms = last_ms
        self._scale = svg.Scale(BEFORE_MS + last_ms, LEFT, WIDTH - RIGHT)

    def __call__(self, ms: float) -> float:
        return self._scale(BEFORE_MS + ms)


def _panel(call: Call, x: _Axis, top: float) -> list[Markup]:
    parts = [svg.label(LEFT, top + 12, TITLES[call["mode"]], "head")]
    top += 20
    bottom = top + len(LANES) * (LANE + GAP)
    for value in svg.ticks(x.last_ms, 8):
        parts.append(svg.line(x(value), top, x(value), bottom, "grid"))
        parts.append(svg.label(x(value), bottom + 14, f"{value / 1000:g} s", anchor="middle"))
    for row, lane in enumerate(LANES):
        y = top + row * (LANE + GAP)
        parts += [svg.box(LEFT, y, WIDTH - RIGHT - LEFT, LANE, "lane"), svg.label(8, y + 15, lane)]
        for begin, end, words, is_vain in _bars(call, lane, x.last_ms):
            parts += _bar(x, y, begin, end, lane, words, is_vain=is_vain)
    ttfb = float(call["ttfb_ms"])
    parts += [svg.line(x(at), top, x(at), bottom, "mark") for at in (0.0, ttfb)]
    return [*parts, *_wait(call, x, bottom + 24)]


def _bars(call: Call, lane: str, last_ms: float) -> Iterator[tuple[float, float, str, bool]]:
    """Yield (begin, end, words, whether it was in vain) of a lane, in ms after the last voice."""
    if lane == "caller":
        yield -min(BEFORE_MS, float(call["user_audio_ms"])), 0.0, "", False
    elif lane == "agent":
        ttfb = float(call["ttfb_ms"])
        yield ttfb, min(last_ms, ttfb + float(call["spoken_ms"])), "", False
    for name, kind, begin, end in call["spans"]:
        if name == lane and end > -BEFORE_MS:
            is_vain = kind in ("cancelled", "partial") or (kind == "draft" and _is_replaced(call, begin))
            yield max(-BEFORE_MS, begin), end, kind, is_vain


def _is_replaced(call: Call, begin_ms: float) -> bool:
    """Return whether another draft or the final request came after this one: its words are not the turn's."""
    return any(
        name == "stt" and kind in ("draft", "final") and begin > begin_ms for name, kind, begin, _ in call["spans"]
    )


def _bar(x: _Axis, y: float, begin: float, end: float, lane: str, words: str, *, is_vain: bool) -> list[Markup]:
    left, right = x(begin), x(end)
    told = f"{words} {end - begin:,.0f} ms".strip()
    parts = [svg.box(left, y + 2, max(1.5, right - left), LANE - 4, f"{lane} vain" if is_vain else lane, title=told)]
    if lane in ("caller", "agent") or is_vain:
        return parts
    if right - left >= LEAST_LABELLED + 5 * len(words):
        parts.append(svg.label((left + right) / 2, y + 15, told, "in", anchor="middle"))
    else:
        parts.append(svg.label(right + 4, y + 15, told))
    return parts


def _wait(call: Call, x: _Axis, y: float) -> list[Markup]:
    """Draw the caller's wait, and say what the stages took."""
    ttfb = float(call["ttfb_ms"])
    work = ", ".join(f"{name} {ms:,.0f}" for name, ms in call["work_ms"].items())
    told = f"TTFB {ttfb:,.0f} ms; the stages' own times: {work}: in all {float(call['stage_sum_ms']):,.0f} ms"
    return [svg.line(x(0), y - 4, x(ttfb), y - 4, "wait"), svg.label(LEFT, y + 12, told)]


def _read(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text())
    if not isinstance(document, dict) or document.get("benchmark") != "overlap":
        raise BenchmarkError("it was not written by python -m benchmarks.overlap --json")
    return document


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the picture of a measurement."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.turn_picture", description=__doc__)
    command.add_argument("file", type=Path, metavar="FILE", help="written by python -m benchmarks.overlap --json")
    command.add_argument("--out", type=Path, metavar="SVG", required=True, help="where the picture goes")
    options = command.parse_args(arguments)
    try:
        drawn = picture(_read(options.file))
    except (OSError, ValueError, KeyError, BenchmarkError) as error:
        print(f"error: {options.file}: {error!r}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
