"""Figures as people read them, the same in every report."""

from harness.measure.distribution import Estimate

NOT_MEASURED = "not measured"


def ms(value: float | None, *, unit: bool = True) -> str:
    """Return a duration in whole ms, with a thin figure below 10."""
    if value is None:
        return NOT_MEASURED
    digits = 1 if abs(value) < 10 else 0
    return f"{value:,.{digits}f}{' ms' if unit else ''}"


def bounded_ms(estimate: Estimate | None, *, unit: bool = True) -> str:
    """Return a duration, with "≥" before it when it is a lower bound."""
    if estimate is None:
        return NOT_MEASURED
    return ("≥ " if estimate.is_lower_bound else "") + ms(estimate.value, unit=unit)


def percent(ratio: float | None) -> str:
    """Return a ratio in percent with one decimal."""
    return NOT_MEASURED if ratio is None else f"{ratio:.1%}"


def interval(ci: tuple[float, float] | None) -> str:
    """Return a ratio's 95% interval, "" when there is none."""
    return f"{ci[0] * 100:.1f} to {ci[1] * 100:.1f}%" if ci else ""


def words(name: str) -> str:
    """Return an identifier as words."""
    return name.replace("_", " ")


def seconds(value: float | None) -> str:
    """Return a length of time: "48 s", "3 min 20 s", "2 h 05 min"."""
    if value is None:
        return "unknown"
    total = round(value)
    if total < 60:
        return f"{total} s"
    minutes, rest = divmod(total, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
