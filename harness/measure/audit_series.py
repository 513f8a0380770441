"""One process's samples of a leak audit: which of them count, and how fast what it holds grows.

Only samples after the warm-up count, and only while about as many calls were up as in the median sample: a process that
holds more calls holds more. The slope is Theil and Sen's, of the medians of equal stretches, per hour.

A process that was not there for the whole run is told and not judged by its slope: it has filled its caches and pools
for as long as it lived, or the one that follows begins to; those beside it, which are the same program, are judged.
"""

import statistics
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from harness.measure.audit_rows import AuditRow, Check, Load
from harness.measure.audit_rules import AuditRules
from harness.measure.generator_health import HealthPoint
from harness.measure.theil_sen import theil_sen
from harness.model.audit_sample import CALLS, TASKS, AuditSample, Side
from harness.model.clock import NS_PER_S

_NS_PER_HOUR = 3600.0 * NS_PER_S
_NS_PER_MINUTE = 60.0 * NS_PER_S
# What nobody but the process itself can tell.
_OWN_WORDS = frozenset({TASKS, CALLS})
CallsAt = Callable[[int], float | None]


@dataclass(frozen=True, slots=True)
class Watched:
    """One process that was sampled; times are those of its first and last sample."""

    side: Side
    process: str
    pid: int
    n: int
    first_ns: int
    last_ns: int
    why: str = ""


def series_of(samples: Iterable[AuditSample], rules: AuditRules, load: Load) -> "list[Series]":
    """Return the samples, ascending, process by process in the order of their first."""
    found: dict[tuple[Side, str, int], list[AuditSample]] = {}
    for sample in samples:
        if sample.process and (not sample.is_ordered or (sample.side, sample.process, sample.pid) in found):
            found.setdefault((sample.side, sample.process, sample.pid), []).append(sample)
    at = _calls_at(load.health)
    series = [Series(one, rules, at, load) for one in found.values()]
    return [one.within(_span(series)) for one in series]


def _span(series: "Sequence[Series]") -> tuple[int, int]:
    """Return when the load began and ended, by the samples under it; (0, 0) where there are none."""
    times = [sample.at_ns for one in series for sample in one.during]
    return (min(times), max(times)) if times else (0, 0)


def _calls_at(health: Sequence[HealthPoint]) -> CallsAt:
    """Return a function that tells how many calls all engines held at an instant, by what each had told last."""
    latest: dict[str, int] = {}
    times: list[int] = []
    calls: list[float] = []
    for point in sorted(health, key=lambda one: one.at_ns):
        latest[point.worker] = point.calls_active
        times.append(point.at_ns)
        calls.append(float(sum(latest.values())))

    def at(at_ns: int) -> float | None:
        index = bisect_right(times, at_ns) - 1
        return calls[index] if index >= 0 else None

    return at


class Series:
    """One process's samples, ascending."""

    def __init__(self, samples: list[AuditSample], rules: AuditRules, calls_at: CallsAt, load: Load) -> None:
        self.samples, self._rules, self._calls_at = samples, rules, calls_at
        readable = [sample for sample in samples if sample.values]
        self.has_values = bool(readable)
        self.first, self.last = (readable or samples)[0], (readable or samples)[-1]
        self.key = (self.first.side, self.first.process)
        self.during = [s for s in samples if not s.is_after and s.values and s.at_ns >= (load.first_due_ns or 0)]
        # It was still there after the load.
        self.is_after = self.last.is_after and self.has_values
        self._matched = self._match()
        # It did not die: its end was ordered.
        self.is_ordered = any(sample.is_ordered for sample in samples)
        # Minutes it was there, of those that the load lasted; () = all of them.
        self._missed: tuple[float, float] | tuple[()] = ()

    def within(self, span: tuple[int, int]) -> Self:
        """Take note of when the load began and ended."""
        begin, end = span
        if self.during:
            first, last = self.during[0].at_ns, self.during[-1].at_ns
            slack = max(self._rules.warm_up * (end - begin), 2 * self._rules.every_s * NS_PER_S)
            if first - begin > slack or end - last > slack:
                self._missed = ((last - first) / _NS_PER_MINUTE, (end - begin) / _NS_PER_MINUTE)
        return self

    @property
    def lives_through(self) -> bool:
        """Whether it was there from the load's begin to its end."""
        return bool(self.during) and not self._missed

    def watched(self) -> Watched:
        """Return what was watched."""
        whys = [sample.why for sample in self.samples if sample.why]
        one = self.first
        n = sum(bool(sample.values) for sample in self.samples)
        return Watched(one.side, one.process, one.pid, n, one.at_ns, self.last.at_ns, whys[-1] if whys else "")

    def _calls(self, sample: AuditSample) -> float | None:
        told = sample.values.get(CALLS)
        return self._calls_at(sample.at_ns) if told is None else told

    def matched_calls(self) -> list[float]:
        """Return the calls that were up, all engines' together, in each sample that counts."""
        return [calls for s in self._matched if (calls := self._calls_at(s.at_ns)) is not None]

    def _match(self) -> list[AuditSample]:
        """Return the samples after the warm-up in which about as many calls were up as in the median one."""
        if not self.during:
            return []
        begin, end = self.during[0].at_ns, self.during[-1].at_ns
        warm = [s for s in self.during if s.at_ns >= begin + self._rules.warm_up * (end - begin)]
        calls = [(sample, held) for sample in warm if (held := self._calls(sample)) is not None]
        if not calls:
            return []
        usual = statistics.median(held for _, held in calls)
        if usual <= 0:
            return []
        slack = max(1.0, self._rules.load_band * usual)
        return [sample for sample, held in calls if abs(held - usual) <= slack]

    def growth(self) -> list[AuditRow]:
        """Judge the slope of each quantity."""
        rows = [self._growth(name, bound) for name, bound in self._rules.growth_per_hour.items()]
        return [row for row in rows if row is not None]

    def _growth(self, quantity: str, bound: float | None) -> AuditRow | None:
        points = self._windows(quantity)
        one = self.first
        row = AuditRow(one.side, one.process, one.pid, quantity, Check.GROWTH, len(points), bound=bound)
        row = replace(row, is_needed=self.is_after or one.side is Side.OWN)
        if not any(quantity in sample.values for sample in self.samples):
            return None if self._is_untold(quantity) else replace(row, why=f"not measured{self._why()}")
        slope = theil_sen([(at / _NS_PER_HOUR, value) for at, value in points])
        if len(points) < self._rules.min_windows or slope is None:
            return replace(row, why=self._too_few(len(points)), is_needed=row.is_needed and not self._missed)
        row = replace(row, value=slope.per_x, low=slope.low, high=slope.high, first=points[0][1], last=points[-1][1])
        shown = f"{slope.per_x:+.3g} an hour ({slope.low:+.3g} to {slope.high:+.3g}, n {len(points)})"
        if bound is None:
            return replace(row, is_kept=True, why=f"{shown}, not judged")
        if self._missed:
            lived = "it was there for {:.0f} of {:.0f} minutes".format(*self._missed)
            return replace(row, bound=None, is_kept=True, why=f"{shown}, not judged: {lived}")
        shown += f", at most {bound:g}"
        if slope.low > bound:
            return replace(row, is_kept=False, why=f"grew by {shown}")
        is_kept = True if slope.high <= bound else None
        return replace(row, is_kept=is_kept, why=shown if is_kept else f"undecided: {shown}; soak for longer")

    def _is_untold(self, quantity: str) -> bool:
        """Whether nobody but the process itself could have told it, and it does not."""
        return quantity in _OWN_WORDS and self.has_values

    def _why(self) -> str:
        return f": {why}" if (why := self.watched().why) else ""

    def _too_few(self, n: int) -> str:
        if not self._matched:
            return "not measured: no calls were up after its warm-up"
        return f"not measured: samples at matched load in {n} stretches, at least {self._rules.min_windows} are needed"

    def _windows(self, quantity: str) -> list[tuple[float, float]]:
        """Return (time in ns, median) of each stretch that has samples."""
        told = [(s.at_ns, s.values[quantity]) for s in self._matched if quantity in s.values]
        if not told:
            return []
        begin = told[0][0]
        length = max(1.0, (told[-1][0] - begin + 1) / self._rules.windows)
        stretches: dict[int, list[tuple[int, float]]] = {}
        for at_ns, value in told:
            stretches.setdefault(int((at_ns - begin) / length), []).append((at_ns, value))
        return [
            (statistics.fmean(at for at, _ in found), statistics.median(value for _, value in found))
            for _, found in sorted(stretches.items())
        ]
