"""Run directories that are whole, torn, and none at all."""

import json
from pathlib import Path

import pytest
from sample_run import write_run

from harness.model.errors import ScenarioError
from harness.report.finish import finish_run
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
    (note,) = run.notes
    assert note == (
        "1 of the 47 lines of turns.jsonl could not be read and are in no figure: "
        "turns.jsonl:47: the last line is torn: the run was killed while writing it"
    )


def test_a_line_torn_within_a_character_is_told_too(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "calls.jsonl"
    path.write_bytes(path.read_bytes() + '{"call_id": "Lucía'.encode()[:-2])
    run = read_run(tmp_path)
    assert len(run.calls) == 12
    assert "calls.jsonl:13: " in run.notes[0]


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
    assert len(run.notes) == 1
    assert run.notes[0].startswith("1 of the 12 lines of calls.jsonl")
    assert run.notes[0].endswith("calls.jsonl:4: CallRecord.outcome is missing")


def _damage(directory: Path, name: str, number: int, **fields: object) -> None:
    path = directory / name
    lines = path.read_text().splitlines()
    lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | fields)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("turns.jsonl", {"ttfb_ms": float("nan")}, "TurnRecord.ttfb_ms: nan is no time"),
        ("turns.jsonl", {"waited_ms": 1e300}, "TurnRecord.waited_ms: 1e+300 is no time"),
        ("turns.jsonl", {"speech_ended_at_ns": "soon"}, "TurnRecord.speech_ended_at_ns: a whole number expected, got"),
        ("turns.jsonl", {"cut": "no"}, "TurnRecord.cut: true or false expected, got 'no'"),
        ("turns.jsonl", {"hypothesis": "\ud800"}, "surrogates not allowed"),
        ("turns.jsonl", {"hypothesis": 7}, "TurnRecord.hypothesis: text expected, got 7"),
        ("turns.jsonl", {"tags": ["a"]}, "TurnRecord.tags: an object expected"),
        ("calls.jsonl", {"ended_at_ns": 10**400}, "CallRecord.ended_at_ns: 1000"),
        ("calls.jsonl", {"candidate_types": ["host"]}, "CallRecord.candidate_types: 2 values expected, got 1"),
        ("health.jsonl", {"tick_lateness_ms": {}}, "'counts' is missing"),
        ("health.jsonl", {"tick_lateness_ms": {"counts": {"99999999": 1}, "max": 1}}, "too large"),
    ],
)
def test_a_damaged_record_is_left_out_with_its_line_and_reports_are_made(
    tmp_path: Path, name: str, fields: dict[str, object], words: str
) -> None:
    _damage(write_run(tmp_path), name, 2, **fields)
    (note,) = read_run(tmp_path).notes
    assert note.startswith("1 of the ")
    assert f" lines of {name} could not be read and are in no figure: {name}:2: " in note
    assert words in note
    assert note in finish_run(tmp_path, print_report=False).summary["notes"]


def test_many_damaged_lines_are_counted_and_five_are_named(tmp_path: Path) -> None:
    for number in range(1, 8):
        _damage(write_run(tmp_path) if number == 1 else tmp_path, "calls.jsonl", number, index=None)
    (note,) = read_run(tmp_path).notes
    assert note.startswith("7 of the 12 lines of calls.jsonl")
    assert "calls.jsonl:5: " in note
    assert note.endswith("; and 2 more")


def test_of_a_record_that_stands_twice_the_last_counts_and_it_is_told(tmp_path: Path) -> None:
    turns = write_run(tmp_path) / "turns.jsonl"
    again = json.loads(turns.read_text().splitlines()[0]) | {"hypothesis": "the second"}
    turns.write_text(turns.read_text() + json.dumps(again) + "\n")
    run = read_run(tmp_path)
    assert len(run.turns) == 47
    assert [t.hypothesis for t in run.turns if (t.call_id, t.turn) == (again["call_id"], 1)] == ["the second"]
    assert run.notes == ["1 records stand more than once in turns.jsonl; the last of each counts: turns.jsonl:48"]


def test_a_directory_in_place_of_a_record_file_is_refused_by_name(tmp_path: Path) -> None:
    (write_run(tmp_path) / "calls.jsonl").unlink()
    (tmp_path / "calls.jsonl").mkdir()
    with pytest.raises(ScenarioError, match=r"calls\.jsonl: cannot be read: Is a directory"):
        read_run(tmp_path)


def test_a_file_in_place_of_the_run_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ScenarioError, match="file is not the directory of a run"):
        read_run(tmp_path / "file")


def test_a_report_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (write_run(tmp_path) / "junit.xml").mkdir()
    with pytest.raises(ScenarioError, match=r"junit\.xml: cannot be written: Is a directory"):
        finish_run(tmp_path, print_report=False)
    assert not list(tmp_path.glob(".*"))


def test_records_that_were_never_written_are_none(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    run = read_run(tmp_path)
    assert (run.calls, run.turns, run.health) == ([], [], [])
    # A run.json without an end was left by a run that was killed.
    assert (run.info.status, run.info.run_id, run.info.duration_s) == (RunStatus.RUNNING, tmp_path.name, None)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "not the directory of a run"), ("{", "not JSON"), ("[]", "expected an object"),
     ('{"status": "done"}', "legal: running, finished"),
     ('{"ended_at": "noon"}', "ended_at 'noon'; legal: an ISO 8601"),
     ('{"started_at": 7}', "started_at 7; legal: an ISO 8601"), ('{"seed": "seven"}', "seed 'seven'; legal: a whole"),
     ('{"started_monotonic_ns": "x"}', "started_monotonic_ns 'x'"), ('{"host": NaN}', "not JSON"),
     ('{"seed": -1}', "seed -1; legal"),
     ('{"scenario": {"thresholds": 5}}', "scenario.thresholds: expected a list")],
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
