"""`callquake wer-under-load`: what it prints and writes, and what it cannot compare."""

import json

import pytest
from sample_run import write_run

from harness.cli import main
from harness.exit_codes import ExitCode

pytestmark = pytest.mark.unit


def test_the_command_prints_and_writes_the_comparison(tmp_path, capsys):
    idle, loaded = write_run(tmp_path / "idle", run_id="idle"), write_run(tmp_path / "loaded", seed=8, run_id="loaded")
    wanted = tmp_path / "x.json", tmp_path / "x.md"
    options = ["wer-under-load", str(idle), str(loaded), "--json", str(wanted[0]), "--markdown", str(wanted[1])]
    assert main(options) == ExitCode.PASSED
    told = capsys.readouterr().out
    assert told.startswith("WER under load: idle, then loaded")
    assert max(map(len, told.splitlines())) <= 96
    found = json.loads(wanted[0].read_text())
    assert found["difference"]["n_pairs"] > 20
    assert "whisper-normalizer" in found["normaliser"]
    assert "| accent japanese |" in wanted[1].read_text()
    # As many calls at once in both: a reader is told.
    assert any("as many calls at once" in line for line in found["caveats"])
    assert main(["wer-under-load", str(idle), str(tmp_path / "absent")]) == ExitCode.BAD_SCENARIO
    assert "not the directory of a run" in capsys.readouterr().err
    (loaded / "turns.jsonl").unlink()
    assert main(["wer-under-load", str(idle), str(loaded)]) == ExitCode.NO_DATA
    assert "WER was not measured" in capsys.readouterr().err


def test_a_run_is_not_compared_with_itself(tmp_path, capsys):
    idle = write_run(tmp_path / "idle", run_id="idle")
    assert main(["wer-under-load", str(idle), str(tmp_path / "." / "idle")]) == ExitCode.BAD_SCENARIO
    assert "is the idle run itself" in capsys.readouterr().err
