"""The bundled agent on loudspeakers: with its echo detection off it answers itself and the run says so, with it on not.

The models are emulated: what decides is what the agent hears, not what it understands.
"""

import pytest
from product import Run, scenario, target_stack

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(400)]

# Whoever speaks at once cuts off what would have been the agent's answer to itself.
PATIENT = {"name": "all", "turns": 2, "patience": "unlimited", "think_ms": [5_000, 6_000]}


def loudspeakers(url, **changes):
    return scenario(
        url,
        calls=3,
        callers=[PATIENT],
        limits={"answer_timeout_s": 8, "greeting_timeout_s": 8, "call_timeout_s": 40},
        faults=[{"name": "loudspeaker", "kind": "caller.echo"}],
        thresholds=["self_answer_ratio <= 0.05"],
        **changes,
    )


@pytest.mark.parametrize(("switch", "code"), [("off", 99), ("on", 0)])
def test_an_echo_loop_is_found_by_sound_and_named(tmp_path, switch, code):
    options = ("--profile", "emulated", "--echo-detection", switch)
    with target_stack(*options) as (origin, _process):
        run = Run(tmp_path, loudspeakers(f"{origin}/api/offer"))
        assert run.end() == code, run.text
    calls = run.rows("calls.jsonl")
    assert all(call["echo"]["copies"] > 0 for call in calls if call["connected_at_ns"])
    assert ("Echo loop" in (run.run_dir / "report.html").read_text()) == (switch == "off")
    assert ("Echo loop" in run.text) == (switch == "off")
    stopped = [row for row in run.rows("faults.jsonl") if row["event"] == "stopped"]
    assert stopped[-1]["evidence"]["touched"] > 100
