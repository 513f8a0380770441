"""The runbook's bands: what a TTFB, a WER or a drop-off ratio means for the people on the line.

The runbook writes "< 300", "300-500", "500-800", "> 800": so 300 belongs to the second band, and each later upper edge
to the band it closes.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Band:
    """One band: values up to `upper` (None: without bound), `upper` itself included unless `is_open`."""

    name: str
    upper: float | None
    is_open: bool
    meaning: str
    # How it is shown: "good", "fair", "poor" or "bad".
    tone: str

    def holds(self, value: float) -> bool:
        """Return whether `value` is not above this band."""
        if self.upper is None:
            return True
        return value < self.upper if self.is_open else value <= self.upper


TTFB_MS = (
    Band("gold", 300, True, "feels like natural conversation", "good"),
    Band("target", 500, False, "a slight delay that users tolerate", "fair"),
    Band("lag", 800, False, "noticeable lag, users start talking over the agent", "poor"),
    Band("critical", None, False, "users hang up or repeat themselves", "bad"),
)
WER = (
    Band("excellent", 0.05, True, "near human parity", "good"),
    Band("good", 0.10, False, "highly usable", "fair"),
    Band("fair", 0.20, False, "needs review", "poor"),
    Band("poor", None, False, "unusable for production", "bad"),
)
DROP_OFF = (
    Band("healthy", 0.10, True, "monitor trends", "good"),
    Band("warning", 0.20, False, "investigate", "poor"),
    Band("critical", None, False, "the system is failing its users", "bad"),
)


def band_of(bands: tuple[Band, ...], value: float) -> Band:
    """Return the band that `value` lies in."""
    return next(band for band in bands if band.holds(value))
