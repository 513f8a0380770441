"""The readings that a threshold is about: of its tags, within its stretch of the run, each segment on its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.measure import windows
from harness.measure.rolling import Reading
from harness.measure.windows import Span
from harness.verdict.clauses import WindowName
from harness.verdict.readings import Records, Tags, is_measured, readings_of
from harness.verdict.thresholds import Threshold

_ALWAYS: Span = (float("-inf"), float("inf"))


@dataclass(frozen=True, slots=True)
class Chosen:
    """Readings in the order in which they happened; `why` says why there can be none, "" where there could be."""

    readings: Sequence[Reading]
    spans: Sequence[Span]
    # "accent:british" of a threshold by accent, "" of one that is not taken apart.
    segment: str = ""
    why: str = ""


def choose(threshold: Threshold, run: Records) -> list[Chosen]:
    """Return the readings of each segment, in the order of their names; of a threshold without `by` there is one."""
    metric, by = threshold.metric, threshold.clauses.by.removeprefix("tag_")
    window = threshold.clauses.window
    spans, why = _spans(window, run)
    relation = window.relation if window is not None else windows.DURING
    if not is_measured(metric, run):
        why = "nobody told it of the target"
    tagged = [] if why else readings_of(metric, run, threshold.tags)
    inside = sorted(
        (one for one in tagged if windows.lies(spans, relation, one[0].at_ns, one[0].known_ns)),
        key=lambda one: one[0].at_ns,
    )
    whole = Chosen([reading for reading, _ in inside], spans, why=why)
    if not by or not inside:
        return [whole if not by or why else replace(whole, why=f"no {metric.sample} with the tag {by}")]
    parts: dict[str, list[Reading]] = {}
    for reading, tags in inside:
        if by in tags:
            parts.setdefault(tags[by], []).append(reading)
    if not parts:
        return [replace(whole, readings=[], why=f"no {metric.sample} with the tag {by}")]
    return [Chosen(part, spans, f"{by}:{value or 'none'}") for value, part in sorted(parts.items())]


def _spans(name: WindowName | None, run: Records) -> tuple[Sequence[Span], str]:
    if name is None:
        return (_ALWAYS,), ""
    window = windows.find(run.windows, name.kind, name.name)
    if window is None:
        return (), f"the run had no {name.kind} {name.name}"
    spans = window.related(name.relation)
    return spans, "" if spans else window.why or f"the run ended {_when(name)}"


def _when(name: WindowName) -> str:
    return f"while {name.kind} {name.name} was still going on"


def segment_tags(segment: str) -> Tags:
    """Return a segment's tag and value."""
    key, _, value = segment.partition(":")
    return {key: value} if key else {}
