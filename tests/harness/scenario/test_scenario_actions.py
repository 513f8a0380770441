"""Keys pressed and agents put on hold, from the file to the plan; refused where they cannot be done."""

import pytest

from harness.model.errors import ScenarioError
from harness.model.plan import PlannedAction
from harness.scenario.check import prepare

pytestmark = pytest.mark.unit

SCENARIO = """
name: keys
target:
  url: {url}
{target}
callers:
  - name: c
    turns: {turns}
{actions}
load:
  arrivals: {{rate_per_minute: 60, calls: 2, distribution: uniform}}
"""


def prepared(tmp_path, actions, url="sip:agent@127.0.0.1", turns=2, target=""):
    path = tmp_path / "s.yaml"
    lines = "\n".join(["    actions:", *(f"      - {action}" for action in actions)]) if actions else ""
    path.write_text(SCENARIO.format(url=url, actions=lines, turns=turns, target=target))
    return prepare(path)


def test_actions_reach_the_turn_they_stand_before(tmp_path):
    actions = ['{before_turn: 1, dtmf: "12#"}', "{before_turn: 2, hold_s: 2.5}", '{before_turn: 2, dtmf: "A"}']
    plan = prepared(tmp_path, actions).planner.plan_for_index(0)
    assert plan.turns[0].actions == (PlannedAction(dtmf="12#"),)
    assert plan.turns[1].actions == (PlannedAction(hold_ms=2_500.0), PlannedAction(dtmf="A"))


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("{before_turn: 1}", "needs exactly one of: dtmf, hold_s"),
        ('{before_turn: 1, dtmf: "1", hold_s: 1}', "needs exactly one of: dtmf, hold_s"),
        ("{before_turn: 1, dtmf: 12}", "legal: 1 to 32 of 0-9 * # A-D, in quotes"),
        ('{before_turn: 1, dtmf: "12x"}', "legal: 1 to 32 of 0-9 * # A-D, in quotes"),
        ("{before_turn: 3, hold_s: 1}", "got 3, but a call may have 2 turns; legal: 1 to 2"),
        ("{before_turn: 0, hold_s: 1}", "before_turn"),
        ("{before_turn: 1, hold_s: 0}", "hold_s"),
    ],
)
def test_what_no_call_can_do_is_refused(tmp_path, action, expected):
    with pytest.raises(ScenarioError) as caught:
        prepared(tmp_path, [action])
    assert expected in str(caught.value)
    assert "callers[0].actions[0]" in str(caught.value)


@pytest.mark.parametrize(
    ("action", "kind"), [('{before_turn: 1, dtmf: "1"}', "dtmf"), ("{before_turn: 1, hold_s: 1}", "hold_s")]
)
@pytest.mark.parametrize("url", ["http://127.0.0.1:7860/api/offer", "rtp://127.0.0.1:4000"])
def test_transports_that_cannot_do_it_say_so_before_the_run(tmp_path, action, kind, url):
    with pytest.raises(ScenarioError, match=f"{kind} cannot be done over .*; legal: with transport sip"):
        prepared(tmp_path, [action], url)


def test_calls_without_audio_last_as_long_as_the_file_says(tmp_path):
    target = "  sip: {media: false, hold_s: 0.5}"
    spec = prepared(tmp_path, [], target=target).planner.plan_for_index(0).target.sip
    assert (spec.media, spec.hold_ms) == (False, 500.0)
    with pytest.raises(ScenarioError, match="legal: with media: false"):
        prepared(tmp_path, [], target="  sip: {hold_s: 1}")
    with pytest.raises(ScenarioError, match="dtmf needs a call with audio"):
        prepared(tmp_path, ['{before_turn: 1, dtmf: "1"}'], target=target)
