"""When the agent became audible and when it fell silent, as events; the hot path's detector for use without calls."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.media.hot import onset
from harness.media.hot.ear import EAR
from harness.media.hot.jit import make_table
from harness.media.hot.onset import SILENCE_DBFS, WINDOW_MS

_MOST_WINDOWS = 64


@dataclass(frozen=True, slots=True)
class AgentOnset:
    """Sustained audible speech began with the packet that arrived at `at_ns`; `decided_at_ns` is when that was sure."""

    at_ns: int
    decided_at_ns: int
    # When the caller heard it, where a carrier's playout buffer stands in between.
    heard_at_ns: int | None = None


@dataclass(frozen=True, slots=True)
class AgentStopped:
    """The agent fell silent; `at_ns` is the arrival of the last packet with audible speech."""

    at_ns: int


def window_levels_dbfs(samples: npt.NDArray[np.int16], rate: int) -> list[float]:
    """Return the RMS level in dBFS (full-scale sine = -3) of each whole 5 ms window of mono int16 samples."""
    size = rate * WINDOW_MS // 1000
    whole = len(samples) // size
    windows = samples[: whole * size].reshape(whole, size).astype(np.float64)
    power = np.einsum("ij,ij->i", windows, windows) / size / 32768.0**2
    return [float(v) for v in np.maximum(10 * np.log10(power + 1e-12), SILENCE_DBFS)]


class OnsetDetector:
    """The detector of harness/media/hot/onset.py over levels that one has at hand; times are monotonic ns, not 0."""

    def __init__(self, quiet_ms: float) -> None:
        # The table owns its row's memory. A whole ear, so that the detector is compiled for one type of row.
        self._table = make_table(EAR, 1)
        self._row = self._table[0]
        self._levels = np.zeros(_MOST_WINDOWS)
        onset.onset_start(self._row, int(quiet_ms * 1e6))

    @property
    def is_speaking(self) -> bool:
        """Whether the agent is audible."""
        return bool(self._row.is_speaking)

    @property
    def last_voiced_at_ns(self) -> int:
        """The time of the last audible packet since the agent became audible; 0 = it never did."""
        return int(self._row.last_voiced_at_ns)

    @property
    def gate_dbfs(self) -> float:
        """The level a window must exceed now."""
        return float(onset.gate_dbfs(self._row))

    def silence(self, duration_ms: float) -> None:
        """Take note of a pause in the agent's RTP timestamps (DTX): silence by the codec's definition."""
        onset.onset_pause(self._row, int(duration_ms), SILENCE_DBFS)

    def add(self, levels_dbfs: list[float], arrived_at_ns: int, *, is_doubtful: bool = False) -> AgentOnset | None:
        """Take one packet's window levels, 64 at most; return the onset that this packet makes sure of, if any.

        `is_doubtful`: the packet is larger than silence needs, and the decoder may be out of step.
        """
        count = len(levels_dbfs)
        self._levels[:count] = levels_dbfs
        doubted_dbfs = 0.0 if is_doubtful else SILENCE_DBFS
        at_ns = onset.onset_packet(self._row, self._levels, count, arrived_at_ns, arrived_at_ns, doubted_dbfs)
        return AgentOnset(int(at_ns), int(self._row.decided_at_ns)) if at_ns else None

    def poll(self, now_ns: int) -> AgentStopped | None:
        """Return the end of speech once the agent has been quiet for `quiet_ms`."""
        at_ns = onset.onset_poll(self._row, now_ns)
        return AgentStopped(int(at_ns)) if at_ns else None
