"""5,000 calls of a file come within 50 ms of their due time at x1 and x10, on an idle machine (6 min).

pytest --soak tests/harness/incidents/test_replay_soak.py
"""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.soak

CALLS, SPAN_S = 5_000, 300


@pytest.fixture
def agent(tmp_path: Path):
    command = [sys.executable, "-m", "harness.calibrate.responder", "--sip-port", "0", "--greeting-ms", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(3)]
    yield lines[2]
    process.terminate()
    process.wait()


def callquake(folder: Path, *words: str) -> int:
    return subprocess.run([sys.executable, "-m", "harness.cli", *words], cwd=folder, check=False).returncode


@pytest.mark.timeout(900)
def test_calls_come_when_they_are_due(tmp_path: Path, agent: str) -> None:
    rng = random.Random(1)
    times = sorted(rng.uniform(0, SPAN_S) for _ in range(CALLS))
    rows = (f"2026-03-02T09:{int(at // 60):02d}:{at % 60:06.3f}Z,20,completed\n" for at in times)
    (tmp_path / "cdr.csv").write_text("start_time,duration,status\n" + "".join(rows))
    assert callquake(tmp_path, "incident", "import", "cdr.csv", "--out", "inc.yaml", "--target", agent) == 0
    document = yaml.safe_load((tmp_path / "inc.yaml").read_text())
    document["scenario"]["target"]["sip"] = {"media": False, "hold_s": 1}
    document["scenario"]["thresholds"] = ["error_rate < 0.01"]
    (tmp_path / "inc.yaml").write_text(yaml.safe_dump(document))
    for speed in ("10", "1"):
        assert callquake(tmp_path, "replay", "inc.yaml", "--speed", speed, "--run-dir", f"x{speed}") == 0
        calls = [json.loads(line) for line in (tmp_path / f"x{speed}" / "calls.jsonl").read_text().splitlines()]
        first = min(call["due_at_ns"] for call in calls)
        due = sorted((call["due_at_ns"] - first) / 1e9 for call in calls)
        assert len(due) == CALLS
        assert max(abs(a - (b - times[0]) / float(speed)) for a, b in zip(due, times, strict=True)) < 0.003
        late = sorted(call["arrival_lateness_ms"] for call in calls)
        assert late[int(0.99 * CALLS)] <= 50
