"""Which targets may share a port: learnt from calls that live at the same time."""

import pytest

from harness.media.peer.source_ports import Answers, SourcePorts
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit

A, B, C = ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)
URL = "http://agent/offer"


def test_a_target_is_shared_once_two_calls_were_answered_from_two_ports():
    ports = SourcePorts()
    assert not ports.may_share(URL, "auto")
    ports.answered(URL, [A])
    assert not ports.may_share(URL, "auto")
    ports.answered(URL, [B])
    assert ports.may_share(URL, "auto")
    assert not ports.may_share("http://another/offer", "auto")


def test_a_target_with_one_port_for_all_is_never_shared():
    ports = SourcePorts()
    ports.answered(URL, [A])
    ports.answered(URL, [A])
    ports.answered(URL, [B])
    assert ports.answers(URL) is Answers.FROM_ONE_PORT
    assert not ports.may_share(URL, "auto")


def test_one_shared_address_after_many_separate_ones_is_remembered():
    """Several servers with a mux each, behind one URL."""
    ports = SourcePorts()
    for address in (A, B, A):
        ports.answered(URL, [address])
    assert not ports.may_share(URL, "auto")


def test_calls_after_each_other_teach_nothing():
    """An agent may give the port of an ended call to the next one."""
    ports = SourcePorts()
    for _ in range(3):
        ports.answered(URL, [A])
        ports.ended(URL, [A])
    assert ports.answers(URL) is Answers.UNKNOWN
    ports.answered(URL, [B])
    assert ports.answers(URL) is Answers.UNKNOWN


def test_an_answer_without_candidates_teaches_nothing():
    ports = SourcePorts()
    ports.answered(URL, [])
    ports.answered(URL, [])
    assert ports.answers(URL) is Answers.UNKNOWN


@pytest.mark.parametrize(("choice", "is_shared"), [("shared", True), ("per_call", False)])
def test_the_scenario_may_decide(choice, is_shared):
    assert SourcePorts().may_share(URL, choice) is is_shared


def test_an_unknown_choice_names_the_legal_ones():
    with pytest.raises(ScenarioError, match="'sometimes' is unknown; legal: auto, shared, per_call"):
        SourcePorts().may_share(URL, "sometimes")
