"""The other commands of `callquake`, its help and its exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.commands.locust_child import progress_line
from harness.exit_codes import ExitCode

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def callquake(*words):
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *words], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_the_command_line_never_imports_locust():
    code = (
        "import sys, harness.cli; sys.exit(any(m.split('.')[0] in {'locust', 'gevent', 'aiortc'} for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_shipped_scenario_is_right(capsys):
    files = sorted(str(p) for p in (ROOT / "scenarios").rglob("*.yaml"))
    assert len(files) >= 3
    assert cli.main(["scenario", "check", *files]) == 0
    assert capsys.readouterr().out.count(": ok. ") == len(files)


def test_the_example_in_the_docs_is_right(tmp_path):
    page = (ROOT / "docs" / "scenarios.md").read_text()
    example = tmp_path / "example.yaml"
    example.write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    assert cli.main(["scenario", "check", str(example)]) == 0


def test_scenario_check_tells_of_every_bad_file(tmp_path, capsys):
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x\n")
    assert cli.main(["scenario", "check", str(bad), str(ROOT / "scenarios" / "smoke.yaml")]) == ExitCode.BAD_SCENARIO
    told = capsys.readouterr()
    assert "bad.yaml:1: target: missing" in told.err
    assert "smoke.yaml: ok. 5 calls" in told.out


def test_scenario_schema_is_json(capsys):
    assert cli.main(["scenario", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "callquake scenario"


def test_scenario_list_names_files_and_broken_ones(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("name: [")
    assert cli.main(["scenario", "list", str(tmp_path)]) == ExitCode.BAD_SCENARIO
    assert "broken" in capsys.readouterr().out
    assert cli.main(["scenario", "list", str(ROOT / "scenarios")]) == 0
    assert "smoke.yaml: Five callers" in capsys.readouterr().out
    assert cli.main(["scenario", "list", str(tmp_path / "none")]) == ExitCode.BAD_SCENARIO


def test_report_of_something_that_is_no_run(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path)]) == ExitCode.BAD_SCENARIO
    assert str(tmp_path) in capsys.readouterr().err


def test_the_help_of_run_names_the_page_on_workers():
    said = " ".join(callquake("run", "--help").stdout.split())
    assert "Each worker has an engine of its own; see docs/workers.md." in said
    assert (Path(__file__).parents[2] / "docs" / "workers.md").is_file()


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["scenario", "--help"], ["report", "--help"]])
def test_help_names_the_command_and_succeeds(words, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 0
    assert "callquake" in capsys.readouterr().out


def test_wrong_usage_exits_with_2():
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "--no-such-option"])
    assert caught.value.code == ExitCode.USAGE


def test_run_without_a_scenario_says_what_to_name(capsys):
    assert cli.main(["run"]) == ExitCode.BAD_SCENARIO
    assert "scenarios/smoke.yaml" in capsys.readouterr().err


def test_other_programs_of_the_project_get_their_own_options():
    done = callquake("corpus", "--help")
    assert done.returncode == 0
    assert "harness.corpus" in done.stdout or "corpus" in done.stdout


def test_version_is_printed(capsys):
    assert cli.main(["version"]) == 0
    assert re.fullmatch(r"callquake \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_the_docs_and_the_code_have_the_same_exit_codes():
    page = (ROOT / "docs" / "exit-codes.md").read_text()
    documented = {int(code): name for code, name in re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", page, re.MULTILINE)}
    assert documented == {code.value: code.name for code in ExitCode}


PROGRESS = {
    "is_ready": True,
    "is_ending": False,
    "placed": 3,
    "active": 1,
    "ended": 2,
    "completed": 1,
    "turns": 5,
    "last_ttfb_ms": 812.4,
    "planned": 5,
    "elapsed_s": 9.6,
    "arrivals_end_s": 28.2,
    "engine_pid": 1,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            (
                "calls: 3 of 5 placed, 1 active, 1 completed, 1 ended otherwise, turns: 5, last TTFB 812 ms, "
                "10 s, arrivals end at 28 s"
            ),
        ),
        ({"is_ready": False}, "starting the engine"),
        (
            {"planned": None, "last_ttfb_ms": None, "arrivals_end_s": None, "ended": 1, "is_ending": True},
            "stopping; calls: 3 placed, 1 active, 1 completed, turns: 5, 10 s",
        ),
    ],
)
def test_progress_is_one_line(changes, expected):
    assert progress_line(PROGRESS | changes) == expected
