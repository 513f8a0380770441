"""What a report says of the ways that calls went, and of what a bridge does to their times."""

from dataclasses import replace

import pytest
from run_records import make_call

from harness.model.records import CallRecord, RelayUse
from harness.report.relay_notes import notes_of_relays

pytestmark = pytest.mark.unit

DIRECT = replace(make_call("a"), candidate_types=("host", "host"))


def relayed(name: str, relay: RelayUse) -> CallRecord:
    return replace(make_call(name), candidate_types=("relay", "host"), relay=relay)


def test_direct_calls_and_calls_without_ice_need_no_words() -> None:
    assert notes_of_relays([DIRECT, make_call("b")]) == []


def test_the_ways_are_counted() -> None:
    calls = [DIRECT, relayed("b", RelayUse("turn:h")), relayed("c", RelayUse("turn:h"))]
    assert notes_of_relays(calls) == [
        "ICE candidates of the calls, ours and the agent's: 2 relay to host, 1 host to host."
    ]


def test_what_a_bridge_adds_is_said_with_what_it_lost() -> None:
    calls = [
        relayed("a", RelayUse("turns:h", 1.0, 3.5)),
        relayed("b", RelayUse("turns:h", 2.0, 9.0, 4)),
        relayed("c", RelayUse("turn:h")),
    ]
    said = notes_of_relays(calls)[1]
    assert said.startswith("2 calls were relayed over TCP or TLS")
    assert "a mean of 1.5 ms (at most 9.0 ms)" in said
    assert "could not pass on 4 packets" in said
