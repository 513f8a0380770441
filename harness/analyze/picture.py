"""Both channels of a call with its marks, as one SVG that any browser opens: no fonts, scripts or files beside it."""

import numpy as np
from markupsafe import Markup

from harness.analyze.analyse import Analysis
from harness.analyze.recording import Pcm
from harness.analyze.turns import Conversation, Entry, Turn
from harness.report.charts import svg

WIDTH, LEFT = 1200.0, 56.0
LANE, GAP = 56.0, 8.0
ROW = 2 * LANE + GAP + 46.0
# Time in a row; a call of more rows than this gets longer ones.
ROW_S = (20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
MOST_ROWS = 40
_STYLE = (
    "text{font:11px sans-serif;fill:#333}.lane{fill:#f6f7f9}.caller{fill:#3b6fb6}.agent{fill:#2f8f5b}"
    ".said{fill:#3b6fb6;opacity:.13}.spoke{fill:#2f8f5b;opacity:.13}.ttfb{fill:#e0a100;opacity:.35}"
    ".late{fill:#c0392b;opacity:.25}.over{fill:#8e44ad;opacity:.3}.dead{fill:#777;opacity:.18}"
    ".end{stroke:#3b6fb6;stroke-width:1.5}.onset{stroke:#2f8f5b;stroke-width:1.5}.axis{stroke:#bbb}.head{font-weight:bold}"
)


def picture(analysis: Analysis) -> str:
    """Return the SVG's text: rows of time, in each the caller's lane above the agent's."""
    seconds = analysis.recording.duration_ms / 1000
    row_s = next((length for length in ROW_S if seconds / length <= MOST_ROWS), seconds / MOST_ROWS)
    if seconds < row_s:
        row_s = max(1.0, seconds)
    rows = max(1, int(np.ceil(seconds / row_s - 1e-9)))
    parts = [svg.tag("style", Markup(_STYLE)), svg.label(LEFT, 16, _title(analysis), "head")]  # noqa: S704 (ours)
    for row in range(rows):
        parts += _row(analysis, row * row_s * 1000, row_s * 1000, 26 + row * ROW)
    return svg.drawing(WIDTH, 26 + rows * ROW, parts)


def _title(analysis: Analysis) -> str:
    told = analysis.conversation
    return f"{analysis.recording.name}: {told.duration_ms / 1000:.1f} s, {len(told.turns)} turns"


def _row(analysis: Analysis, begin_ms: float, length_ms: float, top: float) -> list[Markup]:
    x = svg.Scale(length_ms, LEFT, WIDTH - 8)
    recording, told = analysis.recording, analysis.conversation
    lower = top + LANE + GAP
    parts = [
        svg.box(LEFT, top, WIDTH - 8 - LEFT, LANE, "lane"),
        svg.box(LEFT, lower, WIDTH - 8 - LEFT, LANE, "lane"),
        svg.label(4, top + LANE / 2 + 4, "caller"),
        svg.label(4, lower + LANE / 2 + 4, "agent"),
        _wave(recording.caller, recording.rate, begin_ms, length_ms, top, "caller"),
        _wave(recording.agent, recording.rate, begin_ms, length_ms, lower, "agent"),
    ]
    axis = [
        svg.label(x(value * 1000), lower + LANE + 26, f"{begin_ms / 1000 + value:g} s", anchor="middle")
        for value in svg.ticks(length_ms / 1000, 10)
    ]
    return [*parts, *axis, *_marks(told, begin_ms, length_ms, x, top)]


def _wave(pcm: Pcm, rate: int, begin_ms: float, length_ms: float, top: float, kind: str) -> Markup:
    """Draw a channel as its highest and lowest sample in each column."""
    first, last = (int(ms * rate / 1000) for ms in (begin_ms, begin_ms + length_ms))
    columns = int(WIDTH - 8 - LEFT)
    step = max(1, (last - first) // columns)
    part = pcm[first : first + step * columns]
    whole = len(part) // step
    if not whole:
        return Markup("")
    cut = part[: whole * step].reshape(whole, step).astype(float)
    # The square root shows speech of -30 dB, which a line as long as the sample is loud does not.
    high, low = (np.sign(v) * np.sqrt(np.abs(v) / 32768) for v in (cut.max(axis=1), cut.min(axis=1)))
    middle, half = top + LANE / 2, LANE / 2 - 1
    above = [f"{LEFT + i:.0f} {middle - v * half:.1f}" for i, v in enumerate(high)]
    below = [f"{LEFT + i:.0f} {middle - v * half + 0.4:.1f}" for i, v in enumerate(low)]
    return svg.tag("path", d="M" + "L".join([*above, *reversed(below)]) + "Z", class_=kind)


def _marks(told: Conversation, begin_ms: float, length_ms: float, x: svg.Scale, top: float) -> list[Markup]:
    lower = top + LANE + GAP
    parts: list[Markup] = []

    def band(start_ms: float, end_ms: float, y: float, height: float, kind: str, title: str) -> None:
        if begin_ms < end_ms and start_ms < begin_ms + length_ms:
            left = x(start_ms - begin_ms)
            parts.append(svg.box(left, y, x(end_ms - begin_ms) - left, height, kind, title=title))

    for one in told.agent:
        band(one.start_ms, one.end_ms, lower, LANE, "spoke", f"agent, {one.start_ms:.0f} to {one.end_ms:.0f} ms")
    for silence in told.dead_air:
        band(silence.start_ms, silence.end_ms, top, 2 * LANE + GAP, "dead", "dead air")
    for turn in told.turns:
        for one in turn.stretches:
            band(one.start_ms, one.end_ms, top, LANE, "said", f"turn {turn.number}")
            for other in told.agent:
                shared = max(one.start_ms, other.start_ms), min(one.end_ms, other.end_ms)
                if shared[0] < shared[1]:
                    band(*shared, top, 2 * LANE + GAP, "over", "both speak")
        parts += _answer(turn, begin_ms, length_ms, x, top)
    return parts


def _answer(turn: Turn, begin_ms: float, length_ms: float, x: svg.Scale, top: float) -> list[Markup]:
    """Draw the wait for an answer: from the turn's end to the onset, or to where nobody waited any longer."""
    lower = top + LANE + GAP
    until_ms = turn.end_ms + turn.waited_ms
    parts: list[Markup] = []
    if turn.entry is Entry.FALSE_ENDPOINT:
        text, kind = f"{turn.number}: false endpoint", "late"
    elif turn.entry is Entry.CENSORED:
        text, kind = f"{turn.number}: no answer in {turn.waited_ms:,.0f} ms", "late"
    else:
        text, kind = f"{turn.number}: TTFB {turn.ttfb_ms or 0:,.0f} ms", "ttfb"
    if turn.end_ms < begin_ms + length_ms and until_ms > begin_ms:
        left = x(turn.end_ms - begin_ms)
        parts.append(svg.box(left, top, x(until_ms - begin_ms) - left, 2 * LANE + GAP, kind, title=text))
    if begin_ms <= turn.end_ms < begin_ms + length_ms:
        at = x(turn.end_ms - begin_ms)
        side = (at + 3, "start") if at < WIDTH - 180 else (at - 3, "end")
        parts += [
            svg.line(at, top, at, lower + LANE, "end"),
            svg.label(side[0], lower + LANE + 13, text, anchor=side[1]),
        ]
    if turn.onset_ms is not None and begin_ms <= turn.onset_ms < begin_ms + length_ms:
        at = x(turn.onset_ms - begin_ms)
        parts.append(svg.line(at, top, at, lower + LANE, "onset"))
    return parts
