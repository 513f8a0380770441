"""Who gets a session: tables of loads and answers, in virtual time."""

import pytest

from harness.model.clock import NS_PER_MS, NS_PER_S
from target_stack.servers.registry import Level, Load, Registry, Rules, State, UnknownServerError
from target_stack.servers.restarts import RestartRules, Restarts

pytestmark = pytest.mark.unit


def with_loads(*active, capacity=10, rules=None):
    """Servers s1, s2 ... that have so many calls."""
    registry = Registry(rules or Rules())
    for number, calls in enumerate(active, 1):
        registry.register(f"s{number}", capacity, 0)
        registry.heard(f"s{number}", Load({"sip": calls}, is_ready=True), 0)
    return registry


@pytest.mark.parametrize(
    ("active", "chosen"),
    [
        ((0, 0, 0), "s1"),
        ((1, 0, 0), "s2"),
        ((5, 4, 7), "s2"),
        # Below the first watermark comes before the emptiest share alone: 8 of 10 are places below it.
        ((8, 7, 8), "s2"),
        # All over the first watermark: spread on, up to the second.
        ((8, 9, 8), "s1"),
        ((10, 9, 10), "s2"),
        ((10, 10, 10), None),
    ],
)
def test_the_emptiest_server_below_the_watermark_gets_the_session(active, chosen):
    assert with_loads(*active).choose() == chosen


@pytest.mark.parametrize(
    ("in_use", "level"), [(0, "normal"), (7, "normal"), (8, "strained"), (9, "strained"), (10, "full")]
)
def test_levels_say_what_the_next_session_would_find(in_use, level):
    registry = with_loads(in_use)
    assert registry.level("s1") == registry.overall() == Level(level)


def test_a_second_watermark_of_80_percent_refuses_there():
    rules = Rules(spread_at=0.5, refuse_at=0.8)
    assert with_loads(7, rules=rules).choose() == "s1"
    assert with_loads(8, rules=rules).choose() is None


def test_servers_of_different_size_are_compared_by_share():
    registry = with_loads(4)
    registry.register("large", 100, 0)
    registry.heard("large", Load({"webrtc": 30}, is_ready=True), 0)
    assert registry.choose() == "large"


def test_a_session_given_is_a_place_taken_before_the_server_says_so():
    registry = with_loads(9, 10)
    assert registry.choose() == "s1"
    registry.give("s1")
    assert registry.choose() is None
    assert registry["s1"].pending == 1
    # It is decided on: refused, or among the calls.
    registry.heard("s1", Load({"sip": 9}, settled=1, is_ready=True), 1)
    assert registry.choose() == "s1"
    registry.give("s1")
    registry.take_back("s1")
    assert registry.choose() == "s1"


def test_a_hundred_sessions_at_once_fill_three_servers_evenly_and_no_further():
    registry = with_loads(0, 0, 0)
    given = []
    for _ in range(100):
        chosen = registry.choose()
        if chosen is not None:
            registry.give(chosen)
        given.append(chosen)
    assert [given.count(name) for name in ("s1", "s2", "s3", None)] == [10, 10, 10, 70]
    assert given[30:] == [None] * 70
    assert registry.why_not() == "30 calls are active on 3 media servers, which is the limit"


def test_a_server_that_is_not_ready_gets_nothing():
    registry = Registry()
    assert registry.why_not() == "no media server takes calls: none has started"
    registry.register("s1", 10, 0)
    assert registry.choose() is None
    assert registry.why_not() == "no media server takes calls: s1 is starting"
    registry.heard("s1", Load(), 0)
    assert registry["s1"].state is State.STARTING
    registry.heard("s1", Load(is_ready=True), 0)
    assert registry.choose() == "s1"
    # Its language model died.
    registry.heard("s1", Load(), 0)
    assert registry.choose() is None


def test_silence_longer_than_the_lease_takes_a_server_out_until_it_is_heard_again():
    registry = with_loads(0, 5, rules=Rules(lease_ms=1500))
    registry.heard("s2", Load({"sip": 5}, is_ready=True), 1000 * NS_PER_MS)
    assert registry.expire(1500 * NS_PER_MS) == []
    assert registry.expire(1501 * NS_PER_MS) == ["s1"]
    assert registry.expire(1502 * NS_PER_MS) == []
    assert (registry["s1"].state, registry.choose()) == (State.LOST, "s2")
    registry.heard("s1", Load(is_ready=True), 3000 * NS_PER_MS)
    assert registry.choose() == "s1"


def test_where_none_of_several_is_heard_the_machine_is_late_and_nobody_is_refused():
    registry = with_loads(4, 2, 1, rules=Rules(lease_ms=1500))
    registry.drain("s3")
    assert len(registry.expire(2000 * NS_PER_MS)) == 3
    # As if they were heard, but for the one that drains.
    assert (registry.is_all_late, registry.choose(), registry.why_not()) == (True, "s2", "")
    assert (registry.capacity, registry.overall()) == (20, Level.NORMAL)
    assert not registry.is_lost("s1")
    assert all(registry.is_serving(name) for name in ("s1", "s2", "s3"))
    # One is back: then the others are missed.
    registry.heard("s1", Load({"sip": 4}, is_ready=True), 2100 * NS_PER_MS)
    assert (registry.is_all_late, registry.choose(), registry.is_lost("s2")) == (False, "s1", True)
    assert [registry.is_serving(name) for name in ("s1", "s2", "s3")] == [True, False, False]
    registry.gone("s1")
    assert (registry.is_lost("s1"), registry.is_lost("s9")) == (True, False)


def test_one_that_is_alone_and_silent_hangs():
    registry = with_loads(0, rules=Rules(lease_ms=1500))
    registry.expire(2000 * NS_PER_MS)
    assert (registry.is_all_late, registry.choose(), registry.is_lost("s1")) == (False, None, True)


def test_the_time_in_which_nobody_listened_is_no_silence():
    registry = with_loads(0, 0, rules=Rules(lease_ms=1500))
    registry.pardon(1000 * NS_PER_MS)
    assert registry.expire(2500 * NS_PER_MS) == []
    assert registry.expire(2501 * NS_PER_MS) == ["s1", "s2"]


def test_draining_ends_in_emptiness_and_outlives_heartbeats():
    registry = with_loads(1, 5)
    registry.drain("s1")
    registry.heard("s1", Load({"sip": 1}, is_ready=True), 1)
    assert (registry["s1"].state, registry["s1"].is_drained, registry.choose()) == (State.DRAINING, False, "s2")
    registry.heard("s1", Load({"sip": 0}, is_ready=True), 2)
    assert registry["s1"].is_drained
    registry.resume("s1")
    assert registry.choose() == "s1"


def test_a_session_on_its_way_keeps_a_draining_server_from_being_empty():
    registry = with_loads(0)
    registry.give("s1")
    registry.drain("s1")
    assert not registry["s1"].is_drained


@pytest.mark.parametrize(("is_replaced", "state"), [(False, State.DRAINING), (True, State.READY)])
def test_the_process_after_a_drained_one_drains_too_unless_it_replaces_it(is_replaced, state):
    registry = with_loads(0)
    registry.drain("s1", is_replaced=is_replaced)
    registry.gone("s1", was_asked=True)
    registry.register("s1", 10, 5)
    registry.heard("s1", Load(is_ready=True), 5)
    assert (registry["s1"].state, registry["s1"].deaths) == (state, 0)


def test_a_dead_server_has_no_calls_and_its_next_process_none_of_its_past():
    registry = with_loads(7, 0)
    registry.give("s1")
    registry.gone("s1")
    registry.gone("s1")
    assert (registry["s1"].deaths, registry["s1"].in_use, registry.in_use, registry.capacity) == (1, 0, 0, 10)
    # A heartbeat that was on its way does not bring it back.
    registry.heard("s1", Load({"sip": 7}, is_ready=True), 1)
    assert registry["s1"].state is State.GONE
    registry.register("s1", 10, 2)
    assert (registry["s1"].state, registry["s1"].deaths, registry["s1"].pending) == (State.STARTING, 1, 0)


def test_an_unknown_name_is_told_with_the_legal_ones():
    with pytest.raises(UnknownServerError, match="no media server 's9'; legal: s1, s2"):
        with_loads(0, 0).drain("s9")


def test_restarts_wait_twice_as_long_after_each_death_in_a_row():
    restarts, now = Restarts(RestartRules(first_s=0.5, most_s=4.0, healthy_after_s=60.0)), 0
    waits = []
    for lived_s in (1, 1, 1, 1, 1, 61, 1):
        restarts.begun(now)
        now += lived_s * NS_PER_S
        waits.append(restarts.died(now))
    assert waits == [0.5, 1.0, 2.0, 4.0, 4.0, 0.5, 1.0]


def test_a_server_that_never_lives_long_is_started_for_ever():
    restarts = Restarts(RestartRules(first_s=0.5, most_s=30.0))
    waits = [restarts.died(0) for _ in range(3000)]
    assert waits[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert set(waits[7:]) == {30.0}
