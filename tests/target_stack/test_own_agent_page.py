"""What docs/own-agent.md tells people to write is what Callquake takes."""

import re
from pathlib import Path

import pytest
import yaml

from harness.protocols import rtvi
from harness.scenario.loader import load_scenario

pytestmark = pytest.mark.unit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-agent.md"


def block(kind):
    (found,) = re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return found


def test_every_target_of_the_page_is_legal(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_TOKEN", "secret")
    targets = yaml.safe_load(block("yaml"))["targets"]
    assert {target["name"] for target in targets} == {"pipecat", "plain", "whip", "realtime", "phone", "carrier", "rtp"}
    for target in targets:
        target.pop("name")
        path = tmp_path / "scenario.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "name": "own",
                    "target": target,
                    "callers": [{"name": "anyone", "turns": 1}],
                    "load": {"arrivals": {"distribution": "uniform", "rate_per_minute": 6, "calls": 1}},
                }
            )
        )
        assert str(load_scenario(path).scenario.target.url) == target["url"]


def test_the_transcript_of_the_page_is_one():
    message = rtvi.parse(block("json").strip())
    assert isinstance(message, rtvi.UserTranscription)
    assert (message.text, message.is_final) == ("what was heard", True)
