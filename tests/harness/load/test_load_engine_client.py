"""Whatever happens to the engine, every call has an end and no process is left."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.loopback

HERE = Path(__file__).parent
COMPLETED, LOST = ["completed", "none"], ["lost", "engine_died"]


def drive(mode, tmp_path, command=None):
    engine_mode = "complete" if mode in {"kill", "freeze"} else mode
    command = command or shlex.join([sys.executable, str(HERE / "scripted_engine.py"), engine_mode])
    done = subprocess.run(
        [sys.executable, str(HERE / "drive_engine_client.py"), mode, str(tmp_path)],
        env={**os.environ, "CALLQUAKE_ENGINE_COMMAND": command},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["engine_is_gone"]
    assert result["open"] == 0
    return result


def test_calls_complete_and_the_engine_stops_when_asked(tmp_path):
    result = drive("complete", tmp_path)
    assert result["outcomes"] == [COMPLETED, COMPLETED, COMPLETED, None]
    assert result["records"] == ["call-000000", "call-000001", "call-000002"]
    assert (result["turns"], result["deaths"], result["stopped"]) == (3, [], True)


def test_an_engine_that_dies_leaves_lost_calls_and_says_how(tmp_path):
    result = drive("die", tmp_path)
    assert LOST in result["outcomes"]
    # The call of the far future never began: no record speaks of it.
    assert result["outcomes"][3] is None
    assert "call-000003" not in result["records"]
    assert len(result["deaths"]) == 1
    assert "exited 3" in result["deaths"][0]
    assert "engine-w.log" in result["deaths"][0]


def test_an_engine_that_is_killed_is_noticed(tmp_path):
    result = drive("kill", tmp_path)
    assert result["outcomes"][:2] == [LOST, LOST]
    assert "was killed by SIGKILL" in result["deaths"][0]


def test_an_engine_that_falls_silent_is_killed_and_its_calls_are_lost(tmp_path):
    result = drive("freeze", tmp_path)
    assert result["outcomes"] == [LOST, LOST, LOST, None]
    assert result["deaths"] == ["engine w: sent nothing for 2 s and was killed"]


def test_an_engine_that_does_not_stop_is_killed(tmp_path):
    result = drive("hang", tmp_path)
    assert result["stopped"] is False
    assert result["outcomes"] == [COMPLETED, COMPLETED, COMPLETED, None]
    assert result["deaths"] == []


def test_stop_ends_calls_in_progress_as_interrupted(tmp_path):
    result = drive("slow", tmp_path)
    assert result["outcomes"][:2] == [["interrupted", "operator"]] * 2
    assert (result["outcomes"][3], result["stopped"]) == (None, True)


def test_an_engine_that_talks_nonsense_is_refused(tmp_path):
    result = drive("broken", tmp_path)
    assert result["error"] == "GeneratorError"
    assert "not our peer" in result["message"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [("/nonexistent/engine", "cannot start the engine (/nonexistent/engine"), ("false", "exited 1; its log:")],
)
def test_an_engine_that_cannot_start_names_the_command_or_its_log(command, expected, tmp_path):
    result = drive("complete", tmp_path, command)
    assert result["error"] == "GeneratorError"
    assert expected in result["message"]
