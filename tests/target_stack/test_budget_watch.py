"""The budget's P95 of a sliding window, against sorting the window anew at every turn."""

import random
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.clock import NS_PER_S
from target_stack.telemetry import budget
from target_stack.telemetry.budget import BUDGET_MS, LEAST_TURNS, TOTAL, TOTAL_MS, WINDOW_S, BudgetWatch

pytestmark = pytest.mark.unit

STAGES = (*BUDGET_MS, TOTAL)


def turns(rng, usual_s):
    """(seconds since the last turn, ms by stage): equal values among them, stretches of slow turns, long pauses."""
    for number in range(150):
        slow = 4.0 if number // 30 % 2 else 1.0
        spent = {stage: rng.choice([0.0, 50.0, slow * rng.uniform(0, 150)]) for stage in BUDGET_MS}
        yield (WINDOW_S if rng.random() < 0.01 else rng.randint(0, usual_s)), spent


@given(seed=st.integers(0, 10**6), usual_s=st.integers(0, 24), most=st.integers(LEAST_TURNS, 100))
@settings(max_examples=40)
def test_what_is_told_is_what_sorting_the_window_gives(seed, usual_s, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "MOST_TURNS", most)
        watch, window, over, at_s = BudgetWatch(), [], dict.fromkeys(STAGES, False), 0
        for passed_s, spent in turns(random.Random(seed), usual_s):
            at_s += passed_s
            changes = watch.observe(spent, round(at_s) * NS_PER_S)
            window = [*window, (at_s, spent | {TOTAL: sum(spent.values())})][-most:]
            window = [(at, turn) for at, turn in window if at_s - at <= WINDOW_S]
            expected = []
            for stage in STAGES if len(window) >= LEAST_TURNS else ():
                p95 = sorted(turn[stage] for _, turn in window)[ceil(0.95 * len(window)) - 1]
                assert watch.p95_ms[stage] == p95
                limit = TOTAL_MS if stage == TOTAL else BUDGET_MS[stage]
                if over[stage] != (p95 > limit):
                    over[stage] = p95 > limit
                    expected.append((stage, p95, limit, len(window), over[stage]))
            assert [(c.stage, c.p95_ms, c.budget_ms, c.turns, c.is_over) for c in changes] == expected
        assert watch.alerts == over
