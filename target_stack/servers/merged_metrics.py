"""The media servers' metrics as one page: what each says is added up, sample by sample. Pure: text in, text out.

Counters and histograms add up, and so do gauges that count things (calls, queue depths, limits). Gauges that do not,
such as a percentile or a switch, are folded by the largest value, which for an alert is the one to be seen. NaN is
treated as by PromQL: a sum with it is NaN, the largest value passes over it.
"""

import math
import re
from collections.abc import Iterable

from harness.model.prometheus_text import sample_of

# By what stands in the family's name, behind "callquake_".
_LARGEST = re.compile(
    r"_p\d+_ms$|_alert$|budget_ms$|breaker$|overflowing$|_up$|_is_|context_limit|cold_start|emulated$|kv_ratio|utilisation|temperature|_ratio$"
)


def merged(pages: Iterable[str]) -> str:
    """Return one page in exposition format 0.0.4; families and samples keep the order of the first page that has them.

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
                _fold(line, samples.setdefault(family, {}), is_largest=_LARGEST.search(family) is not None)
    return "".join(_family(heads.get(name, []), found) for name, found in samples.items() if found)


def _fold(line: str, found: dict[str, float], *, is_largest: bool) -> None:
    sample = sample_of(line)
    if sample is None:
        return
    before = found.get(sample.series)
    if before is None:
        found[sample.series] = sample.value
    elif not is_largest:
        found[sample.series] = before + sample.value
    elif math.isnan(before) or sample.value > before:
        found[sample.series] = sample.value


def _family(head: list[str], found: dict[str, float]) -> str:
    lines = [*head, *(f"{name} {_number(value)}" for name, value in found.items())]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) else repr(value)
