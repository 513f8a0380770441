"""Who takes a request, on virtual time: by hand, and under any load hypothesis finds."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.model.clock import NS_PER_S
from target_stack.routing.breaker import Breaker, BreakerRules, BreakerState
from target_stack.routing.gate import LoadGate
from target_stack.routing.router import Ending, NoRoute, Provider, Reason, Router
from target_stack.routing.token_bucket import TokenBucket

pytestmark = pytest.mark.unit


def s(seconds):
    return round(seconds * NS_PER_S)


def own(capacity=10, **more):
    return Provider("own", capacity, is_own=True, **more)


def router(*others, first=None, **more):
    return Router(first or own(), others, LoadGate(), **more)


def names(routes):
    return [route.provider.name if not isinstance(route, NoRoute) else None for route in routes]


def test_overflow_begins_at_eighty_per_cent_and_ends_below_seventy():
    desk = router(Provider("api", 100))
    routes = [desk.choose(0) for _ in range(12)]
    assert names(routes) == ["own"] * 8 + ["api"] * 4
    assert {route.reason for route in routes[8:]} == {Reason.OVERFLOW}
    # Back at 70 % it still overflows; below it does not, until 80 % again.
    desk.release(routes[0], Ending.OK, 0)
    assert names([desk.choose(0)]) == ["api"]
    desk.release(routes[1], Ending.OK, 0)
    assert names([desk.choose(0) for _ in range(3)]) == ["own", "own", "api"]


def test_overflow_is_over_when_the_last_requests_are_done_though_none_comes():
    desk = router(Provider("api", 100))
    assert not desk.is_overflowing()
    routes = [desk.choose(0) for _ in range(9)]
    assert desk.is_overflowing()
    desk.release(routes[0], Ending.OK, 0)
    assert desk.is_overflowing()
    for route in routes[1:]:
        desk.release(route, Ending.OK, 0)
    assert not desk.is_overflowing()


def test_the_last_fifth_is_used_when_nobody_else_has_room():
    desk = router(Provider("api", 1))
    routes = [desk.choose(0) for _ in range(12)]
    assert names(routes) == ["own"] * 8 + ["api"] + ["own"] * 2 + [None]
    assert [route.reason for route in routes[8:11]] == [Reason.OVERFLOW, Reason.RESERVE, Reason.RESERVE]
    assert routes[11] == NoRoute(100.0)


def test_a_load_from_outside_counts_where_it_is_higher():
    calls = [0.5]
    desk = router(Provider("api", 9), load=lambda: calls[0])
    assert names([desk.choose(0)]) == ["own"]
    calls[0] = 0.8
    assert names([desk.choose(0)]) == ["api"]


def test_complexity_decides_before_load():
    mini, big = Provider("mini", 9, complexities=frozenset({"simple"})), Provider("big", 9)
    desk = router(mini, big, first=own(complexities=frozenset({"simple", "medium"})))
    hard = desk.choose(0, "complex")
    assert (hard.provider.name, hard.reason) == ("big", Reason.COMPLEXITY)
    assert names([desk.choose(0, "medium"), desk.choose(0, "simple")]) == ["own", "own"]
    desk.gate.overflow_at = desk.gate.return_below = 0.01
    assert names([desk.choose(0, "simple"), desk.choose(0, "medium")]) == ["mini", "big"]


def test_a_limited_provider_is_passed_over_until_its_time_has_come():
    first, second = Provider("first", 9), Provider("second", 9)
    desk = router(first, second, first=own(1))
    desk.gate.admits(1.0)
    route = desk.choose(0, tried=frozenset({"own"}))
    desk.release(route, Ending.LIMITED, 0, retry_after_s=5)
    tried = frozenset({"own"})
    assert names([desk.choose(s(4.9), tried=tried), desk.choose(s(5), tried=tried)]) == ["second", "first"]


def test_our_own_that_fails_is_left_to_the_others_until_it_answers_again():
    rules = BreakerRules(failures=2, open_ms=1000)
    desk = router(Provider("api", 9), first=own(10, breaker=Breaker(rules)))
    for _ in range(2):
        desk.release(desk.choose(0), Ending.FAILED, 0)
    route = desk.choose(s(0.5))
    assert (route.provider.name, route.reason) == ("api", Reason.FAILOVER)
    probe, other = desk.choose(s(1)), desk.choose(s(1))
    assert names([probe, other]) == ["own", "api"]
    desk.release(probe, Ending.OK, s(1.1))
    assert names([desk.choose(s(1.1))]) == ["own"]


def test_a_refusal_says_when_to_ask_again():
    bucket = TokenBucket(per_minute=6, burst=1)
    desk = Router(None, [Provider("api", 9, bucket=bucket)], LoadGate())
    assert names([desk.choose(0)]) == ["api"]
    assert desk.choose(s(1)) == NoRoute(9000.0)


class AnyLoad(RuleBasedStateMachine):
    """Requests come, end well and badly; nobody is refused while there is room, nobody gets more than it takes."""

    @initialize(
        capacity=st.integers(1, 10),
        others=st.lists(st.tuples(st.integers(1, 3), st.sampled_from([0, 30]), st.integers(1, 3)), max_size=3),
    )
    def begin(self, capacity, others):
        self.now = 1
        self.others = [
            Provider(f"api-{n}", places, bucket=TokenBucket(per_minute, burst))
            for n, (places, per_minute, burst) in enumerate(others)
        ]
        self.own = own(capacity)
        self.router = Router(self.own, self.others, LoadGate())
        self.taken = []
        self.sent = {other.name: [] for other in self.others}
        self.blocked = {}

    def could_take(self, provider):
        return (
            provider.in_flight < provider.capacity
            and provider.breaker.allows(self.now)
            and provider.bucket.wait_ns(self.now) == 0
        )

    @rule(tried=st.sets(st.integers(0, 2)))
    def ask(self, tried):
        tried = frozenset(f"api-{n}" for n in tried)
        room = [other for other in self.others if self.could_take(other) and other.name not in tried]
        own_room, load = self.could_take(self.own), self.own.load
        route = self.router.choose(self.now, tried=tried)
        if isinstance(route, NoRoute):
            assert not own_room, "refused with room of our own"
            assert not room, "refused while another has room"
            assert route.retry_after_ms > 0
            return
        self.taken.append(route)
        provider = route.provider
        assert provider.name not in tried
        if provider is self.own:
            assert own_room
            assert load < 0.8 or not room, "from 80 % on the others come first"
            assert (route.reason is Reason.RESERVE) == self.router.gate.is_overflowing
        else:
            assert provider is room[0]
            assert self.router.gate.is_overflowing or not own_room
            assert load >= 0.7 or not own_room, "overflow far below the mark"
            assert self.now >= self.blocked.get(provider.name, 0)
            self.sent[provider.name].append(self.now)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), ending=st.sampled_from(Ending), retry=st.sampled_from([None, 0, 2, 30]))
    def end(self, data, ending, retry):
        route = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        self.router.release(route, ending, self.now, retry)
        if ending is Ending.LIMITED and retry:
            name = route.provider.name
            self.blocked[name] = max(self.blocked.get(name, 0), self.now + s(retry))

    @rule(seconds=st.sampled_from([0.001, 0.5, 2, 6, 70]))
    def pass_time(self, seconds):
        self.now += s(seconds)

    @invariant()
    def places_add_up(self):
        if not hasattr(self, "router"):
            return
        for provider in self.router.providers:
            assert provider.in_flight == sum(route.provider is provider for route in self.taken)
            assert provider.in_flight <= provider.capacity

    @invariant()
    def no_limit_is_broken(self):
        for other in getattr(self, "others", []):
            if not other.bucket.per_minute:
                continue
            sent = self.sent[other.name]
            for first, since in enumerate(sent):
                allowed = other.bucket.burst + (sent[-1] - since) / NS_PER_S * other.bucket.per_minute / 60
                assert len(sent) - first <= allowed + 0.01

    def teardown(self):
        """When all has ended and an hour has passed, everything is as at first but for what breakers learned."""
        if not hasattr(self, "router"):
            return
        for route in self.taken:
            self.router.release(route, Ending.OK, self.now)
        self.now += s(3600)
        for provider in self.router.providers:
            assert provider.in_flight == 0
            assert provider.breaker.state(self.now) is not BreakerState.OPEN
            assert self.could_take(provider)


TestAnyLoad = AnyLoad.TestCase
TestAnyLoad.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
