"""The media servers' metrics as one page: what each says is added up, sample by sample. Pure: text in, text out.

Counters and histograms add up, and so do gauges that count things (calls, queue depths, limits). Gauges that do not,
such as a percentile or a switch, are folded by their worst value, which for an alert is the one to be seen. What every
server reads of the one machine, its GPUs, is folded by the largest, counters too. NaN is treated as by PromQL: a sum
with it is NaN, the worst value passes over it.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable

from harness.model.prometheus_text import sample_of

# By what stands in the family's name, behind "callquake_".
_LARGEST = re.compile(
    r"_p\d+_ms$|_alert$|budget_ms$|breaker$|overflowing$|_is_|context_limit|cold_start|check_seconds$|emulated$|kv_ratio"
    r"|provider_wait_seconds$|_gpus?(_|$)|_ratio$"
)
# What a language model's server says of itself: the same to all, where all ask the same one.
_OF_LLM_SERVER = re.compile(r"_llm_server_requests$")
# Of these less is worse.
_SMALLEST = re.compile(r"_up$|_counted_by_server$|_(disclosure|consent)_ratio$")


def merged(pages: Iterable[str], *, has_one_llm: bool = False) -> str:
    """Return one page in exposition format 0.0.4; families and samples keep the order of the first page that has them.

    `has_one_llm`: the servers ask one language model's server, not each its own.
    Lines that are no samples are left out: a server that talks nonsense must not hide the others.
    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, dict[str, float]] = {}
    for page in pages:
        family = ""
        for line in page.split("\n"):
            if line.startswith("# "):
                kind, _, rest = line[2:].partition(" ")
                name = rest.partition(" ")[0]
                family = name
                lines = heads.setdefault(name, [])
                if kind in ("HELP", "TYPE") and not any(x.startswith(f"# {kind} ") for x in lines):
                    lines.append(line)
            else:
                _fold(line, samples.setdefault(family, {}), _folding(family, has_one_llm=has_one_llm))
    return "".join(_family(heads.get(name, []), found) for name, found in samples.items() if found)


def _folding(family: str, *, has_one_llm: bool) -> Callable[[float, float], float]:
    """Return how two servers' values of this family become one."""
    if _SMALLEST.search(family):
        return min
    is_same = has_one_llm and _OF_LLM_SERVER.search(family)
    return max if is_same or _LARGEST.search(family) else operator.add


def _fold(line: str, found: dict[str, float], together: Callable[[float, float], float]) -> None:
    sample = sample_of(line)
    if sample is None:
        return
    before, now = found.get(sample.series), sample.value
    if before is None or (math.isnan(before) and together is not operator.add):
        found[sample.series] = now
    elif together is operator.add or not math.isnan(now):
        found[sample.series] = together(before, now)


def _family(head: list[str], found: dict[str, float]) -> str:
    lines = [*head, *(f"{name} {_number(value)}" for name, value in found.items())]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) else repr(value)
