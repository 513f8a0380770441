"""`callquake calibrate` as users run it: a small climb over real sockets, and one that is cut short."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(600)]

# Whether a loaded machine keeps its bounds is no matter of these tests.
WITHIN_OR_OVER_A_BOUND = (0, 98)


def start(tmp_path, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "calibrate", *words],
        env={**os.environ, "CALLQUAKE_CALIBRATION": str(tmp_path / "state" / "calibration.json")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def saved(tmp_path):
    machines = json.loads((tmp_path / "state" / "calibration.json").read_text())["machines"]
    ((_, entries),) = machines.items()
    ((conditions, entry),) = entries.items()
    return conditions, entry


@pytest.mark.parametrize(
    ("words", "conditions"),
    [
        (["--silence", "dtx"], "webrtc, opus, dtx, loss 0"),
        (["--transport", "rtp", "--silence", "comfort-noise"], "rtp, pcmu, comfort-noise, loss 0"),
        (["--transport", "rtp", "--codec", "opus", "--loss", "0.05"], "rtp, opus, packets, loss 0.05"),
    ],
    ids=["webrtc", "rtp", "loss"],
)
def test_a_small_climb_is_printed_and_saved(tmp_path, words, conditions):
    file = tmp_path / "result.json"
    process = start(tmp_path, "--callers", "6", "--duration", "4", "--json", str(file), *words)
    out, _ = process.communicate(timeout=580)
    assert process.returncode in WITHIN_OR_OVER_A_BOUND, out
    name, entry = saved(tmp_path)
    assert name == conditions
    (step,) = entry["steps"]
    assert (step["callers"], step["connected"], step["failed"]) == (6, 6, 0), out
    assert step["error"]["n"] >= 6
    # A packet at most, for most turns: measured beside other tests.
    assert step["error"]["p50_ms"] <= 20
    assert step["n_ticks"] > 0
    assert step["packets_sent"] > 6 * 4 * 40 * (0.3 if "dtx" in conditions else 1)
    assert step["setups_per_s"] > 0
    assert json.loads(file.read_text())["steps"] == entry["steps"]
    assert f"{step['error']['n']}" in out
    assert "engine" in entry["affinity"]


def wait_for_row(process, callers):
    """Read output up to the row of a step."""
    read = []
    deadline = time.monotonic() + 580
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        assert line, "".join(read)
        read.append(line)
        if line.split()[:1] == [str(callers)]:
            return
    pytest.fail("".join(read))


def test_ctrl_c_keeps_the_steps_that_were_measured(tmp_path):
    # The second step is what is cut: the first has as few callers as can be, and ends by its turns.
    process = start(tmp_path, "--transport", "rtp", "--callers", "1,2", "--turns", "2")
    wait_for_row(process, 1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    if process.returncode == 98:
        pytest.skip("the first step broke a bound on this machine, so that there was no second to interrupt")
    assert process.returncode == 105, out
    assert "interrupted; what was measured is kept as partial" in out
    name, entry = saved(tmp_path)
    assert name == "rtp, pcmu, packets, loss 0, partial"
    assert [step["callers"] for step in entry["steps"]] == [1]
    assert entry["is_partial"]
