"""Failure files: what they say, what is wrong with them, and the scenarios of both sides."""

import re
from pathlib import Path

import pytest
import yaml
from failure_samples import FAILURE, write

from harness.cli import main
from harness.exit_codes import ExitCode
from harness.failures.failure_file import OFF, ON, SIDES, Places, is_failure, load_failure, merged
from harness.failures.prepared import prepared_sides, write_files
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "scenarios" / "failures"
SHIPPED = sorted(FOLDER.glob("*.yaml"))
PLACES = Places("http://127.0.0.1:4321", "127.0.0.1:5099")


def test_the_six_of_the_runbook_ship_in_its_order():
    six = sorted((load_failure(path) for path in SHIPPED), key=lambda failure: failure.about.runbook or 99)[:6]
    assert [failure.about.runbook for failure in six] == [1, 2, 3, 4, 5, 6]
    assert [failure.name for failure in six] == [
        "tts_saturation", "stt_timeout", "llm_cold_start", "ice_failure", "echo_loop", "token_overflow",
    ]  # fmt: skip
    assert {failure.name for failure in six if failure.about.models == "real"} == {
        "stt_timeout", "llm_cold_start", "token_overflow",
    }  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_both_sides_of_every_shipped_mode_are_right_and_differ(path):
    failure = load_failure(path)
    sides = prepared_sides(failure)
    assert set(sides) == set(SIDES)
    assert all(side.loaded.scenario.thresholds for side in sides.values())
    told = [(failure.up_words(side, PLACES), failure.scenario(side, PLACES)) for side in SIDES]
    assert told[0] != told[1]
    assert not any("{origin}" in str(one) or "{files}" in str(one) for one in told)


def test_words_of_the_target_are_filled_in_and_numbers_and_switches_are_words(tmp_path):
    path = write(
        tmp_path, fix_off={"up": ["--sip-trunk-calls", 1.5, "--echo-detection", False, "{files}/a", "{here}/b"]}
    )
    words = load_failure(path).up_words(OFF, Places("", files=Path("/made")))
    assert words == [
        "--profile", "emulated", "--sip-trunk-calls", "1.5", "--echo-detection", "off", "/made/a", f"{tmp_path}/b",
    ]  # fmt: skip


def test_the_scenario_of_a_side_has_its_address_its_name_and_what_is_different():
    failure = load_failure(FOLDER / "trunk_exhausted.yaml")
    scenario = failure.scenario(ON, PLACES)
    assert (scenario["name"], scenario["target"]["url"]) == ("trunk_exhausted_on", "sip:agent@127.0.0.1:5099")
    assert failure.file.scenario.get("target") is None


def test_a_side_may_change_the_scenario(tmp_path):
    failure = load_failure(write(tmp_path))
    off, on = (failure.scenario(side, PLACES) for side in SIDES)
    assert off["limits"] == {"answer_timeout_s": 5, "call_timeout_s": 30}
    assert on["limits"] == {"answer_timeout_s": 5, "call_timeout_s": 20}
    assert failure.file.scenario["limits"]["call_timeout_s"] == 30


def test_merging_replaces_all_but_mappings():
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert merged(below, {"a": {"y": [3]}, "b": {"z": 1}, "c": 2}) == {"a": {"x": 1, "y": [3]}, "b": {"z": 1}, "c": 2}


def test_files_are_written_for_the_target(tmp_path):
    failure = load_failure(write(tmp_path, files={"times.yaml": {"name": "mine"}}))
    write_files(failure, tmp_path / "run")
    assert yaml.safe_load((tmp_path / "run" / "times.yaml").read_text()) == {"name": "mine"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"symptoms": None}, "symptoms: missing"),
        ({"symptoms": [{"metric": "ttfb p95", "direction": "up", "by": 1}]}, "unknown metric; legal: ttfb_ms"),
        ({"symptoms": [{"metric": "error_rate", "direction": "up", "by": 0}]}, "symptoms[0].by: "),
        (
            {"symptoms": [{"metric": "error_rate over 30s", "direction": "up", "by": 0.1}]},
            "symptoms[0].metric: ",
        ),
        (
            {"symptoms": [{"metric": "error_rate", "against": "wer by accent", "direction": "up", "by": 1}]},
            "symptoms[0].against: ",
        ),
        ({"files": {"../a.yaml": {}}}, "legal: a plain file name"),
        ({"scenario": {**FAILURE["scenario"], "name": "x"}}, "scenario.name: "),
        ({"target": {"up": "--profile emulated"}}, "target.up: "),
        ({"fix_of": {}}, "fix_of: unknown key"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, changes, said):
    path = write(tmp_path, **changes)
    with pytest.raises(ScenarioError) as error:
        load_failure(path)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{path}:")


def test_a_wrong_scenario_is_told_of_the_failure_file(tmp_path):
    path = write(tmp_path, scenario={**FAILURE["scenario"], "thresholds": ["nonsense < 1"]})
    line = path.read_text().splitlines().index("  - nonsense < 1") + 1
    with pytest.raises(ScenarioError) as error:
        prepared_sides(load_failure(path))
    assert str(error.value).startswith(f"{path}:{line}: fix off: scenario.thresholds[0]: threshold 'nonsense < 1'")


def test_what_is_wrong_on_one_side_alone_is_told_where_that_side_says_it(tmp_path):
    path = write(tmp_path, fix_on={"up": [], "scenario": {"limits": {"call_timeout_s": -1}}})
    line = path.read_text().splitlines().index("      call_timeout_s: -1") + 1
    with pytest.raises(ScenarioError) as error:
        prepared_sides(load_failure(path))
    assert str(error.value).startswith(f"{path}:{line}: fix on: fix_on.scenario.limits.call_timeout_s: got -1; legal: ")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ScenarioError, match=r"none\.yaml: cannot read the failure file"):
        load_failure(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("failure: [")
    with pytest.raises(ScenarioError, match=r"bad\.yaml:"):
        load_failure(bad)


def test_failure_files_are_told_from_scenarios(tmp_path):
    assert is_failure(write(tmp_path))
    assert not is_failure(ROOT / "scenarios" / "smoke.yaml")
    assert not is_failure(tmp_path / "none.yaml")


def test_scenario_list_and_check_know_failure_files(tmp_path, capsys):
    path = write(tmp_path)
    assert main(["scenario", "list", str(tmp_path)]) == ExitCode.PASSED
    assert main(["scenario", "check", str(path)]) == ExitCode.PASSED
    told = capsys.readouterr().out
    assert "one_line.yaml: failure mode: One line too few" in told
    assert "one_line.yaml: ok. 6 calls" in told


def test_failures_list_tells_symptom_and_fix_in_the_runbooks_order(capsys):
    assert main(["failures", "list"]) == ExitCode.PASSED
    told = capsys.readouterr().out
    assert [word for word in told.split() if word in {"tts_saturation", "token_overflow", "trunk_exhausted"}] == [
        "tts_saturation", "token_overflow", "trunk_exhausted",
    ]  # fmt: skip
    assert "symptom: Latency grows" in told


def test_the_example_in_the_docs_is_right(tmp_path):
    page = (ROOT / "docs" / "failures.md").read_text()
    example = tmp_path / "example.yaml"
    example.write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    assert set(prepared_sides(load_failure(example))) == set(SIDES)


def test_an_unknown_mode_is_refused_before_anything_runs(capsys):
    assert main(["failures", "run", "tts_saturatoin"]) == ExitCode.BAD_SCENARIO
    assert "legal: tts_saturation, stt_timeout" in capsys.readouterr().err
