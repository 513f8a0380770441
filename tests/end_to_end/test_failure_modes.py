"""`callquake failures run`, whole: the agent started, called and stopped twice a mode, the table written.

pytest --soak -s tests/end_to_end/test_failure_modes.py             a cheap mode, Ctrl-C, the runbook's six: 25 minutes
pytest --soak tests/end_to_end/test_failure_modes.py -k 'mode or ctrl_c'    without the six
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from harness.exit_codes import ExitCode
from harness.failures import table

ROOT = Path(__file__).resolve().parents[2]
SIX = ("tts_saturation", "stt_timeout", "llm_cold_start", "ice_failure", "echo_loop", "token_overflow")
# The trunk's mode, with callers who say one thing and go. The agent does not greet them: a greeting that comes while
# they speak already, as from a busy machine, is an agent that cuts in, and such a turn awaits no answer.
CHEAP = {
    "seed": 5,
    "target": {"expect_greeting": False},
    "callers": [
        {
            "name": "all",
            "select": {"sentence_id": ["pin"], "condition": ["clean"]},
            "turns": 1,
            "think_ms": [0, 0],
            "patience": "unlimited",
        }
    ],
    "load": {"arrivals": {"distribution": "uniform", "rate_per_minute": 600, "calls": 6}},
    "limits": {"answer_timeout_s": 8, "call_timeout_s": 30},
    "thresholds": ["error_rate < 0.01", "response_ratio >= 0.95"],
}


def cheap(folder, **changes):
    mode = yaml.safe_load((ROOT / "scenarios" / "failures" / "trunk_exhausted.yaml").read_text())
    mode["target"]["up"] += ["--greeting", ""]
    path = folder / "cheap.yaml"
    path.write_text(yaml.safe_dump({**mode, "scenario": CHEAP, **changes}))
    return path


def command(*words):
    return [sys.executable, "-m", "harness.cli", "failures", "run", *map(str, words)]


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_mode_fails_with_its_fix_off_and_passes_with_it_on(tmp_path):
    page, proof = tmp_path / "page.md", tmp_path / "proof.json"
    page.write_text(f"{table.BEGIN}\n{table.END}\n")
    words = [cheap(tmp_path), "--into", page, "--json", proof, "--run-dir", tmp_path / "runs"]
    done = subprocess.run(command(*words), cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == ExitCode.PASSED, done.stdout + done.stderr
    (told,) = json.loads(proof.read_text())
    assert told["outcome"] == "as declared"
    assert [told["sides"][side]["verdict"] for side in ("off", "on")] == ["FAILED", "PASSED"]
    assert [one["is_shown"] for one in told["symptoms"]] == [True, True]
    assert told["symptoms"][0]["moves"]["off"]["from"] == "0.0%"
    assert "| cheap | `error_rate` | up by 0.2 from fix on |" in page.read_text()
    # What was never run is told so.
    assert "| tts_saturation | `ttfb_ms p50 during phase:many` |" in page.read_text()
    assert "not run" in page.read_text()
    assert "fix off: calls:" in done.stdout
    assert (tmp_path / "runs" / "cheap-off" / "report.html").exists()


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_ctrl_c_in_the_middle_ends_run_and_agent_and_is_105(tmp_path):
    running = subprocess.Popen(
        command(cheap(tmp_path), "--run-dir", tmp_path / "runs"), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    for line in running.stdout:
        if "calls:" in line:
            break
    family = psutil.Process(running.pid).children(recursive=True)
    assert any("target_stack" in " ".join(one.cmdline()) for one in family)
    running.send_signal(signal.SIGINT)
    rest = running.stdout.read()
    running.stdout.close()
    assert running.wait(60) == ExitCode.INTERRUPTED, rest
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SIX)
def test_the_runbooks_six(name, tmp_path):
    """Each fails with its fix off, shows its symptom, and passes with it on; the machine must be quiet."""
    done = subprocess.run(
        command(name, "--run-dir", tmp_path / "runs"), cwd=ROOT, env=dict(os.environ), text=True, check=False
    )
    assert done.returncode == ExitCode.PASSED
