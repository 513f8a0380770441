import math
import random

import pytest

from harness.callers.patience import PatienceMeter, heard_share, wait_for_hazard, wait_hazard
from harness.model.plan import Patience
from harness.model.records import Cause

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("wait_ms", "hazard"),
    [(0, 0), (500, 0), (800, 0.005), (1000, 0.0125), (2000, 0.05), (10_000, 1.2), (20_000, 4.0), (30_000, 6.8)],
)
def test_curve(wait_ms, hazard):
    assert wait_hazard(wait_ms) == pytest.approx(hazard)


@pytest.mark.parametrize("wait_ms", [501, 799, 1200, 4999, 12_345, 60_000])
def test_inverse(wait_ms):
    assert wait_for_hazard(wait_hazard(wait_ms)) == pytest.approx(wait_ms)


def test_longest_wait_is_where_patience_runs_out():
    meter = PatienceMeter(Patience("normal", 1.0, 0.12, 1))
    assert meter.longest_wait_ms() == pytest.approx(3000)
    meter.answered(2000)
    assert meter.longest_wait_ms() == pytest.approx(2285.7, abs=0.1)
    assert meter.ran_out() is None
    meter.dead_air(meter.longest_wait_ms())
    assert meter.ran_out() is Cause.PATIENCE_DEAD_AIR


def test_unlimited_patience_never_ends():
    meter = PatienceMeter(Patience("unlimited", 0.0, 0.0, 1))
    meter.dead_air(1e9)
    meter.repeated()
    assert meter.ran_out() is None
    assert meter.longest_wait_ms() is None


def test_scale_multiplies_and_the_heaviest_part_names_the_cause():
    meter = PatienceMeter(Patience("impatient", 2.0, 0.3, 1))
    meter.repeated()
    assert meter.ran_out() is Cause.PATIENCE_REPEATS
    meter = PatienceMeter(Patience("normal", 1.0, 0.2, 1))
    meter.misheard()
    meter.answered(3000)
    assert meter.ran_out() is Cause.PATIENCE_SLOW_ANSWERS


def test_over_many_callers_survival_is_exp_of_minus_hazard():
    rng = random.Random(5)
    n, left = 20_000, 0
    for _ in range(n):
        meter = PatienceMeter(Patience("normal", 1.0, rng.expovariate(1.0), 1))
        meter.answered(3000)
        meter.answered(5000)
        left += meter.ran_out() is not None
    assert left / n == pytest.approx(1 - math.exp(-(0.12 + 0.35)), abs=0.012)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "share"),
    [
        ("my order is late", "My order is late.", 1.0),
        ("my order is late", "your border was late", 0.25),
        ("my order", "", 0.0),
        ("", "anything", 1.0),
    ],
)
def test_heard_share(reference, hypothesis, share):
    assert heard_share(reference, hypothesis) == share
