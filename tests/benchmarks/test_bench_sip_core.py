"""The benchmark of the SIP core measures whole calls."""

import pytest

from benchmarks.sip_core import Pair, measure

pytestmark = pytest.mark.unit


def test_every_call_takes_seven_messages_and_leaves_nothing():
    caller, callee = measure(calls=5, rounds=2)
    assert len(caller) == len(callee) == 2
    assert min(*caller, *callee) > 0


def test_both_sides_are_charged():
    pair = Pair()
    pair.call()
    assert pair.messages == 7
    assert min(pair.cpu_ns) > 0
