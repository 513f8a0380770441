"""What `callquake fault describe` gives to copy is legal, on the command line and in a scenario, of every kind."""

import shlex

import pytest
import yaml

from harness.commands.fault_words import description
from harness.faults.catalogue import KINDS
from harness.faults.command_line import fault_from, read_words
from harness.faults.effect import Admin, Means
from harness.faults.errors import FaultError
from harness.faults.injection import Injector
from harness.faults.journal import Journal
from harness.scenario.check import prepare

pytestmark = pytest.mark.unit


def line_of(kind):
    *_, head, line = description(kind)
    assert head.startswith("by hand")
    return shlex.split(line)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_line_to_copy_is_what_fault_start_takes(kind, tmp_path):
    words = line_of(kind)
    assert words[:4] == ["callquake", "fault", "start", kind.name]
    options = read_words(words[3:])
    fault = fault_from(options)
    assert (fault.kind, fault.duration_ms) == (kind.name, 30_000)
    try:
        Injector(fault, Means(admin=Admin("http://127.0.0.1:9")), Journal(tmp_path), lambda _: None)
    except FaultError as error:
        needs_run = "acts on the calls of a run" in str(error)
    else:
        needs_run = False
    assert (options.run is not None) == needs_run


def test_the_blocks_to_copy_are_what_a_scenario_takes(tmp_path):
    blocks = []
    for kind in KINDS.values():
        lines = list(description(kind))
        block = lines[lines.index("in a scenario") + 1 : -2]
        blocks += yaml.safe_load("\n".join(block))["faults"]
    assert [block["kind"] for block in blocks] == list(KINDS)
    path = tmp_path / "scenario.yaml"
    scenario = {
        "name": "every_kind",
        "target": {"url": "http://127.0.0.1:8080/api/offer"},
        "callers": [{"name": "anyone", "turns": 1}],
        "load": {"arrivals": {"rate_per_minute": 60, "duration_s": 120}},
        "faults": blocks,
    }
    path.write_text(yaml.safe_dump(scenario))
    assert len(prepare(path).loaded.scenario.faults) == len(KINDS)
