"""What the reference responder does, and the draws it makes from it."""

import random
from dataclasses import dataclass
from typing import Literal

from harness.model.clock import NS_PER_MS
from harness.model.impairment import Impairment, direction_seed

Silence = Literal["packets", "dtx", "comfort-noise"]
Hearing = Literal["size", "level"]
SILENCES: tuple[Silence, ...] = ("packets", "dtx", "comfort-noise")
HEARINGS: tuple[Hearing, ...] = ("size", "level")
PACKET_MS = 20
# From the hangover's end to the first packet of an answer: the loop's next phase, the event loop, the next tick.
REACTION_MS = 2 * PACKET_MS


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Times in ms; ranges are drawn from uniformly, by the seed."""

    delay_ms: tuple[float, float] = (200.0, 2000.0)
    leading_silence_ms: tuple[float, float] = (0.0, 0.0)
    answer_ms: float = 700.0
    # Length of the greeting, 0 = none.
    greeting_ms: float = 700.0
    # What is sent between answers, and in the silence that opens one: silence packets, nothing, noise at -60 dBFS.
    silence: Silence = "packets"
    # Share of our packets lost on their way to the caller; the truth is told as if they had left.
    loss_ratio: float = 0.0
    # Take calls and never say a word.
    mute: bool = False
    # How the caller's speech is told from its silence.
    hear: Hearing = "size"
    seed: int = 1
    # This much quiet ends the caller's turn.
    hangover_ms: float = 160.0


@dataclass(frozen=True, slots=True)
class PlannedAnswer:
    """When an answer is due and how it opens."""

    delay_ms: float
    # Whole packets of silence before the first voiced one.
    leading_packets: int
    # The tick that sends the answer's first packet is the first one from here on.
    not_before_ns: int

    @property
    def leading_silence_ms(self) -> float:
        """The silence that opens the answer."""
        return float(self.leading_packets * PACKET_MS)


class Draws:
    """One call's draws; equal seeds and names, equal answers, whatever the order in which calls come."""

    def __init__(self, behaviour: Behaviour, call: str) -> None:
        self._behaviour = behaviour
        self._random = random.Random(f"{behaviour.seed}/{call}")
        self._seed = self._random.getrandbits(53)

    def answer(self, ended_at_ns: int) -> PlannedAnswer:
        """Plan the answer to speech that ended at `ended_at_ns`.

        Leading silence is part of the delay, and can only begin once the hangover has told that the speech is over.
        """
        delay_ms = self._random.uniform(*self._behaviour.delay_ms)
        wanted_ms = self._random.uniform(*self._behaviour.leading_silence_ms)
        room_ms = max(0.0, delay_ms - self._behaviour.hangover_ms - REACTION_MS)
        packets = int(min(wanted_ms, room_ms) // PACKET_MS)
        # Half a tick early: a tick comes at any time within 20 ms from there on, so on average it is in time.
        start_ms = delay_ms - packets * PACKET_MS - PACKET_MS / 2
        return PlannedAnswer(delay_ms, packets, ended_at_ns + int(start_ms * NS_PER_MS))

    def impairment(self) -> Impairment | None:
        """Return what happens to our packets on their way, None = nothing."""
        if not self._behaviour.loss_ratio:
            return None
        return Impairment(loss_ratio=self._behaviour.loss_ratio, seed=direction_seed(self._seed, "outgoing"))
