"""The latency budget: how much of the caller's wait each stage may take, and who takes more. Pure.

The guide's budget for a P95 of 800 ms, and what of a turn is held against each share; the shares of a turn add up to
its wait, from the last voiced audio in to the first audible packet out:

    share   ms   what is counted
    edge    40   speech ready -> first audible packet handed to the network (the network itself is not seen from here)
    audio   55   arrival of the audio that ended the turn -> heard by the VAD
    stt    200   the silence that ends a turn, and words after it: as the guide counts "STT, with endpointing"
    llm    350   words -> first clause
    tts    105   first clause -> its speech
    hops    50   waiting in the stages' queues
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType

from harness.model.clock import NS_PER_S
from target_stack.frames import TurnTiming

BUDGET_MS: Mapping[str, float] = MappingProxyType(
    {"edge": 40.0, "audio": 55.0, "stt": 200.0, "llm": 350.0, "tts": 105.0, "hops": 50.0}
)
TOTAL = "total"
TOTAL_MS = sum(BUDGET_MS.values())

# A P95 of fewer is one turn's luck.
LEAST_TURNS = 20
WINDOW_S = 300.0
# Of the turns in the window, the newest: a bound for a stack that answers hundreds of calls.
MOST_TURNS = 2000


def spent_ms(
    timing: TurnTiming, *, audio_ms: float, stt_queue_ms: float = 0.0, tts_queue_ms: float = 0.0
) -> dict[str, float]:
    """Return each share of a turn's wait. What a draft waited before the turn was over delayed nobody."""
    audio_ms = min(audio_ms, timing.stt_ms)
    stt_queue_ms = min(stt_queue_ms, timing.stt_ms - audio_ms)
    tts_queue_ms = min(tts_queue_ms, timing.tts_ms)
    return {
        "edge": timing.playout_ms,
        "audio": audio_ms,
        "stt": timing.endpointing_ms + timing.stt_ms - audio_ms - stt_queue_ms,
        "llm": timing.llm_ms,
        "tts": timing.tts_ms - tts_queue_ms,
        "hops": stt_queue_ms + tts_queue_ms,
    }


def over_ms(spent: Mapping[str, float]) -> dict[str, float]:
    """Return by how much each share is exceeded, only those that are."""
    return {stage: ms - BUDGET_MS[stage] for stage, ms in spent.items() if ms > BUDGET_MS[stage]}


@dataclass(frozen=True, slots=True)
class Change:
    """A stage's P95 (or the whole wait's, TOTAL) went over its budget, or came back."""

    stage: str
    p95_ms: float
    budget_ms: float
    turns: int
    is_over: bool


class BudgetWatch:
    """Holds the P95 of the last five minutes against the budget, stage by stage."""

    def __init__(self) -> None:
        self._turns: deque[tuple[int, Mapping[str, float]]] = deque()
        # The same turns' values by stage, in order of size: every turn asks for a rank in each.
        self._sorted: dict[str, list[float]] = {stage: [] for stage in (*BUDGET_MS, TOTAL)}
        # By stage, once there were enough turns.
        self.p95_ms: dict[str, float] = {}
        self.alerts: dict[str, bool] = dict.fromkeys((*BUDGET_MS, TOTAL), False)
        # Turns that exceeded a share, by stage; TOTAL: the whole budget.
        self.exceeded: dict[str, int] = dict.fromkeys((*BUDGET_MS, TOTAL), 0)
        self.turns = 0

    def observe(self, spent: Mapping[str, float], at_ns: int) -> list[Change]:
        """Count a turn; return the alerts that begin or end with it."""
        self.turns += 1
        with_total = {**spent, TOTAL: sum(spent.values())}
        for stage, ms in with_total.items():
            self.exceeded[stage] += ms > _budget(stage)
            insort(self._sorted[stage], ms)
        self._turns.append((at_ns, with_total))
        while len(self._turns) > MOST_TURNS or at_ns - self._turns[0][0] > WINDOW_S * NS_PER_S:
            self._forget_oldest()
        if len(self._turns) < LEAST_TURNS:
            return []
        return [change for stage in with_total if (change := self._judge(stage)) is not None]

    def _forget_oldest(self) -> None:
        _, turn = self._turns.popleft()
        for stage, ms in turn.items():
            values = self._sorted[stage]
            del values[bisect_left(values, ms)]

    def _judge(self, stage: str) -> Change | None:
        values = self._sorted[stage]
        # Nearest rank, as everywhere.
        p95 = self.p95_ms[stage] = values[ceil(0.95 * len(values)) - 1]
        is_over = p95 > _budget(stage)
        if is_over == self.alerts[stage]:
            return None
        self.alerts[stage] = is_over
        return Change(stage, p95, _budget(stage), len(values), is_over)


def _budget(stage: str) -> float:
    return TOTAL_MS if stage == TOTAL else BUDGET_MS[stage]
