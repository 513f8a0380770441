"""Ctrl-C, SIGTERM and a full disk at awkward moments: one line and the right exit code, never a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.exit_codes import ExitCode

pytestmark = pytest.mark.unit

SMOKE = Path(__file__).resolve().parents[2] / "scenarios" / "smoke.yaml"
# Ctrl-C while the commands are being imported.
IMPORTING = """
import builtins, runpy, sys
real = builtins.__import__
def interrupted(name, *rest, **named):
    if name == "harness.commands":
        raise KeyboardInterrupt
    return real(name, *rest, **named)
builtins.__import__ = interrupted
sys.argv = ["callquake", "version"]
runpy.run_module("harness.cli", run_name="__main__")
"""
# A demo whose first step lasts, in a shell's background: SIGINT ignored.
DEMO = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
from harness import cli
from harness.commands import demo
def wait(*_, **__):
    print("fetching", flush=True)
    time.sleep(120)
demo.subprocess.run = wait
sys.exit(cli.main(["demo"]))
"""


def test_ctrl_c_during_the_imports():
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, "interrupted before the first call\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted before the first call"),
        (OSError(28, os.strerror(28)), ExitCode.LOCUST_ERROR, "No space left on device"),
    ],
)
def test_what_ends_a_command_is_one_line(error, code, said, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("harness.commands.run.prepare", fail)
    assert cli.main(["run", "any.yaml"]) == code
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_sigterm_ends_a_demo_in_the_background():
    with subprocess.Popen(
        [sys.executable, "-c", DEMO], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        while "fetching" not in demo.stdout.readline():
            assert demo.poll() is None
        demo.send_signal(signal.SIGTERM)
        try:
            _, errors = demo.communicate(timeout=60)
        finally:
            demo.kill()
    assert demo.returncode == ExitCode.INTERRUPTED, errors
    assert "Traceback" not in errors


def test_ctrl_c_before_locust_has_begun_the_run(monkeypatch, tmp_path, capsys):
    class Interrupted:
        was_interrupted = True

        def __init__(self, *_):
            pass

        def follow(self):
            return 1

    monkeypatch.setattr("harness.commands.run.LocustChild", Interrupted)
    monkeypatch.setattr("harness.commands.run.probe_all", lambda _: {})
    words = ["run", str(SMOKE), "--run-dir", str(tmp_path / "run")]
    assert cli.main(words) == ExitCode.INTERRUPTED
    assert "interrupted before the first call" in capsys.readouterr().out
