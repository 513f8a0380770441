"""--minutes: the same story in another time."""

import pytest

from harness.model.errors import ScenarioError
from harness.scenario.schema import Scenario
from harness.scenario.stretch import stretched

pytestmark = pytest.mark.unit


def scenario(load, **more):
    base = {"name": "s", "target": {"url": "http://127.0.0.1:1/api/offer"}, "callers": [{"name": "all"}], "load": load}
    return Scenario.model_validate(base | more)


def test_stages_keep_their_shares_and_faults_begin_at_theirs():
    load = {"users": {"stages": [{"duration_s": 100.0, "users": 5}, {"duration_s": 300.0, "users": 7}]}}
    faults = [{"kind": "process.stop", "phase": 2, "start_s": 30.0, "duration_s": 9.0, "parameters": {"pid": 9}}]
    found = stretched(scenario(load, faults=faults), 2)
    assert [(stage.duration_s, stage.users) for stage in found.load.users.stages] == [(30, 5), (90, 7)]
    assert (found.faults[0].start_s, found.faults[0].duration_s) == (9, 9)


def test_arrivals_keep_their_rates():
    staged = scenario({"arrivals": {"stages": [{"duration_s": 60.0, "rate_per_minute": 5}]}})
    assert stretched(staged, 10).load.arrivals.expected_calls() == 50
    plain = scenario({"arrivals": {"rate_per_minute": 6.0, "duration_s": 60.0}})
    assert stretched(plain, 480).load.arrivals.duration_s == 480 * 60


@pytest.mark.parametrize(
    ("load", "minutes", "said"),
    [
        ({"arrivals": {"rate_per_minute": 6.0, "calls": 5}}, 1, "no duration_s"),
        ({"arrivals": {"at_s": [0.0, 1.0]}}, 1, "no duration_s"),
        ({"users": {"stages": [{"duration_s": 10.0, "users": 5}]}}, 0, "got 0; legal: above 0"),
        ({"users": {"stages": [{"duration_s": 10.0, "users": 5}]}}, float("nan"), "got nan; legal: above 0"),
    ],
)
def test_what_cannot_be_stretched_is_refused(load, minutes, said):
    with pytest.raises(ScenarioError, match=said):
        stretched(scenario(load), minutes)
