"""When our own machines count as full: from `overflow_at` of capacity on, until load is below `return_below`. Pure."""

from dataclasses import dataclass


@dataclass
class LoadGate:
    """Loads are ratios of capacity. Between the two marks it stays as it was, so that it does not flap at one."""

    overflow_at: float = 0.8
    return_below: float = 0.7
    is_overflowing: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError on marks in the wrong order."""
        if not 0 < self.return_below <= self.overflow_at <= 1:
            raise ValueError("0 < return_below <= overflow_at <= 1 must hold")

    def admits(self, load: float) -> bool:
        """Return whether one more may come at this load."""
        if load >= self.overflow_at:
            self.is_overflowing = True
        elif load < self.return_below:
            self.is_overflowing = False
        return not self.is_overflowing
