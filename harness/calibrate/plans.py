"""The calls of one step: alike but for the order of what they say and the pauses between."""

import math
import random

from harness.calibrate.utterances import longest_ms
from harness.measure.calibration import Conditions
from harness.model.plan import CallLimits, CallPlan, Patience, Persona, PlannedTurn, SipSpec, TargetSpec

# The agent counts as finished after this much silence: its answers have no pauses.
QUIET_MS = 200.0
ANSWER_MS = 400.0
# Beyond the longest delay before a turn is given up.
_ANSWER_MARGIN_MS = 2_000.0
_THINK_MS = (100.0, 500.0)
_FIRST_THINK_MS = (300.0, 1_300.0)
_UTTERANCE_SHARE = 0.7
# Set-up of a burst of calls may take this long, and a call as long as its step lasts.
CONNECT_TIMEOUT_MS = 120_000.0
_CALL_TIMEOUT_MS = 24 * 3_600_000.0
_NOBODY = Persona("calibration", "", "", "synthetic", "unlimited")
_ENDLESS = Patience("unlimited", 0.0, 1.0, 0)


def call_plans(step: str, callers: int, url: str, utterances: list[str], conditions: Conditions) -> list[CallPlan]:
    """Return the plans of `callers` calls, named `step`-0000 and on; equal arguments, equal plans."""
    target = TargetSpec(
        url,
        transport=conditions.transport,
        dialect="json",
        codec=conditions.codec,
        source_ports=conditions.source_ports,
        sip=SipSpec() if conditions.transport == "sip" else None,
    )
    limits = CallLimits(
        connect_timeout_ms=CONNECT_TIMEOUT_MS,
        greeting_timeout_ms=1_000,
        answer_timeout_ms=conditions.delay_ms[1] + _ANSWER_MARGIN_MS,
        quiet_ms=QUIET_MS,
        media_timeout_ms=10_000,
        call_timeout_ms=_CALL_TIMEOUT_MS,
    )
    return [
        CallPlan(
            call_id=f"{step}-{index:04d}",
            index=index,
            due_ms=None,
            caller="calibration",
            persona=_NOBODY,
            patience=_ENDLESS,
            turns=_turns(random.Random(f"{step}/{index}"), utterances, conditions),
            target=target,
            limits=limits,
            expect_greeting=False,
            seed=index,
        )
        for index in range(callers)
    ]


def _turns(draw: random.Random, utterances: list[str], conditions: Conditions) -> tuple[PlannedTurn, ...]:
    count = conditions.turns or turns_within(conditions)
    return tuple(
        PlannedTurn(draw.choice(utterances), draw.uniform(*(_THINK_MS if turn else _FIRST_THINK_MS)))
        for turn in range(count)
    )


def turns_within(conditions: Conditions) -> int:
    """Return as many turns as fit into the step and its set-up, and some more: the step's end cuts the rest."""
    shortest_ms = _UTTERANCE_SHARE * longest_ms() + conditions.delay_ms[0] + ANSWER_MS + QUIET_MS + _THINK_MS[0]
    return math.ceil((conditions.duration_s * 1000 + CONNECT_TIMEOUT_MS / 2) / shortest_ms) + 1
