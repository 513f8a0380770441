"""Prometheus text (exposition format 0.0.4): one function a kind of metric; a row is its labels and its value."""

from collections.abc import Iterable, Mapping

from target_stack.telemetry.stats import DurationHistogram

Row = tuple[Mapping[str, str], float]
# One sample: what follows the metric's name ("" or "_bucket"), its labels, its value.
_Sample = tuple[str, Mapping[str, str], float]


def by(label: str, counts: Mapping[str, float]) -> list[Row]:
    """Return a row for each entry, sorted, with its key as the value of `label`."""
    return [({label: name}, count) for name, count in sorted(counts.items())]


def gauge(name: str, text: str, rows: Iterable[Row]) -> str:
    """Return the family `callquake_NAME`."""
    return _family(f"callquake_{name}", "gauge", text, [("", labels, value) for labels, value in rows])


def counter(name: str, text: str, rows: Iterable[Row]) -> str:
    """Return the family `callquake_NAME_total`."""
    return _family(f"callquake_{name}_total", "counter", text, [("", labels, value) for labels, value in rows])


def durations(name: str, text: str, label: str, histograms: Mapping[str, DurationHistogram]) -> str:
    """Return the histogram family `callquake_NAME_seconds`, one series an entry, its key the value of `label`.

    `label` "": an only series without one.
    """
    samples: list[_Sample] = []
    for key, histogram in histograms.items():
        labels = {label: key} if label else {}
        for bound_ms, count in histogram.cumulative():
            bound = "+Inf" if bound_ms == float("inf") else _number(bound_ms / 1e3)
            samples.append(("_bucket", {**labels, "le": bound}, count))
        samples.append(("_sum", labels, histogram.sum_ms / 1e3))
        samples.append(("_count", labels, histogram.count))
    return _family(f"callquake_{name}_seconds", "histogram", text, samples)


def values(name: str, text: str, counts: DurationHistogram) -> str:
    """Return the histogram family `callquake_NAME` of values that are no durations: bounds and sum as they are."""
    samples: list[_Sample] = [
        ("_bucket", {"le": "+Inf" if bound == float("inf") else _number(bound)}, count)
        for bound, count in counts.cumulative()
    ]
    samples += [("_sum", {}, counts.sum_ms), ("_count", {}, counts.count)]
    return _family(f"callquake_{name}", "histogram", text, samples)


def _family(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{suffix}{_labels(labels)} {_number(value)}" for suffix, labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(float(value))
