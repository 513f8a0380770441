"""A fault that does its work when it ends must have an end."""

import pytest

from harness.model.errors import ScenarioError
from harness.scenario.check import prepare

pytestmark = pytest.mark.unit

SCENARIO = """
name: herd
target: {url: "http://127.0.0.1:9/api/offer"}
callers: [{name: all, turns: 1}]
load: {arrivals: {distribution: uniform, stages: [{name: peak, rate_per_minute: 60, duration_s: 20}]}}
faults: [{kind: caller.herd%s}]
thresholds: ["response_ratio >= 0.5"]
"""


@pytest.mark.parametrize("end", [", duration_s: 5", ", phase: peak"])
def test_a_herd_with_an_end_is_legal(tmp_path, end):
    (tmp_path / "s.yaml").write_text(SCENARIO % end)
    assert prepare(tmp_path / "s.yaml").loaded.scenario.faults


def test_a_herd_without_one_is_refused_with_what_is_legal(tmp_path):
    (tmp_path / "s.yaml").write_text(SCENARIO % "")
    with pytest.raises(ScenarioError, match=r"duration_s: missing; caller.herd does its work when it ends; legal: a d"):
        prepare(tmp_path / "s.yaml")
