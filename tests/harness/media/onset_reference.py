"""The detector as it stood before the hot path, kept word for word: what the compiled one is held against."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WINDOW_MS = 5
MINIMUM_GATE_DBFS = -50.0
GATE_OVER_FLOOR_DB = 10.0
SUSTAINED_MS = 60
LONGEST_HOLE_MS = 40
FLOOR_HISTORY_MS = 1500
# Until this much has been heard, a candidate's own windows count towards the floor: a call may open in steady noise.
FLOOR_LEARNING_MS = 200
SILENCE_DBFS = -96.0
PRE_ECHO_DB = 18.0
PRE_ECHO_WINDOWS = 2
_FLOOR_WINDOWS = 4


@dataclass(frozen=True, slots=True)
class AgentOnset:
    """Sustained audible speech began with the packet that arrived at `at_ns`; `decided_at_ns` is when that was sure."""

    at_ns: int
    decided_at_ns: int


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
    """Finds onsets and ends of agent speech in a stream of packets."""

    def __init__(self, quiet_ms: float) -> None:
        self._quiet_ns = int(quiet_ms * 1e6)
        self._smooth: deque[float] = deque(maxlen=_FLOOR_WINDOWS)
        self._history: deque[float] = deque(maxlen=FLOOR_HISTORY_MS // WINDOW_MS)
        self._heard_ms = 0
        # Arrival of a packet after a loss that may have held speech, until the next packet tells.
        self._doubted_at: int | None = None
        # (level, arrival) of each window over the gate.
        self._candidate: list[tuple[float, int]] = []
        self._voiced_ms = 0
        self._hole_ms = 0
        self._last_voiced_at: int | None = None
        self.is_speaking = False

    @property
    def gate_dbfs(self) -> float:
        """The level a window must exceed now."""
        floor = min(self._history, default=SILENCE_DBFS)
        return max(MINIMUM_GATE_DBFS, floor + GATE_OVER_FLOOR_DB)

    def silence(self, duration_ms: float) -> None:
        """Take note of a pause in the agent's RTP timestamps (DTX): silence by the codec's definition."""
        for _ in range(min(int(duration_ms), FLOOR_HISTORY_MS) // WINDOW_MS):
            self._learn(SILENCE_DBFS)
        if self._candidate and duration_ms > LONGEST_HOLE_MS:
            self._drop_candidate()

    def add(self, levels_dbfs: list[float], arrived_at_ns: int, *, is_doubtful: bool = False) -> AgentOnset | None:
        """Take one packet's window levels; return the onset that this packet makes sure of, if any.

        `is_doubtful`: the packet follows a loss and its payload is larger than silence needs.
        """
        onset: AgentOnset | None = None
        doubted_at, self._doubted_at = self._doubted_at, None
        if doubted_at is not None and not self._candidate and not self.is_speaking and levels_dbfs:
            if levels_dbfs[0] > self.gate_dbfs:
                self._candidate.append((levels_dbfs[0], doubted_at))
        elif is_doubtful and not self._candidate and max(levels_dbfs, default=SILENCE_DBFS) <= self.gate_dbfs:
            self._doubted_at = arrived_at_ns
        for level in levels_dbfs:
            gate = self.gate_dbfs
            self._learn(level)
            if level > gate:
                onset = self._voiced(level, arrived_at_ns) or onset
            elif self._candidate:
                self._hole_ms += WINDOW_MS
                if self._hole_ms > LONGEST_HOLE_MS:
                    self._drop_candidate()
        return onset

    def poll(self, now_ns: int) -> AgentStopped | None:
        """Return the end of speech once the agent has been quiet for `quiet_ms`."""
        if not self.is_speaking or self._last_voiced_at is None or now_ns - self._last_voiced_at < self._quiet_ns:
            return None
        self.is_speaking = False
        self._drop_candidate()
        return AgentStopped(self._last_voiced_at)

    def _learn(self, level: float) -> None:
        self._smooth.append(level)
        self._history.append(sum(self._smooth) / len(self._smooth))
        self._heard_ms += WINDOW_MS

    def _voiced(self, level: float, arrived_at_ns: int) -> AgentOnset | None:
        if self.is_speaking:
            self._last_voiced_at = arrived_at_ns
            return None
        self._voiced_ms += WINDOW_MS
        self._hole_ms = 0
        self._candidate.append((level, arrived_at_ns))
        if self._voiced_ms < SUSTAINED_MS:
            return None
        if self._heard_ms < FLOOR_LEARNING_MS and not self._stands_out():
            return None
        onset = AgentOnset(self._first_audible_at(), arrived_at_ns)
        self.is_speaking = True
        self._last_voiced_at = arrived_at_ns
        self._drop_candidate()
        return onset

    def _first_audible_at(self) -> int:
        """Return the arrival of the candidate's first window that is not pre-echo."""
        for index in range(PRE_ECHO_WINDOWS):
            following = self._candidate[index + 1 : index + 1 + PRE_ECHO_WINDOWS]
            if self._candidate[index][0] >= max(level for level, _at in following) - PRE_ECHO_DB:
                return self._candidate[index][1]
        return self._candidate[PRE_ECHO_WINDOWS][1]

    def _stands_out(self) -> bool:
        """Tell whether a candidate in an unlearnt background varies as speech does and steady noise does not."""
        levels = [level for level, _at in self._candidate]
        return max(levels) - min(levels) > GATE_OVER_FLOOR_DB

    def _drop_candidate(self) -> None:
        self._candidate.clear()
        self._voiced_ms = 0
        self._hole_ms = 0
