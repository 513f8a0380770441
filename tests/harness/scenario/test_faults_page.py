"""What docs/faults.md tells people to write is what a scenario takes."""

import re
from pathlib import Path

import pytest
import yaml

from harness.scenario.check import prepare

pytestmark = pytest.mark.unit

PAGE = Path(__file__).resolve().parents[3] / "docs" / "faults.md"


def test_the_faults_of_the_page_are_legal(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAOS_TOKEN", "secret")
    (block,) = re.findall(r"```yaml\n(faults:.*?)```", PAGE.read_text(), re.DOTALL)
    arrivals = {"distribution": "uniform", "stages": [{"name": "peak", "rate_per_minute": 60, "duration_s": 120}]}
    path = tmp_path / "scenario.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": "page",
                "target": {"url": "http://127.0.0.1:8080/api/offer"},
                "callers": [{"name": "anyone", "turns": 1}],
                "load": {"arrivals": arrivals},
                **yaml.safe_load(block),
            }
        )
    )
    prepared = prepare(path)
    (fault,) = prepared.loaded.scenario.faults
    assert (fault.name, fault.kind) == ("slow_llm", "stage.delay")
