"""Run directories that are whole, torn, and none at all."""

import json
from pathlib import Path

import pytest
from sample_run import write_run

from harness.model.errors import ScenarioError
from harness.report.store import read_run
from harness.verdict.verdict import RunStatus

pytestmark = pytest.mark.unit


def test_a_whole_run(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path))
    assert (len(run.calls), len(run.turns), len(run.health), run.notes) == (12, 47, 113, [])
    assert (run.info.status, run.info.seed, run.info.duration_s) == (RunStatus.FINISHED, 7, 114.0)
    assert run.info.scenario_name == "Smoke: five accents, two noises"


def test_a_torn_last_line_costs_only_itself_and_is_told(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "turns.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    run = read_run(tmp_path)
    assert len(run.turns) == 46
    assert run.notes == [
        "turns.jsonl, line 47 was left out: the last line is torn: the run was killed while writing it"
    ]


def test_a_line_torn_within_a_character_is_told_too(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "calls.jsonl"
    path.write_bytes(path.read_bytes() + '{"call_id": "Lucía'.encode()[:-2])
    run = read_run(tmp_path)
    assert len(run.calls) == 12
    assert "line 13" in run.notes[0]


def test_a_bad_line_in_the_middle_names_its_field(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "calls.jsonl"
    lines = path.read_text().splitlines()
    broken = json.loads(lines[3])
    del broken["outcome"]
    lines[3] = json.dumps(broken)
    path.write_text("\n".join(lines) + "\n")
    run = read_run(tmp_path)
    assert len(run.calls) == 11
    assert run.notes == ["calls.jsonl, line 4 was left out: CallRecord.outcome is missing"]


def test_records_that_were_never_written_are_none(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    run = read_run(tmp_path)
    assert (run.calls, run.turns, run.health) == ([], [], [])
    # A run.json without an end was left by a run that was killed.
    assert (run.info.status, run.info.run_id, run.info.duration_s) == (RunStatus.RUNNING, tmp_path.name, None)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "not the directory of a run"), ("{", "not JSON"), ("[]", "expected an object"),
     ('{"status": "done"}', "legal: running, finished")],
)  # fmt: skip
def test_what_is_not_a_run_is_refused_by_name(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(ScenarioError, match=words) as caught:
        read_run(tmp_path)
    assert str(tmp_path / "run.json") in str(caught.value)


@pytest.mark.parametrize(
    ("simulated", "words"),
    [(None, ()), ([], ()), (False, ()), (["STT emulated"], ("STT emulated",)), ("all of it", ("all of it",)),
     ({"stt": "emulated", "llm": False}, ("stt: emulated",)), (True, ("parts of this run were simulated",))],
)  # fmt: skip
def test_simulated_in_any_shape(tmp_path: Path, simulated: object, words: tuple[str, ...]) -> None:
    assert read_run(write_run(tmp_path, simulated=simulated)).info.simulated == words
