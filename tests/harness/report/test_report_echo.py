"""The echo loop in words and as a metric: of recorded calls alone, by its name where the agent answered itself."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from run_records import make_call

from harness.model.records import EchoFacts
from harness.report.echo_notes import notes_of_echo
from harness.verdict.metrics import METRICS
from harness.verdict.readings import readings_of

pytestmark = pytest.mark.unit

LOOP = EchoFacts(pieces=9, copies=8, delay_ms=204.0, gain_db=-6.2, strength=0.81, self_answers=3, first_ms=4_000.0)
HEARD = EchoFacts(pieces=9, copies=8, delay_ms=204.0, gain_db=-6.2, strength=0.81)
CLEAN = EchoFacts(pieces=0, copies=0)


def test_an_agent_that_answers_itself_is_told_with_what_came_back():
    calls = [make_call(f"c{n}", echo=echo) for n, echo in enumerate([LOOP, LOOP, HEARD, CLEAN, None])]
    (note,) = notes_of_echo(calls)
    assert note.startswith(
        "Echo loop: in 2 of 4 calls recorded the agent answered its own voice, 6 times in all (c0, c1)"
    )
    assert "204 ms later at -6 dB" in note
    assert "correlation 0.81" in note
    assert "by sound alone" in note
    (told,) = notes_of_echo([make_call("c", echo=replace(LOOP, transcripts=True))])
    assert "by sound alone" not in told


def test_an_agent_that_only_hears_itself_is_told_so():
    (note,) = notes_of_echo([make_call("c", echo=HEARD)])
    assert "1 of 1 call recorded" in note
    assert "never answered itself" in note


@pytest.mark.parametrize("echo", [None, CLEAN])
def test_calls_without_echo_have_nothing_to_tell(echo):
    assert notes_of_echo([make_call("c", echo=echo)]) == []


def test_the_metric_is_of_recorded_calls_alone():
    calls = [make_call(f"c{n}", echo=echo) for n, echo in enumerate([LOOP, HEARD, CLEAN, None])]
    readings = [
        reading.value for reading, _tags in readings_of(METRICS["self_answer_ratio"], SimpleNamespace(calls=calls), {})
    ]
    assert readings == [1, 0, 0]
