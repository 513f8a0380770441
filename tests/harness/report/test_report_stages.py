"""What a report says where an agent's own times are longer than what was heard."""

import pytest
from run_records import make_turn

from harness.model.records import StageTimes, TurnRecord
from harness.report.stage_notes import notes_of_stages

pytestmark = pytest.mark.unit


def told(turn: int, endpointing_ms: float) -> TurnRecord:
    """A turn of 600 ms whose agent tells 100 ms besides its endpointing."""
    return make_turn(turn=turn, stages=StageTimes(endpointing_ms, 40.0, 30.0, 20.0, 10.0, "turn-timing"))


def test_turns_that_add_up_need_no_words() -> None:
    # Up to a packet's length is no difference.
    assert notes_of_stages([told(1, 500.0), told(2, 400.0), told(3, 519.0)]) == []
    assert notes_of_stages([]) == []
    assert notes_of_stages([make_turn()]) == []


def test_an_agent_that_heard_the_end_earlier_is_told_of_with_how_often_and_how_much() -> None:
    turns = [told(1, 560.0), told(2, 660.0), told(3, 580.0), *(told(n, 480.0) for n in range(4, 11))]
    (note,) = notes_of_stages(turns)
    assert note.startswith(
        "The agent's own times add up to more than TTFB in 3 of 10 turns (stage other below zero, -80 ms at"
    )
    assert "its own detector" in note
    # One of many is that turn's luck.
    assert notes_of_stages([told(1, 560.0), *(told(n, 480.0) for n in range(2, 13))]) == []
