"""Stretches of a run, and what its faults did, by hand."""

import math

import pytest

from harness.measure.injections import injections_of
from harness.measure.windows import AFTER, BEFORE, DURING, Window, lies
from harness.model.fault import Evidence, Fault, FaultEvent, FaultMoment, Where

pytestmark = pytest.mark.unit

WINDOW = Window("fault", ("f",), ((100.0, 200.0),), settle_ns=30.0)


@pytest.mark.parametrize(
    ("at", "known", "where"),
    [
        (90.0, 99.0, {BEFORE}),
        # The fault met it unanswered.
        (90.0, 100.0, set()),
        (90.0, math.inf, set()),
        (100.0, 250.0, {DURING}),
        (199.0, 199.0, {DURING}),
        # Its time to heal.
        (200.0, 201.0, set()),
        (230.0, 231.0, {AFTER}),
    ],
)
def test_where_a_turn_lies(at, known, where):
    relations = (BEFORE, DURING, AFTER)
    assert {name for name in relations if lies(WINDOW.related(name), name, at, known)} == where


def told(moment, at_ns, evidence=None, spec=None):
    return FaultEvent("f", moment, at_ns, "", evidence=evidence, spec=spec)


def test_the_last_count_of_a_fault_is_told_also_where_it_touched_no_more():
    spec = Fault("f", "stage.delay", Where.TARGET)
    counts = [Evidence(touched=n, counts={"delay_ms": ms}) for n, ms in ((1, 500), (5, 1501), (5, 3036))]
    events = [told(FaultMoment.DECLARED, 0, spec=spec), told(FaultMoment.STARTED, 1)]
    events += [told(FaultMoment.EVIDENCE, 2 + i, one) for i, one in enumerate(counts)]
    # A target that is gone has nothing to tell any more.
    events.append(told(FaultMoment.STOPPED, 9, Evidence()))
    (one,) = injections_of(events)
    assert (one.evidence.touched, one.evidence.counts, one.is_injected) == (5, {"delay_ms": 3036}, True)
